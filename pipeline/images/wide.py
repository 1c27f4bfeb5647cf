"""Values of more than 8 bits: where a file's format hides them, how many bits count, and how 8 are made of them."""

import io
import struct
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from pipeline.images.reasons import unsupported
from pipeline.values import depth_of

LARGEST = 65535
MAX_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE = 281, 341  # tags of TIFF
# Pillow gives the upper byte of 16-bit colours; in the other order of bytes it is the lower one
LOWER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True)
class Wide:
    """The values of an image, (H, W) greys or (H, W, C).

    `own` are the bits that its format says count, None where that has 16 for all. `said` is the largest value that its
    tags speak of. Of `coarse` ones the upper byte is known only.
    """

    values: NDArray[np.integer[Any]]
    own: int | None = None
    said: int = 0
    coarse: bool = False

    @property
    def depth(self) -> int:
        """The bits that hold its values, and what its tags say of them."""
        return depth_of(max(self._largest(), self.said))

    def of_8_bits(self, bits: int | None) -> NDArray[np.uint8]:
        """Return the upper 8 of the bits that count; raises `Quarantine`.

        Greys of 16 bits are scaled by 1/257 and rounded.

        Args:
            bits: that count in a file that says nothing itself; None where nobody knows.
        """
        largest = self._largest()
        if self.own is not None:
            bits = self.own
        elif bits is None:
            bits = self.depth
            if bits < 16 and not self.said:
                raise unsupported(
                    f"16-bit values up to {largest}, and nothing says how many bits count: set input.bits"
                )
        if largest >= 1 << bits:
            raise unsupported(
                f"values up to {largest}, and {bits} bits count in its category (0 to {(1 << bits) - 1}): "
                "set input.bits, or store it as the others are"
            )
        if self.coarse and bits < 16:
            raise unsupported("of 16-bit colours in this format 8 bits are read: store them as TIFF or PNG")
        if bits == 16 and self.values.ndim == 2:
            return (self.values / 257).round().astype(np.uint8)
        return (self.values >> (bits - 8)).astype(np.uint8)

    def _largest(self) -> int:
        smallest, largest = int(self.values.min()), int(self.values.max())
        if smallest < 0 or largest > LARGEST:
            raise unsupported(f"values from {smallest} to {largest}: store them in 16 bits, from 0 to {LARGEST}")
        return largest


def wide_values(image: ImageFile.ImageFile, content: bytes, colours: bool) -> Wide | None:
    """Return the upright values of an opened image, None where they have 8 bits.

    Args:
        image: as it was opened, not yet loaded.
        content: its file.
        colours: also those of 16-bit colours, of which Pillow keeps the upper bytes; it takes twice the time.
    """
    rawmode, maxval = _stored_as(image)
    precision = jpeg_2000_precision(content) if image.format == "JPEG2000" else 0
    if image.mode.startswith("I"):
        # Pillow scales what says that it has other bits, but for 12 of TIFF
        scaled = maxval not in (0, LARGEST) or 8 < precision < 16
        own = 12 if rawmode == "I;12" else 16 if scaled else None
        ImageOps.exif_transpose(image, in_place=True)
        return _told(image, content, np.asarray(image), own)
    if not colours:
        return None
    if image.format == "PPM" and maxval == LARGEST:
        if rawmode == "RGB" and content[:2] == b"P6":
            width, height = image.size
            return Wide(
                np.frombuffer(content, ">u2", width * height * 3, image.tile[0].offset).reshape(height, width, 3)
            )
        return _coarse(image)
    if precision >= 16:
        return _coarse(image)
    if ";16" not in rawmode:
        return None
    lower = Image.open(io.BytesIO(content), formats=[str(image.format)])
    assert isinstance(lower, ImageFile.ImageFile), "as image is"
    lower.seek(image.tell())
    lower.tile = [tile._replace(args=_lower(tile.args)) for tile in lower.tile]
    for half in (image, lower):
        ImageOps.exif_transpose(half, in_place=True)
    high, low = np.asarray(image)[..., :3], np.asarray(lower)[..., :3]
    if rawmode.startswith("LA"):
        low = low[..., 1:2].repeat(3, axis=2)  # grey, its lower byte, and two of transparency
    return _told(image, content, high.astype(np.uint16) << 8 | low, None)


def _stored_as(image: ImageFile.ImageFile) -> tuple[str, int]:
    """Return Pillow's name of how the values are stored, and the largest value where a PPM says it."""
    if not image.tile or image.tile[0].args is None:
        return "", 0
    args = image.tile[0].args
    rawmode, *rest = (args,) if isinstance(args, str) else args
    if image.format != "PPM":
        return str(rawmode), 0
    return str(rawmode), int(rest[0]) if rest else LARGEST if rawmode == "I;16B" else 255


def _lower(args: Any) -> Any:
    rawmode, *rest = (args,) if isinstance(args, str) else args
    # Pillow reads no grey with transparency in this order: all four bytes are
    other = "RGBA" if rawmode.startswith("LA") else rawmode[:-1] + LOWER[rawmode[-1]]
    return other if isinstance(args, str) else (other, *rest)


def _coarse(image: ImageFile.ImageFile) -> Wide:
    ImageOps.exif_transpose(image, in_place=True)
    return Wide(np.asarray(image.convert("RGB")).astype(np.uint16) << 8 | 255, coarse=True)


def _told(image: ImageFile.ImageFile, content: bytes, values: NDArray[np.integer[Any]], own: int | None) -> Wide:
    said = 0
    if image.format == "PNG" and values.max(initial=0) < 1 << (bits := _png_significant_bits(content)):
        said = (1 << bits) - 1  # otherwise they are in the upper bits, as the standard has it
    elif image.format == "TIFF":
        said = said_of({tag: image.tag_v2.get(tag) for tag in (MAX_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE)})  # type: ignore[attr-defined]
    return Wide(values, own, said)


def said_of(tags: dict[int, Any]) -> int:
    """Return the largest value that a TIFF's tags speak of, 0 where they speak of none that 16 bits hold."""
    found = [v for value in tags.values() for v in (value if isinstance(value, tuple) else (value,)) if v is not None]
    largest = max((int(value) for value in found), default=0)
    return largest if 255 < largest <= LARGEST else 0


def _png_significant_bits(content: bytes) -> int:
    """Return what the chunk sBIT says of its colours, 0 where there is none."""
    place = 8
    while (kind := content[place + 4 : place + 8]) not in (b"", b"IDAT", b"IEND"):
        (length,) = struct.unpack_from(">I", content, place)
        if kind == b"sBIT":
            return max(content[place + 8 : place + 8 + length][:3], default=0)
        place += 12 + length
    return 0


def jpeg_2000_precision(content: bytes) -> int:
    """Return the bits of its first component; 0 where the header is not found."""
    start = content.find(b"\xff\x4f\xff\x51")  # start of the codestream, and of the sizes
    return (content[start + 42] & 0x7F) + 1 if 0 <= start < len(content) - 42 else 0
