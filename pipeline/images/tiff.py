"""TIFF beyond what Pillow reads: pages that are no image of their own, and files of any number of channels."""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from pipeline.images.reasons import Quarantine, Reason, unsupported
from pipeline.images.wide import MAX_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE, Wide, said_of

if TYPE_CHECKING:
    from tifffile import TiffFile

REDUCED, MASK = 1, 4  # bits of NewSubfileType
OLD_REDUCED = 2  # value of SubfileType, which it replaced
NEW_SUBFILE_TYPE, SUBFILE_TYPE, BITS_PER_SAMPLE, EXTRA_SAMPLES, ORIENTATION = 254, 255, 258, 338, 274
PLANAR, SEPARATE, PREMULTIPLIED = 284, 2, 1
# How values (H, W, ...) become upright
UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: values[::-1].swapaxes(0, 1),
    7: lambda values: values[::-1, ::-1].swapaxes(0, 1),
    8: lambda values: values[:, ::-1].swapaxes(0, 1),
}


def is_tiff(content: bytes) -> bool:
    return content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_beyond_pillow(image: ImageFile.ImageFile, picks_channels: bool) -> bool:
    """Tell whether Pillow drops channels of an opened TIFF, or misreads it.

    It takes 16-bit colours that lie in planes for 8-bit ones, and divides those by their transparency that have it
    multiplied in.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]  # a TIFF's image has them
    extra, bits = tags.get(EXTRA_SAMPLES, ()), tags.get(BITS_PER_SAMPLE, (1,))
    colours = len(bits) - len(extra)
    if max(bits) == 16 and len(bits) > 1 and (tags.get(PLANAR) == SEPARATE or PREMULTIPLIED in extra):
        return True
    return len(bits) > 4 or (colours == 1 and extra == (0,)) or (picks_channels and len(bits) > len(image.getbands()))


def image_pages(content: bytes) -> tuple[list[int], int]:
    """Return which pages of a TIFF are images, and no reduced versions or masks of others; and how many it has."""
    with _open(content) as file:
        return [place for place, page in enumerate(file.pages) if not _is_of_another(page)], len(file.pages)


@contextmanager
def image_page(content: bytes, first: bool = False) -> Iterator[tuple[Any, int]]:
    """Open a TIFF at its first page that is an image, as tifffile has it, and tell how many such it has.

    With `first` it is the first page, whatever that and others are.
    """
    with _open(content) as file:
        pages = [file.pages[0]] if first else [page for page in file.pages if not _is_of_another(page)]
        pages = pages or [*file.pages][:1]
        if not pages:
            raise Quarantine(Reason.NOT_AN_IMAGE, "a TIFF without a page")
        yield pages[0], len(pages)


def read_tiff(
    content: bytes, channels: tuple[int, int, int] | None, check_size: Callable[[int, int], None]
) -> Image.Image | Wide:
    """Return the upright values of three channels of a TIFF: an image where they have 8 bits.

    Args:
        content: the file.
        channels: which of its channels. None: the file is refused, with the number of them.
        check_size: is told width and height before anything is decoded, and may raise.

    Raises:
        Quarantine: with the reason.
    """
    with image_page(content) as (page, images):
        check_size(page.imagewidth, page.imagelength)
        if images > 1:
            raise several(images)
        count = page.samplesperpixel
        kept = channels or _own_colours(page)
        said = page.imagewidth * page.imagelength * count * page.bitspersample // 8
        if page.compression == 1 and said > len(content):
            raise Quarantine(Reason.DAMAGED, f"{said} bytes of values are said to be in {len(content)} bytes")
        if kept is None:
            raise _not_chosen(page)
        check_channels(kept, count)
        if (unranged := _unranged(page)) is not None:
            raise unranged
        if _is_packed(page):
            return Wide(_upright(page, _unpacked(page, content)[..., list(kept)]), page.bitspersample)
        try:
            values: NDArray[Any] = page.asarray(squeeze=False, maxworkers=1)  # (planes, 1, H, W, channels of a plane)
        except (ValueError, NotImplementedError) as error:  # of codecs that are not there
            if page.compression == 1:
                raise
            raise unsupported(
                f"{count} channels, compressed by {_name(page.compression)}: store them uncompressed or deflated"
            ) from error
        values = values[:, 0].transpose(1, 2, 0, 3).reshape(*values.shape[2:4], count)[..., list(kept)]
        values = _upright(page, values)
        if values.dtype == np.uint8:
            return Image.fromarray(values)
        return Wide(values, said=said_of({tag: _tag(page, tag) for tag in (MAX_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE)}))


def _open(content: bytes) -> "TiffFile":
    from tifffile import TiffFile  # takes a while, and few need it

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it tells of each tag that it does not understand
    return TiffFile(io.BytesIO(content))


def _not_chosen(page: Any) -> Quarantine:
    """Return why a page without colours of its own is not read."""
    if page.samplesperpixel > 1:
        return unsupported(f"{page.samplesperpixel} channels: choose three with input.channels")
    return _unranged(page) or Quarantine(Reason.NOT_AN_IMAGE, "no known kind of TIFF")


def _unranged(page: Any) -> Quarantine | None:
    """Return why a page's values are not read that are no whole numbers; None where they are."""
    if page.dtype is None or page.dtype.kind in "ui":
        return None
    return unsupported(f"{page.dtype} values have no agreed range: convert to 8 or 16 bits")


