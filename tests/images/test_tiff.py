"""TIFF beyond what Pillow reads: any number of channels, and pages that are no image of their own."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.images import Quarantine, Reason, decode, decode_depth, decode_picture
from pipeline.values import Values
from pipeline.views import View
from tests.corpus import HEIGHT, WIDTH, encoded

LIMIT = 1_000_000
VIEW = View((HEIGHT, WIDTH))
CUBE = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 30), np.uint8)
CUBE[0, 0] = 255


def tiff(channels: int, kind: str = "minisblack", bits: int = 8, **options: Any) -> bytes:
    values = CUBE[..., :channels] if bits == 8 else CUBE[..., :channels].astype(np.uint16) << (bits - 8)
    if options.get("planarconfig") == "separate":
        values = np.ascontiguousarray(values.transpose(2, 0, 1))
    sink = io.BytesIO()
    tifffile.imwrite(sink, values, photometric=kind, **{"planarconfig": "contig"} | options)
    return sink.getvalue()


def quarantined(content: bytes, values: Values | None = None) -> Quarantine:
    with pytest.raises(Quarantine) as caught:
        decode(content, View((HEIGHT, WIDTH), values=values or Values()), LIMIT)
    return caught.value


@pytest.mark.parametrize(
    "options", [{}, {"planarconfig": "separate"}, {"compression": "zlib", "predictor": True}], ids=str
)
@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("channels", [2, 3, 4, 5, 7, 30])
def test_a_tiff_of_any_number_of_channels_is_refused_with_it_and_read_where_three_are_chosen(
    channels: int, bits: int, options: dict[str, Any]
) -> None:
    content = tiff(channels, bits=bits, **options)
    refused = quarantined(content)
    assert refused.reason == Reason.UNSUPPORTED_MODE
    assert refused.detail == f"{channels} channels: choose three with input.channels"
    chosen = (channels - 1, 0, 1)
    view = View((HEIGHT, WIDTH), values=Values(bits if bits > 8 else 16, chosen))
    np.testing.assert_array_equal(decode(content, view, LIMIT)[0], CUBE[..., chosen])
    np.testing.assert_array_equal(decode_picture(content, view, LIMIT)[0], CUBE[..., chosen])
    assert list(decode_depth(content, view, LIMIT)[0]) == ([bits] if bits > 8 else [])
    beyond = quarantined(content, Values(16, (0, 1, channels)))
    assert beyond.reason == Reason.UNSUPPORTED_MODE
    assert f"there is no channel {channels}, which input.channels asks for" in beyond.detail


@pytest.mark.parametrize("channels", [5, 6])
def test_channels_behind_colours_are_not_dropped_in_silence(channels: int) -> None:
    content = tiff(channels, "rgb")
    assert quarantined(content).detail == f"{channels} channels: choose three with input.channels"
    view = View((HEIGHT, WIDTH), values=Values(16, (0, 1, channels - 1)))
    np.testing.assert_array_equal(decode(content, view, LIMIT)[0], CUBE[..., (0, 1, channels - 1)])


@pytest.mark.parametrize("extra", ["unspecified", "unassalpha"])
def test_a_fourth_channel_is_dropped_as_transparency_is_and_can_be_chosen(extra: str) -> None:
    content = tiff(4, "rgb", extrasamples=[extra])
    np.testing.assert_array_equal(decode(content, VIEW, LIMIT)[0], CUBE[..., :3])
    view = View((HEIGHT, WIDTH), values=Values(16, (3, 1, 0)))
    np.testing.assert_array_equal(decode(content, view, LIMIT)[0], CUBE[..., (3, 1, 0)])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_chosen_channels_are_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    ordinary = encoded(Image.fromarray(np.ascontiguousarray(CUBE[..., (4, 2, 0)])), "PNG", exif=exif)
    expected, size = decode(ordinary, VIEW, LIMIT)
    content = tiff(5, extratags=[(274, "H", 1, orientation, True)])
    pixels, found = decode(content, View((HEIGHT, WIDTH), values=Values(16, (4, 2, 0))), LIMIT)
    assert found == size
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(("mode", "count"), [("RGB", 3), ("L", 1), ("P", 3), ("CMYK", 4), ("RGBA", 4)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_ordinary_files_have_their_own_channels_and_no_more(mode: str, count: int, kind: str) -> None:
    if (kind, mode) in (("PNG", "CMYK"), ("JPEG", "RGBA"), ("JPEG", "P")):
        return  # there is no such file
    content = encoded(Image.fromarray(np.ascontiguousarray(CUBE[..., :3])).convert(mode), kind)
    pixels, _ = decode(content, View((HEIGHT, WIDTH), values=Values(16, (count - 1, 0, 0))), LIMIT)
    np.testing.assert_array_equal(pixels[..., 1], pixels[..., 2])
    assert (pixels[..., 0] != pixels[..., 1]).any() == (count > 1)
    refused = quarantined(content, Values(16, (0, 0, 9)))
    assert refused.reason == Reason.UNSUPPORTED_MODE and "there is no channel 9" in refused.detail


def test_channels_of_16_bit_colours_are_chosen_too() -> None:
    content = tiff(3, "rgb", bits=12)
    view = View((HEIGHT, WIDTH), values=Values(12, (2, 1, 0)))
    np.testing.assert_array_equal(decode(content, view, LIMIT)[0], CUBE[..., (2, 1, 0)])


def test_values_without_a_range_are_refused_in_words() -> None:
    sink = io.BytesIO()
    tifffile.imwrite(sink, CUBE[..., :5] / np.float32(255), photometric="minisblack", planarconfig="contig")
    assert "float32" in quarantined(sink.getvalue(), Values(16, (0, 1, 2))).detail
    for kind in ("float64", "complex64"):
        sink = io.BytesIO()
        tifffile.imwrite(sink, CUBE[..., 0].astype(kind), photometric="minisblack")
        refused = quarantined(sink.getvalue())
        assert refused.reason == Reason.UNSUPPORTED_MODE and kind in refused.detail


def test_channels_whose_compression_is_not_known_are_refused_in_words() -> None:
    none, lzw = (struct.pack("<HHIHH", 259, 3, 1, number, 0) for number in (1, 5))
    content = tiff(7)
    assert content.count(none) == 1
    refused = quarantined(content.replace(none, lzw), Values(16, (0, 1, 2)))
    assert refused.reason == Reason.UNSUPPORTED_MODE
    assert refused.detail == "7 channels, compressed by lzw: store them uncompressed or deflated"


def test_limits_hold_for_files_of_many_channels() -> None:
    content = tiff(7)
    values = Values(16, (0, 1, 2))
    with pytest.raises(Quarantine) as caught:
        decode(content, View((HEIGHT, WIDTH), values=values), WIDTH * HEIGHT - 1)
    assert caught.value.reason == Reason.TOO_LARGE
    sink = io.BytesIO()
    tifffile.imwrite(sink, CUBE[:15, :, :7].copy(), photometric="minisblack", planarconfig="contig")
    assert quarantined(sink.getvalue(), values).reason == Reason.TOO_SMALL
    assert quarantined(content[: len(content) // 2], values).reason == Reason.DAMAGED


def pages(*kinds: str) -> bytes:
    """Return a TIFF of pages of these kinds; an image is the cube's first channel."""
    sink = io.BytesIO()
    with tifffile.TiffWriter(sink) as file:
        for kind in kinds:
            match kind:
                case "image":
                    file.write(CUBE[..., 0].copy(), photometric="minisblack")
                case "reduced":
                    file.write(CUBE[::2, ::2, 0].copy(), photometric="minisblack", subfiletype=1)
                case "reduced, as it was said before":
                    file.write(CUBE[::2, ::2, 0].copy(), photometric="minisblack", extratags=[(255, "H", 1, 2, True)])
                case "mask":
                    file.write(CUBE[..., 0] > 100, photometric="mask", subfiletype=4)
                case "channels":
                    file.write(CUBE[..., :7].copy(), photometric="minisblack", planarconfig="contig")
    return sink.getvalue()


