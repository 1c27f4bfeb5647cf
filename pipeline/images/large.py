"""Images of more pixels than are decoded whole: brought down, piece by piece, to little more than a view needs."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from pipeline.images import limits
from pipeline.images.masks import Census, Kinds
from pipeline.images.pieces import Level, Piece, Region, Source, part, size_of
from pipeline.images.png_pieces import PngPieces
from pipeline.images.scaled import Jpeg2000Pieces, JpegPieces
from pipeline.images.stored import check_pixels, open_image, rgb
from pipeline.images.tiff import ORIENTATION, image_page, is_tiff, several
from pipeline.images.tiff_pieces import TiffPieces
from pipeline.images.wide import Wide
from pipeline.values import Values
from pipeline.views import Box

GAP = 3  # a bicubic resize ends what averaging began: of so many times as many pixels a side, or more
SUPPORT = 2  # pixels of the smaller picture that a bicubic filter reaches to each side


@dataclass(frozen=True)
class _Turn:
    """How stored pixels become upright: by EXIF's number, from 1 to 8."""

    orientation: int

    @property
    def swaps(self) -> bool:
        """Whether rows become columns."""
        return 5 <= self.orientation <= 8

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the upright width and height of stored ones, or the other way round."""
        return size[::-1] if self.swaps else size

    def stored(self, box: Box, size: tuple[int, int]) -> Box:
        """Return where a box of the upright image lies in the stored one, of (width, height)."""
        left, top, right, bottom = (box[1], box[0], box[3], box[2]) if self.swaps else box
        width, height = size
        if self.orientation in (2, 3, 7, 8):
            left, right = width - right, width - left
        if self.orientation in (3, 4, 6, 7):
            top, bottom = height - bottom, height - top
        return left, top, right, bottom

    def upright(self, image: Image.Image) -> Image.Image:
        method = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }.get(self.orientation)
        return image if method is None else image.transpose(method)


class Large:
    """An image of more pixels than are decoded whole, `size` (width, height) when upright.

    What goes wrong while it is read raises as in `decode`.
    """

    def __init__(self, source: Source, upright: bool = True) -> None:
        self._source, self._turn = source, _Turn(source.orientation if upright else 1)
        self.size = self._turn.size(source.size)

    def colours(self, values: Values, size: tuple[int, int], box: Box | None) -> Image.Image:
        """Return a box of the upright image, in its pixels, at (height, width), RGB; None: all of it."""
        values = self._known(values)
        target = self._turn.size((size[1], size[0]))
        left, top, right, bottom = self._turn.stored(box or (0, 0, *self.size), self._source.size)
        wanted = (right - left) / target[0] / GAP, (bottom - top) / target[1] / GAP
        level = self._source.level(min(wanted))
        edges = [edge / level.scale + level.shift for edge in (left, top, right, bottom)]
        reach = [SUPPORT * max(1, (edges[i + 2] - edges[i]) / target[i]) + 1 for i in (0, 1)]
        region = Region(
            max(0, int(edges[0] - reach[0])),
            max(0, int(edges[1] - reach[1])),
            min(level.size[0], int(edges[2] + reach[0]) + 1),
            min(level.size[1], int(edges[3] + reach[1]) + 1),
        )
        factor = max(1, int(wanted[0] / level.scale)), max(1, int(wanted[1] / level.scale))
        reduced = _averaged(level, values, region, factor)
        inside = [(edges[i] - region[i % 2]) / factor[i % 2] for i in range(4)]
        inside[2:] = [min(edge, most) for edge, most in zip(inside[2:], reduced.size, strict=True)]
        found = reduced.resize(target, Image.Resampling.BICUBIC, (inside[0], inside[1], inside[2], inside[3]))
        return self._turn.upright(found)

    def wide(self, values: Values) -> Wide | None:
        """Return the smallest and the largest of its values (1, 2), None where they have 8 bits.

        Of JPEG 2000 they are those of the image at half its size.
        """
        found: Wide | None = None
        if self._source.narrow:
            return found
        for piece in _all(self._source.level(2), replace(values, bits=None)):
            if isinstance(piece.stored, Image.Image):
                return None
            ends = np.array([[piece.stored.values.min(), piece.stored.values.max()]])
            said = piece.stored.said
            if found is not None:
                ends = np.concatenate([ends, found.values], axis=1)
                said = min(said, found.said)  # of a file it is one number, 0 where values are beyond it
            found = replace(piece.stored, values=np.array([[ends.min(), ends.max()]]), said=said)
        return found

    def kinds(self, size: tuple[int, int], box: Box | None) -> Kinds:
        """Return kinds of defects (height, width) of a box of a mask, by nearest neighbour; raises `Quarantine`."""
        turned = self._turn.size((size[1], size[0]))
        level = self._source.level(1, exact=True)
        left, top, right, bottom = box or (0, 0, *self.size)
        # Of the upright mask, as Pillow has it, and where that is in the stored one
        columns, rows = _nearest(left, right, size[1]), _nearest(top, bottom, size[0])
        if self._turn.swaps:
            columns, rows = rows, columns
        width, height = self._source.size
        if self._turn.orientation in (2, 3, 7, 8):
            columns = width - 1 - columns
        if self._turn.orientation in (3, 4, 6, 7):
            rows = height - 1 - rows
        census = Census(self._source.lossy)
        picked = np.zeros(turned[::-1], np.uint16)
        for piece in _all(level, Values()):
            keys = census.add(piece.stored)
            across, down = columns - piece.left, rows - piece.top
            here = (down >= 0) & (down < keys.shape[0]), (across >= 0) & (across < keys.shape[1])
            picked[np.ix_(*here)] = keys[np.ix_(down[here[0]], across[here[1]])]
        found: Kinds = census.kinds()[picked]
        return found.T if self._turn.swaps else found

    def _known(self, values: Values) -> Values:
        """Return the values with the bits that count, which where nobody knows takes a look at all of the image."""
        if values.bits is not None or (wide := self.wide(values)) is None:
            return replace(values, bits=values.bits or 16)
        wide.of_8_bits(None)  # raises where they cannot be known
        return replace(values, bits=wide.own or wide.depth)


def find_large(content: bytes, max_pixels: int, is_mask: bool = False) -> Large | None:
    """Return the image where it has more pixels than are decoded whole; None for all others, and what is no image.

    Args:
        content: the file.
        max_pixels: larger ones are refused.
        is_mask: it is not turned by its EXIF tag, unless that is a TIFF's own, and is its file's first frame.

    Raises:
        Quarantine: also where its format has no way to read so many pixels.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=("JPEG", "JPEG2000", "PNG", "TIFF"))
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception:  # decode says what is wrong with it
        return _large_tiff(content, None, max_pixels) if is_tiff(content) and not is_mask else None
    if image.format == "TIFF":
        return _large_tiff(content, image, max_pixels, is_mask)
    if image.width * image.height <= limits.WHOLE:
        return None
    check_pixels(*image.size, max_pixels)
    match image.format:
        case "PNG":
            if (frames := getattr(image, "n_frames", 1)) > 1 and not is_mask:
                raise several(frames)
            open_image(content)  # looks at the checksums
            return Large(PngPieces(content), not is_mask)
        case "JPEG2000":
            return Large(Jpeg2000Pieces(content, image), not is_mask)
    assert isinstance(image, JpegImagePlugin.JpegImageFile), "MPO is, too"
    return Large(JpegPieces(content, image), not is_mask)