def _own_colours(page: Any) -> tuple[int, int, int] | None:
    """Return the channels that are red, green and blue by what a page says of itself."""
    if page.photometric == 1 and page.samplesperpixel == 1 and 8 <= page.bitspersample <= 16:
        return (0, 0, 0)
    extra = page.extrasamples
    if page.photometric == 2 and page.samplesperpixel in (3, 4) and page.samplesperpixel - len(extra) in (3, 4):
        return (0, 1, 2)
    return None


def check_channels(channels: tuple[int, int, int], count: int) -> None:
    """Raise `Quarantine` where a file of so many channels lacks one."""
    if max(channels) >= count:
        has = "one channel, 0" if count == 1 else f"{count} channels, 0 to {count - 1}"
        raise unsupported(f"{has}: there is no channel {max(channels)}, which input.channels asks for")


def several(frames: int) -> Quarantine:
    return Quarantine(Reason.SEVERAL_FRAMES, f"{frames} frames: store each as an image of its own")


def _is_packed(page: Any) -> bool:
    return bool(8 < page.bitspersample < 16)


def _unpacked(page: Any, content: bytes) -> NDArray[np.uint16]:
    """Return values (H, W, C) that lie bit by bit, each row from a byte on; raises `Quarantine`, or `ValueError`."""
    bits, count = page.bitspersample, page.samplesperpixel
    if page.compression != 1 or page.is_tiled or (count > 1 and page.planarconfig == SEPARATE):
        raise unsupported(f"values packed into {bits} bits, compressed, in tiles or planes: store each in 16")
    width, height = page.imagewidth, page.imagelength
    row = -(-width * count * bits // 8)
    strips = zip(page.dataoffsets, page.databytecounts, strict=True)
    body = b"".join(content[start : start + length] for start, length in strips)
    lines = np.frombuffer(body, np.uint8, height * row).reshape(height, row)
    parts = np.unpackbits(lines, axis=1)[:, : width * count * bits].reshape(height, width, count, bits)
    values = np.zeros((height, width, count), np.uint16)
    for part in range(bits):
        values = values << 1 | parts[..., part]
    return values


def _upright(page: Any, values: NDArray[Any]) -> NDArray[Any]:
    turn = UPRIGHT.get(_tag(page, ORIENTATION))
    return np.ascontiguousarray(turn(values) if turn else values)


def _name(compression: int) -> str:
    from tifffile import COMPRESSION

    return COMPRESSION(compression).name.lower()


def _is_of_another(page: Any) -> bool:
    return bool((_tag(page, NEW_SUBFILE_TYPE) or 0) & (REDUCED | MASK)) or _tag(page, SUBFILE_TYPE) == OLD_REDUCED


def _tag(page: Any, number: int) -> Any:
    return page.tags.valueof(number)
