"""From the bytes of a file to pixels, or to the reason why there are none."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.boxes import PixelBox
from pipeline.boxes import size_of as size_of_box
from pipeline.geometry import Seen
from pipeline.images import limits
from pipeline.images.large import Large, find_large
from pipeline.images.masks import kinds_of
from pipeline.images.pieces import size_of
from pipeline.images.reasons import Quarantine, Reason, say
from pipeline.images.stored import check_pixels, limit_of_pillow, open_image, rgb, stored_in, too_many
from pipeline.images.tiff import is_tiff
from pipeline.images.wide import Wide
from pipeline.values import Values
from pipeline.views import WHOLE, Box, View

Image.MAX_IMAGE_PIXELS = None  # input.max_pixels decides
CLOCKWISE = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
SMALLEST_SIDE = 16  # pixels: smaller ones hold about one patch, and nothing to compare
ORIENTATION, LYING = 274, 5  # tag of EXIF, and its values from which width and height change places

Pixels = NDArray[np.uint8]


def decode(content: bytes, view: Seen, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Decode a view of an image: the whole image resized to its size, as MuSc's official code does, or a box of it.

    The image is the file's, or the box of it that the view is of, which gives the same pixels as a file
    of the box alone.
    The picture is turned upright by its EXIF tag, of 16-bit values the upper 8 of those bits are taken that count,
    transparency is dropped. The resize is bicubic with antialias and keeps no aspect ratio.

    Args:
        content: the file, whatever its name says.
        view: what to decode of it.
        max_pixels: larger images are refused by their header.

    Returns:
        pixels (height, width, 3) of the view, RGB, and the (width, height) of the file's upright image.

    Raises:
        Quarantine: with the reason.
        MemoryError: where memory is limited.
    """
    with _guarded(content, max_pixels) as large:
        photograph = large or _photograph(content, view, max_pixels)
        width, height = size = _own_size(photograph.size, view.within)
        if min(width, height) < SMALLEST_SIDE:
            raise Quarantine(Reason.TOO_SMALL, f"{width} x {height} pixels, at least {SMALLEST_SIDE} a side are needed")
        on_image = _on(view, size)
        if isinstance(photograph, Large):
            box = _on_photograph(on_image.box_on(size), view.within)
            colours = photograph.colours(view.values, on_image.size_before_turning, box)
            seen = _turned(colours, on_image, Image.Resampling.BICUBIC)
        else:
            seen = _seen(_cut(photograph, view.within), on_image, Image.Resampling.BICUBIC)
    return np.asarray(seen), photograph.size


