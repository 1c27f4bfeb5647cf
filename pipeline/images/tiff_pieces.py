"""A large TIFF, some strips or tiles at a time: each piece is a small TIFF of them, and decoded as any other."""

import struct
from collections.abc import Iterator
from typing import Any

from pipeline.images import limits
from pipeline.images.pieces import Level, Piece, Region, too_large
from pipeline.images.stored import stored_in
from pipeline.images.tiff import PLANAR, SEPARATE
from pipeline.values import Values

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 277, 278, 279
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
# Tags that say what values mean: also FillOrder, MinSampleValue, MaxSampleValue, T4Options, T6Options, Predictor,
# ColorMap, InkSet, ExtraSamples, SampleFormat, SMinSampleValue, SMaxSampleValue, JPEGTables, those of YCbCr
KEPT = {BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR, 266, 280, 281, 292, 293, 317, 320, 332, 338, 339, 340, 341}
KEPT |= {347, 529, 530, 531, 532}
BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # of each type of value
LONG = 4
UNCOMPRESSED, OLD_JPEG, YCBCR = 1, 6, 6


class TiffPieces:
    """A page of a TIFF of more pixels than are decoded whole.

    Args:
        content: the file.
        page: tifffile's, whose file is open.
        orientation: as EXIF has it.
    """

    lossy = False

    def __init__(self, content: bytes, page: Any, orientation: int) -> None:
        self._content, self.orientation = content, orientation
        self._order = page.parent.byteorder
        tags = page.tags
        width, height = self.size = int(tags.valueof(WIDTH)), int(tags.valueof(LENGTH))
        self.narrow = page.bitspersample == 8
        compression = tags.valueof(COMPRESSION, 1)
        if compression == OLD_JPEG:
            raise too_large(f"{width} x {height} pixels of a TIFF with JPEG of the old kind: store it deflated")
        self._kept = {tag.code: self._value(tag) for tag in tags if tag.code in KEPT and int(tag.dtype) in BYTES}
        self._planes = tags.valueof(SAMPLES, 1) if tags.valueof(PLANAR) == SEPARATE else 1
        tiled = TILE_WIDTH in tags
        self._tags = (TILE_OFFSETS, TILE_BYTES) if tiled else (STRIP_OFFSETS, STRIP_BYTES)
        self._places, self._lengths = list(page.dataoffsets), list(page.databytecounts)
        if tiled:
            self._wide, self._high = int(tags.valueof(TILE_WIDTH)), int(tags.valueof(TILE_LENGTH))
        else:
            self._wide, self._high = width, min(int(tags.valueof(ROWS_PER_STRIP, height)), height)
            if self._high == height and compression == UNCOMPRESSED and tags.valueof(PHOTOMETRIC) != YCBCR:
                self._cut_strip(page)
        self._across, self._down = -(-width // self._wide), -(-height // self._high)
        if self._wide * self._high > limits.WHOLE or self._across * self._wide * self._high > limits.WHOLE:
            raise too_large(
                f"{self._across} tiles or strips of {self._wide} x {self._high} pixels side by side, of which "
                f"{limits.WHOLE} at most are read: store it in smaller ones"
            )

    def level(self, factor: float, exact: bool = False) -> Level:
        return Level(self.size, self._read)

    def _read(self, values: Values, region: Region) -> Iterator[Piece]:
        width, height = self.size
        first, beyond = region.left // self._wide, -(-region.right // self._wide)
        together = max(1, limits.PIECE // ((beyond - first) * self._wide * self._high))
        stop = -(-region.bottom // self._high)
        for row in range(region.top // self._high, stop, together):
            end = min(row + together, stop)
            left, top = first * self._wide, row * self._high
            size = min(beyond * self._wide, width) - left, min(end * self._high, height) - top
            places = [
                (plane * self._down + down) * self._across + across
                for plane in range(self._planes)
                for down in range(row, end)
                for across in range(first, beyond)
            ]
            yield Piece(left, top, stored_in(self._file(size, places), values, max(limits.WHOLE, limits.PIECE)))

    def _cut_strip(self, page: Any) -> None:
        """Take the one strip of each plane as many: uncompressed, its rows lie one after the other."""
        (width, height), of_plane = self.size, 1 if self._planes > 1 else page.samplesperpixel
        row = -(-width * of_plane * page.bitspersample // 8)
        self._high = min(height, max(1, limits.PIECE // width))
        tops = range(0, height, self._high)
        places = [place + top * row for place in self._places for top in tops]
        self._lengths = [min(self._high, height - top) * row for _ in self._places for top in tops]
        self._places = places

    def _value(self, tag: Any) -> tuple[int, int, bytes]:
        kind, count = int(tag.dtype), int(tag.count)
        return kind, count, self._content[tag.valueoffset : tag.valueoffset + count * BYTES[kind]]

    def _file(self, size: tuple[int, int], places: list[int]) -> bytes:
        """Return a TIFF of so many pixels (width, height) of some strips or tiles."""
        segments = [self._content[self._places[p] : self._places[p] + self._lengths[p]] for p in places]
        offsets, lengths = self._tags
        numbers = {WIDTH: [size[0]], LENGTH: [size[1]], lengths: [len(segment) for segment in segments]}
        if offsets == TILE_OFFSETS:
            numbers |= {TILE_WIDTH: [self._wide], TILE_LENGTH: [self._high]}
        else:
            numbers |= {ROWS_PER_STRIP: [self._high]}
        numbers[offsets] = [0] * len(segments)
        beside = sum(len(value) + len(value) % 2 for _, _, value in self._kept.values() if len(value) > 4)
        beside += sum(4 * len(value) for value in numbers.values() if len(value) > 1)
        count = len(self._kept) + len(numbers)
        start = place = 8 + 2 + 12 * count + 4
        place += beside
        for number, segment in enumerate(segments):
            numbers[offsets][number] = place
            place += len(segment)
        tags = self._kept | {
            tag: (LONG, len(value), struct.pack(f"{self._order}{len(value)}I", *value))
            for tag, value in numbers.items()
        }
        entries, values = list[bytes](), list[bytes]()
        for tag, (kind, many, value) in sorted(tags.items()):
            if len(value) > 4:
                values.append(value + bytes(len(value) % 2))
                value, start = struct.pack(f"{self._order}I", start), start + len(values[-1])
            entries.append(struct.pack(f"{self._order}HHI", tag, kind, many) + value.ljust(4, b"\0"))
        head = (b"II" if self._order == "<" else b"MM") + struct.pack(f"{self._order}HIH", 42, 8, count)
        return b"".join([head, *entries, bytes(4), *values, *segments])