@pytest.mark.parametrize(
    "kinds",
    [
        ("image", "reduced"),
        ("reduced", "image"),
        ("image", "reduced, as it was said before"),
        ("image", "mask"),
        ("mask", "image"),
        ("reduced", "image", "mask", "reduced"),
    ],
    ids=" ".join,
)
def test_reduced_versions_and_masks_are_no_frames(kinds: tuple[str, ...]) -> None:
    pixels, size = decode(pages(*kinds), VIEW, LIMIT)
    assert size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(pixels[..., 0], CUBE[..., 0])
    picture, _ = decode_picture(pages(*kinds), View((1024, 1024)), LIMIT)
    np.testing.assert_array_equal(picture[..., 0], CUBE[..., 0])


@pytest.mark.parametrize(
    "kinds",
    [("image", "image"), ("reduced", "image", "image"), ("image", "mask", "image"), ("channels", "channels")],
    ids=" ".join,
)
def test_stacks_stay_several_frames(kinds: tuple[str, ...]) -> None:
    refused = quarantined(pages(*kinds), Values(16, (0, 0, 0)) if "channels" in kinds else None)
    assert refused.reason == Reason.SEVERAL_FRAMES
    assert f"{sum(kind in ('image', 'channels') for kind in kinds)} frames" in refused.detail


def test_channels_with_a_reduced_version_are_one_image() -> None:
    view = View((HEIGHT, WIDTH), values=Values(16, (6, 1, 0)))
    np.testing.assert_array_equal(decode(pages("channels", "reduced"), view, LIMIT)[0], CUBE[..., (6, 1, 0)])