def decode_picture(content: bytes, view: Seen, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Decode an image for people to look at: as `decode` does, but with its aspect ratio, and never enlarged.

    Returns:
        pixels (H, W, 3), RGB, within the size of the view, and the (width, height) of the file's upright image.
    """
    with _guarded(content, max_pixels) as large:
        photograph = large or _photograph(content, view, max_pixels)
        whole = photograph.size
        size = _own_size(whole, view.within)
        on_image = _on(view, size)
        left, top, right, bottom = map(round, on_image.box_on(size) or (0, 0, *size))
        if isinstance(photograph, Large):
            fitted = _fitted((right - left, bottom - top), on_image.size_before_turning)
            picture = photograph.colours(view.values, fitted, _on_photograph((left, top, right, bottom), view.within))
        else:
            image = _cut(photograph, view.within)
            picture = image if (left, top, right, bottom) == (0, 0, *size) else image.crop((left, top, right, bottom))
            picture.thumbnail(on_image.size_before_turning[::-1], Image.Resampling.BICUBIC)
        picture = _turned(picture, on_image, Image.Resampling.BICUBIC)
    return np.asarray(picture), whole


def _fitted(size: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of what has (width, height) and is brought within (height, width), never enlarged."""
    width, height = size
    share = min(1.0, most[0] / height, most[1] / width)
    return max(1, round(height * share)), max(1, round(width * share))


def decode_depth(content: bytes, view: Seen, max_pixels: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Tell how many bits the values of a 16-bit image take; raises as `decode` does.

    Returns:
        the bits (1,), none (0,) of other images, which are not decoded; and the image's (width, height).
    """
    with _guarded(content, max_pixels) as large:
        if large is not None:
            stored, size = large.wide(view.values), large.size
        else:
            whole = stored_in(content, replace(view.values, bits=None), max_pixels)
            size, stored = size_of(whole), whole if isinstance(whole, Wide) else None
        found = [] if stored is None or stored.own else [stored.depth]
    return np.array(found, np.uint8), size


def decode_size(content: bytes, view: Seen, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Tell the (width, height) of the upright image, with no pixels (0,); raises as `decode` does."""
    with _guarded(content, max_pixels) as large:
        if large is not None:
            return np.empty(0, np.uint8), large.size
        try:
            image = open_image(content)
        except Quarantine:
            if not is_tiff(content):
                raise
            size = _colours(content, view.values, max_pixels).size
        else:
            check_pixels(*image.size, max_pixels)
            # Pillow tells the upright size of a TIFF as soon as it is open
            lies = image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) >= LYING
            size = image.size[::-1] if lies else image.size
    return np.empty(0, np.uint8), size


def decode_mask(content: bytes, view: Seen, max_pixels: int) -> tuple[NDArray[np.uint16], tuple[int, int]]:
    """Decode a view of a mask, resized by nearest neighbour, which mixes no values.

    Of a box of a photograph the mask is the photograph's, or one of the box's size.

    Args:
        content: the file, whatever its name says.
        view: what to decode of it.
        max_pixels: larger masks are refused by their header.

    Returns:
        kinds of defects (height, width) of the view, 0 for normal, and the (width, height) of the mask.

    Raises:
        Quarantine: with the reason.
        MemoryError: where memory is limited.
    """
    with _guarded(content, max_pixels, is_mask=True) as large:
        mask = large or open_image(content)
        if isinstance(mask, Large):
            within = None if view.within is None or mask.size == size_of_box(view.within) else view.within
            own = _own_size(mask.size, within)
            on_mask = _on(view, own)
            box = _on_photograph(on_mask.box_on(own), within)
            kinds = Image.fromarray(mask.kinds(on_mask.size_before_turning, box))
            seen = _turned(kinds, on_mask, Image.Resampling.NEAREST)
        else:
            check_pixels(*mask.size, max_pixels)
            kinds = Image.fromarray(kinds_of(mask))
            if view.within is None or mask.size != size_of_box(view.within):
                kinds = _cut(kinds, view.within)
            seen = _seen(kinds, _on(view, kinds.size), Image.Resampling.NEAREST)
        size = mask.size  # of an icon it is known when it is decoded
    return np.asarray(seen).astype(np.uint16), size


def _on(view: Seen, image_size: tuple[int, int]) -> View:
    """Return the view of an image of (width, height); raises `Quarantine` where it has none."""
    try:
        return view.on(image_size)
    except ValueError as error:
        raise Quarantine(Reason.TOO_LARGE, str(error)) from error


def _own_size(size: tuple[int, int], within: PixelBox | None) -> tuple[int, int]:
    """Return the (width, height) of a box of a photograph of that size, or of all of it."""
    if within is None:
        return size
    if within[2] > size[0] or within[3] > size[1]:
        box = ", ".join(map(str, within))
        raise Quarantine(Reason.UNREADABLE, f"its box {box} reaches beyond {size[0]} x {size[1]} pixels")
    return size_of_box(within)


def _cut(photograph: Image.Image, within: PixelBox | None) -> Image.Image:
    """Return a box of an upright photograph, or all of it."""
    _own_size(photograph.size, within)
    return photograph if within is None else photograph.crop(within)


def _on_photograph(box: Box | None, within: PixelBox | None) -> Box | None:
    """Return in pixels of a photograph a box in those of the box that is the image; None is all of it."""
    if within is None:
        return box
    left, top, right, bottom = box or (0.0, 0.0, *map(float, size_of_box(within)))
    return within[0] + left, within[1] + top, within[0] + right, within[1] + bottom


def _seen(image: Image.Image, view: View, resampling: Image.Resampling) -> Image.Image:
    """Return what a view shows of an upright image: its box, brought to its size, and turned."""
    height, width = view.size_before_turning
    return _turned(image.resize((width, height), resampling, view.box_on(image.size)), view, resampling)


def _turned(image: Image.Image, view: View, resampling: Image.Resampling) -> Image.Image:
    if view.turned % 90:
        return image.rotate(-view.turned, resampling)
    return image.transpose(CLOCKWISE[view.turned]) if view.turned else image


@contextmanager
def _guarded(content: bytes, max_pixels: int, is_mask: bool = False) -> Iterator[Large | None]:
    """Make a `Quarantine` of what goes wrong when a file is decoded within the block.

    Yields the image where it is too large to be decoded whole.
    """
    if not content:
        raise Quarantine(Reason.EMPTY, "the file has no bytes")
    with warnings.catch_warnings(), _limit_of_pillow(max_pixels):
        warnings.simplefilter("ignore")  # Pillow's warning of a large image: max_pixels decides that here
        try:
            large = find_large(content, max_pixels, is_mask)
            with nullcontext() if large else _limit_of_pillow(min(max_pixels, limits.WHOLE)):
                yield large
        except (Quarantine, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise too_many(error) from error
        except Exception as error:  # damage surfaces as any of a dozen types, depending on the format
            raise Quarantine(Reason.DAMAGED, say(error)) from error


@contextmanager
def _limit_of_pillow(max_pixels: int) -> Iterator[None]:
    """Let Pillow refuse what it decodes before it tells the size, such as a picture larger than its icon says."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = limit_of_pillow(max_pixels)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def image_stats(pixels: Pixels) -> tuple[float, float, float]:
    """Return brightness, contrast and sharpness of pixels (H, W, 3), in shares of full scale.

    These are mean and standard deviation of the grey values, and the mean difference of neighbours: a lamp that fails
    and a lens that lost its focus show in them before they show in scores.
    """
    grey = pixels.astype(np.float32) @ np.full(3, 1 / (3 * 255), np.float32)  # seven times as fast as mean(axis=2)
    edges = (np.abs(np.diff(grey, axis=axis)).mean(dtype=np.float64) for axis in (0, 1))
    return float(grey.mean(dtype=np.float64)), float(grey.std(dtype=np.float64)), float(np.mean(list(edges)))


class _Last:
    """The photograph that was decoded last, while boxes of it are asked for: they come one after the other.

    A box is an image of its own, or what a view shows of one.
    """

    def __init__(self) -> None:
        self._kept: tuple[tuple[bytes, Values, int], Image.Image] | None = None

    def __call__(self, content: bytes, view: Seen, max_pixels: int) -> Image.Image:
        """Return the upright image, RGB, which is not to be changed where a box is asked for."""
        if view.within is None and not (isinstance(view, View) and view.box != WHOLE):
            self._kept = None
            return _colours(content, view.values, max_pixels)
        key = (hashlib.sha256(content).digest(), view.values, max_pixels)
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        self._kept = None  # before the next one needs the memory
        image = _colours(content, view.values, max_pixels)
        image.load()  # what is damaged shows now, and not to the first box alone
        self._kept = key, image
        return image


_photograph = _Last()  # of this process, which decodes for one thread at a time


def _colours(content: bytes, values: Values, max_pixels: int) -> Image.Image:
    """Return the upright image, RGB."""
    stored = stored_in(content, values, max_pixels)
    image = Image.fromarray(stored.of_8_bits(values.bits)) if isinstance(stored, Wide) else stored
    ImageOps.exif_transpose(image, in_place=True)  # turned or not, it would be copied otherwise
    return rgb(image)
