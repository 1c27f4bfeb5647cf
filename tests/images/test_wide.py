"""Values of more than 8 bits: how many count, in every format that holds them, and what does not fit."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.images import Pixels, Quarantine, Reason, decode, decode_depth, decode_picture
from pipeline.images.wide import Wide
from pipeline.values import Values
from pipeline.views import View
from tests.corpus import HEIGHT, WIDTH, encoded, png

LIMIT = 1_000_000
GREYS = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
GREYS[0, 0] = 255
COLOURS = np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
COLOURS[0, 0] = 255


def shifted(values: Any, bits: int) -> Any:
    return values.astype(np.uint16) << (bits - 8)


def png_16(values: Any, significant: int = 0) -> bytes:
    """Return a 16-bit PNG of values (H, W, C), with a chunk sBIT where so many bits are said to be significant."""
    channels = values.shape[2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    content = png(WIDTH, HEIGHT, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], lines)
    if not significant:
        return content
    said = bytes([significant] * channels)
    chunk = struct.pack(">I", channels) + b"sBIT" + said + struct.pack(">I", zlib.crc32(b"sBIT" + said))
    return content[:33] + chunk + content[33:]


def tiff(values: Any, **options: Any) -> bytes:
    sink = io.BytesIO()
    tifffile.imwrite(sink, values, photometric="rgb" if values.ndim == 3 else "minisblack", **options)
    return sink.getvalue()


def alpha(values: Any) -> Any:
    return np.dstack([values, np.full((HEIGHT, WIDTH), 65535, np.uint16)])


def planes(values: Any, **options: Any) -> bytes:
    return tiff(np.ascontiguousarray(values.transpose(2, 0, 1)), planarconfig="separate", **options)


def seen(content: bytes, bits: int | None) -> Pixels:
    return decode(content, View((HEIGHT, WIDTH), values=Values(bits)), LIMIT)[0]


def depth(content: bytes) -> list[int]:
    found, size = decode_depth(content, View((HEIGHT, WIDTH)), LIMIT)
    assert size == (WIDTH, HEIGHT)
    return list(found)


GREY_FILES = {
    "png": lambda values: encoded(Image.fromarray(values), "PNG"),
    "png with transparency": lambda values: png_16(alpha(values)),
    "tiff": lambda values: encoded(Image.fromarray(values), "TIFF"),
    "tiff, big endian": lambda values: tiff(values, byteorder=">"),
    "tiff, lzw": lambda values: encoded(Image.fromarray(values), "TIFF", compression="tiff_lzw"),
    "tiff, 32 bits": lambda values: encoded(Image.fromarray(values.astype(np.int32)), "TIFF"),
    "pgm": lambda values: f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + values.astype(">u2").tobytes(),
    "jpeg 2000": lambda values: encoded(Image.fromarray(values), "JPEG2000"),
}
COLOUR_FILES = {
    "png": png_16,
    "png with transparency": lambda values: png_16(alpha(values)),
    "tiff": tiff,
    "tiff, big endian": lambda values: tiff(values, byteorder=">"),
    "tiff, deflated": lambda values: tiff(values, compression="zlib", predictor=True),
    "tiff, tiles": lambda values: tiff(values, tile=(16, 16)),
    "tiff, planes": planes,
    "tiff, deflated planes": lambda values: planes(values, compression="zlib"),
    "tiff with transparency": lambda values: tiff(alpha(values), extrasamples=["unassalpha"]),
    "tiff with transparency multiplied in": lambda values: tiff(alpha(values), extrasamples=["assocalpha"]),
    "ppm": lambda values: f"P6 {WIDTH} {HEIGHT} 65535\n".encode() + values.astype(">u2").tobytes(),
}
FILES = [(GREYS, name, make) for name, make in GREY_FILES.items()]
FILES += [(COLOURS, name, make) for name, make in COLOUR_FILES.items()]
NAMES = [*(f"grey {name}" for name in GREY_FILES), *(f"colour {name}" for name in COLOUR_FILES)]


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14])
@pytest.mark.parametrize(("values", "name", "make"), FILES, ids=NAMES)
def test_low_bits_of_16_give_the_pixels_of_8_bits(values: Any, name: str, make: Any, bits: int) -> None:
    content = make(shifted(values, bits))
    expected = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    np.testing.assert_array_equal(seen(content, bits), expected)
    assert depth(content) == [bits if bits != 9 else 10]
    view = View((1024, 1024), values=Values(bits))
    np.testing.assert_array_equal(decode_picture(content, view, LIMIT)[0], expected)


@pytest.mark.parametrize(("values", "name", "make"), FILES, ids=NAMES)
def test_all_16_bits_give_what_they_gave_whether_that_is_known_or_not(values: Any, name: str, make: Any) -> None:
    content = make(values.astype(np.uint16) * 257)
    expected = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    for bits in (16, None):
        np.testing.assert_array_equal(seen(content, bits), expected)
    assert depth(content) == [16]


@pytest.mark.parametrize(("values", "name", "make"), FILES, ids=NAMES)
def test_values_beyond_the_bits_that_count_are_no_white(values: Any, name: str, make: Any) -> None:
    with pytest.raises(Quarantine) as caught:
        seen(make(shifted(values, 12)), 10)
    assert caught.value.reason == Reason.UNSUPPORTED_MODE
    assert "values up to 4080" in caught.value.detail and "10 bits" in caught.value.detail
    assert "input.bits" in caught.value.detail


@pytest.mark.parametrize(("values", "name", "make"), FILES, ids=NAMES)
def test_where_nobody_knows_dark_values_are_not_guessed_at(values: Any, name: str, make: Any) -> None:
    with pytest.raises(Quarantine) as caught:
        seen(make(shifted(values, 12)), None)
    assert caught.value.reason == Reason.UNSUPPORTED_MODE and "set input.bits" in caught.value.detail


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(GREYS), "PNG"),
        encoded(Image.fromarray(COLOURS), "PNG"),
        encoded(Image.fromarray(COLOURS), "TIFF"),
    ],
    ids=["grey", "colour", "tiff"],
)
def test_files_of_8_bits_are_what_they_are_at_any_setting_and_say_nothing(content: bytes) -> None:
    assert depth(content) == []
    for bits in (8, 12, None):
        np.testing.assert_array_equal(seen(content, bits), seen(content, 16))


def packed_tiff(values: Any, bits: int, order: str = "<") -> bytes:
    """Return a TIFF of values (H, W) that lie bit by bit."""
    parts = values[..., None].astype(int) >> np.arange(bits)[::-1] & 1
    body = np.packbits(parts.reshape(HEIGHT, -1).astype(np.uint8), axis=1)
    tags = [(256, WIDTH), (257, HEIGHT), (258, bits), (259, 1), (262, 1), (273, 134), (277, 1), (278, HEIGHT)]
    tags.append((279, body.size))
    entries = b"".join(struct.pack(f"{order}HHII", number, 4, 1, value) for number, value in tags)
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return (head + entries + bytes(4)).ljust(134, b"\0") + body.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", range(9, 16))
def test_values_that_a_tiff_packs_into_fewer_bits_are_read_by_its_own(bits: int, order: str) -> None:
    content = packed_tiff(shifted(GREYS, bits), bits, order)
    for others in (16, 10, None):
        np.testing.assert_array_equal(seen(content, others)[..., 0], GREYS)
    assert depth(content) == []
    with pytest.raises(Quarantine) as caught:
        seen(content[: len(content) // 2], 16)
    assert caught.value.reason == Reason.DAMAGED


@pytest.mark.parametrize("bits", [16, 10, None])
@pytest.mark.parametrize(
    "content",
    [
        f"P5 {WIDTH} {HEIGHT} 4095\n".encode() + np.round(GREYS * (4095 / 255)).astype(">u2").tobytes(),
        f"P2 {WIDTH} {HEIGHT} 1000\n".encode()
        + " ".join(str(round(v * 1000 / 255)) for v in GREYS.ravel().tolist()).encode(),
    ],
    ids=["pgm", "plain pgm"],
)
def test_what_the_format_says_counts_whatever_the_category_has(content: bytes, bits: int | None) -> None:
    assert depth(content) == []
    assert np.abs(seen(content, bits)[..., 0].astype(int) - GREYS).max() <= 1


def test_tags_promise_more_bits_than_dark_values_take() -> None:
    dark = GREYS.astype(np.uint16)  # 255 at most
    for tag, kind in ((281, "H"), (341, "H")):
        content = tiff(dark, extratags=[(tag, kind, 1, 4095, True)])
        assert depth(content) == [12]
        np.testing.assert_array_equal(seen(content, None)[..., 0], GREYS >> 4)
    assert depth(png_16(dark[..., None], significant=12)) == [12]
    assert depth(tiff(dark)) == [8]


def test_a_png_whose_significant_bits_are_the_upper_ones_has_16() -> None:
    """The standard has them there, and cameras in the lower ones."""
    assert depth(png_16(GREYS[..., None].astype(np.uint16) << 8, significant=12)) == [16]


def test_16_bit_colours_behind_a_reduced_version_are_read_from_their_own_page() -> None:
    sink = io.BytesIO()
    with tifffile.TiffWriter(sink) as file:
        file.write(shifted(COLOURS, 12)[::2, ::2].copy(), photometric="rgb", subfiletype=1)
        file.write(shifted(COLOURS, 12), photometric="rgb")
    np.testing.assert_array_equal(seen(sink.getvalue(), 12), COLOURS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_colours_are_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    narrow = encoded(Image.fromarray(COLOURS), kind, exif=exif)
    if kind == "TIFF":
        wide = tiff(shifted(COLOURS, 12), extratags=[(274, "H", 1, 6, True)])
    else:
        start = narrow.index(b"eXIf") - 4
        (length,) = struct.unpack_from(">I", narrow, start)
        content = png_16(shifted(COLOURS, 12))
        wide = content[:33] + narrow[start : start + 12 + length] + content[33:]
    view = View((WIDTH, HEIGHT), values=Values(12))
    pixels, size = decode(wide, view, LIMIT)
    assert size == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(pixels, decode(narrow, view, LIMIT)[0])


def test_colours_of_which_the_upper_bytes_are_known_only_are_not_taken_for_black() -> None:
    """Pillow reads 16-bit colours of JPEG 2000 so, and writes none."""
    dark, usual = (Wide(np.full((HEIGHT, WIDTH, 3), value), coarse=True) for value in (1023, 65535))
    assert (dark.depth, usual.depth) == (10, 16) and (usual.of_8_bits(16) == 255).all()
    with pytest.raises(Quarantine, match="8 bits are read: store them as TIFF or PNG"):
        dark.of_8_bits(10)


@pytest.mark.parametrize("values", [[-1, 5], [0, 70_000]])
def test_values_that_16_bits_do_not_hold_are_said(values: list[int]) -> None:
    wrong = np.array(values, np.int32).repeat(WIDTH * HEIGHT // 2).reshape(HEIGHT, WIDTH)
    for bits in (None, 12, 16):
        with pytest.raises(Quarantine, match=f"values from {min(values)} to {max(values)}"):
            seen(encoded(Image.fromarray(wrong), "TIFF"), bits)
