"""A large PNG, some rows at a time: each piece is a small PNG of its own, and Pillow's to decode."""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image, ImageFile

from pipeline.images import limits
from pipeline.images.pieces import Level, Piece, Region, part, too_large
from pipeline.images.stored import interpreted
from pipeline.values import Values

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the type of colour
GREY, COLOURS, GREY_ALPHA, COLOURS_ALPHA = 0, 2, 4, 6
OF_PIXELS = (b"PLTE", b"tRNS", b"sBIT")  # chunks that say what values mean; the others are about the whole image
OF_EXIF = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # and where programs keep it that are older, or write XMP
FED = 1 << 18  # bytes

Chunks = Iterable[tuple[bytes, bytes]]


class PngPieces:
    """A PNG of more pixels than are decoded whole.

    Args:
        content: a file whose checksums are right.
    """

    lossy = False

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._chunks = list(_chunks(content))
        kind, start, _ = self._chunks[0]
        if kind != b"IHDR":
            raise SyntaxError("a PNG that does not begin with its header")
        width, height, self._depth, self._colour, *rest = struct.unpack_from(">IIBBBBB", content, start)
        self.size: tuple[int, int] = width, height
        if rest[2]:
            raise too_large(
                f"{width} x {height} pixels of an interlaced PNG, of which {limits.WHOLE} at most are read: "
                "store it without interlacing"
            )
        if width > limits.WHOLE:
            raise too_large(f"{width} pixels in a row, the limit is {limits.WHOLE}")
        self.narrow = self._depth <= 8
        self._bits = CHANNELS[self._colour] * self._depth
        self._row = -(-width * self._bits // 8)
        self.orientation = self._orientation()

    def level(self, factor: float, exact: bool = False) -> Level:
        return Level(self.size, self._read)

    def _read(self, values: Values, region: Region) -> Iterator[Piece]:
        (width, height), previous, bits = self.size, b"", _Inflated(self._content, self._chunks)
        rows = max(1, limits.PIECE // width)
        for top in range(0, region.bottom, rows):
            count = min(rows, height - top)
            lines = (b"\0" + previous if previous else b"") + bits.read(count * (self._row + 1))
            above = len(lines) // (self._row + 1) - count
            content = self._file(above + count, lines)
            image = _opened(content)
            if top + count > region.top:
                stored = interpreted(image, content, values)
                yield Piece(0, top, part(stored, Region(0, above, width, above + count)))
            if top + count < region.bottom:
                previous = self._last_row(image, above + count, lines)

    def _file(self, height: int, lines: bytes) -> bytes:
        width = self.size[0]
        kept = [(kind, self._content[at : at + length]) for kind, at, length in self._chunks if kind in OF_PIXELS]
        return _png(width, height, self._depth, self._colour, lines, kept)

    def _last_row(self, image: Image.Image, height: int, lines: bytes) -> bytes:
        """Return the bytes of the last row, unfiltered, which the filters of the next one refer to."""
        if self._depth == 8 or image.mode == "I;16":
            row = np.asarray(image.crop((0, height - 1, image.width, height)))
            return (row.astype(">u2") if self._depth == 16 else row).tobytes()
        if self._bits == 32:  # grey and transparency of 16 bits each: filters go by bytes, and so do four of 8 bits
            images = [_opened(_png(self.size[0], height, 8, COLOURS_ALPHA, lines))]
        elif self._depth < 8:
            images = [_opened(_png(self._row, height, 8, GREY, lines))]
        else:
            content = _png(self.size[0], height, 16, self._colour, lines)
            images = [_opened(content), _opened(content)]
            for half, order in zip(images, "BL", strict=True):  # the upper bytes, and the lower ones
                half.tile = [tile._replace(args=f"{half.mode};16{order}") for tile in half.tile]
        found = [np.asarray(image.crop((0, height - 1, image.width, height))) for image in images]
        return np.stack(found, axis=-1).tobytes()

    def _orientation(self) -> int:
        """Return what the chunks around the pixels say, which Pillow looks for behind them only when it decodes."""
        chunks = [(kind, self._content[at : at + n]) for kind, at, n in self._chunks if kind in OF_PIXELS + OF_EXIF]
        line = bytes(1 + -(-self._bits // 8))
        exif = _opened(_png(1, 1, self._depth, self._colour, line, chunks)).getexif()
        return int(exif.get(0x0112, 1))


class _Inflated:
    """The bytes that the chunks IDAT hold, which are read once, some at a time."""

    def __init__(self, content: bytes, chunks: list[tuple[bytes, int, int]]) -> None:
        self._inflate = zlib.decompressobj()
        view = memoryview(content)
        self._packed = (
            view[at : min(at + FED, start + length)]
            for kind, start, length in chunks
            if kind == b"IDAT"
            for at in range(start, start + length, FED)
        )

    def read(self, count: int) -> bytes:
        """Return the next bytes, so many; raises `EOFError` when there are fewer."""
        parts, missing = list[bytes](), count
        while missing:
            packed = self._inflate.unconsumed_tail or next(self._packed, b"")
            found = self._inflate.decompress(packed, missing)
            if not found and not packed:
                raise EOFError(f"image file is truncated: {missing} bytes of its rows are missing")
            parts.append(found)
            missing -= len(found)
        return b"".join(parts)


def _opened(content: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(content), formats=("PNG",))


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's kind, where its data begins, and its length."""
    place = len(SIGNATURE)
    while len(kind := content[place + 4 : place + 8]) == 4:
        (length,) = struct.unpack_from(">I", content, place)
        yield kind, place + 8, length
        if kind == b"IEND":
            return
        place += 12 + length


def _png(width: int, height: int, depth: int, colour: int, lines: bytes, chunks: Chunks = ()) -> bytes:
    """Return a file of rows that have their filters before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [SIGNATURE]
    for kind, data in [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(lines, 0)), (b"IEND", b"")]:
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))]
    return b"".join(parts)