def _large_tiff(content: bytes, image: Image.Image | None, max_pixels: int, is_mask: bool = False) -> Large | None:
    if image is not None and image.width * image.height <= limits.WHOLE and (is_mask or _is_single(image)):
        return None
    with image_page(content, first=is_mask) as (page, images):
        if page.imagewidth * page.imagelength <= limits.WHOLE:
            return None
        check_pixels(page.imagewidth, page.imagelength, max_pixels)
        if images > 1:
            raise several(images)
        orientation = page.tags.valueof(ORIENTATION) or (image.getexif().get(ORIENTATION, 1) if image else 1)
        return Large(TiffPieces(content, page, int(orientation)))


def _is_single(image: Image.Image) -> bool:
    try:
        return getattr(image, "n_frames", 1) == 1
    except SyntaxError:  # of a page whose mode Pillow does not know
        return False


def _all(level: Level, values: Values) -> Iterator[Piece]:
    return level.read(values, Region(0, 0, *level.size))


def _averaged(level: Level, values: Values, region: Region, factor: tuple[int, int]) -> Image.Image:
    """Return a region of a level, RGB, each pixel of which is the mean of `factor` (columns, rows) of its pixels."""
    done, rest = list[NDArray[np.uint8]](), np.empty((0, region.right - region.left, 3), np.uint8)
    for piece in level.read(values, region):
        width, height = size_of(piece.stored)
        left, top = region.left - piece.left, max(0, region.top - piece.top)
        right, bottom = region.right - piece.left, min(height, region.bottom - piece.top)
        if right > width or left < 0:
            raise ValueError("pieces lie side by side")
        stored = part(piece.stored, Region(left, top, right, bottom))
        image = Image.fromarray(stored.of_8_bits(values.bits)) if isinstance(stored, Wide) else stored
        seen = np.asarray(rgb(image))
        rows = np.concatenate([rest, seen]) if len(rest) else seen
        whole = len(rows) - len(rows) % factor[1]
        if whole:
            done.append(np.asarray(Image.fromarray(rows[:whole]).reduce(factor)))
        rest = rows[whole:]
    if len(rest):
        done.append(np.asarray(Image.fromarray(rest).reduce(factor)))
    return Image.fromarray(np.concatenate(done))


def _nearest(begin: float, end: float, count: int) -> NDArray[np.int64]:
    """Return the pixels (count,) between two edges that Pillow takes by nearest neighbour."""
    first, last = np.float32(begin), np.float32(end)
    step = float(last - first) / count
    return np.cumsum([float(first) + step * 0.5, *[step] * (count - 1)]).astype(np.int64)
