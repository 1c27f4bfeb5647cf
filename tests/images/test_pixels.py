"""decode(): every kind of file ends as pixels or as a reason; image_stats(): what pixels say of lamp and lens."""

import time
import warnings
from contextlib import closing
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, ImageFilter

from pipeline.catalog.layouts import SIDECARS
from pipeline.images.decoder import Decoder
from pipeline.images.pixels import SMALLEST_SIDE, Pixels, decode, decode_picture, decode_size, image_stats
from pipeline.images.reasons import Quarantine, Reason
from pipeline.views import View
from tests.corpus import BLUE, CORPUS, GREEN, HEIGHT, RED, TRICKS, WHITE, WIDTH, encoded, icon, png, quadrants

SIDE = 32
VIEW = View((SIDE, SIDE))
LIMIT = 1_000_000

COLOURS = (RED, GREEN, BLUE, WHITE)
GREYS = tuple((grey,) * 3 for grey in (255, 128, 0, 10))  # 65535, 32768, 0 and 2570 of 65535

# name -> (the four areas, how far a value may be off: JPEG is lossy, and inks are no light)
SEEN: dict[str, tuple[Any, int]] = {
    "good.png": (COLOURS, 0),
    "good.jpg": (COLOURS, 8),
    "good.bmp": (COLOURS, 0),
    "good.tif": (COLOURS, 0),
    "good_lzw.tif": (COLOURS, 0),
    "good.webp": (COLOURS, 0),
    "good_one_frame.gif": (COLOURS, 0),
    "good.ico": (COLOURS, 0),
    "progressive.jpg": (COLOURS, 8),
    "png_content.jpg": (COLOURS, 0),
    "no_extension": (COLOURS, 0),
    "grey_16.png": (GREYS, 0),
    "grey_16.tif": (GREYS, 0),
    "grey_16_big_endian.tif": (GREYS, 0),
    "grey_32_in_range.tif": (GREYS, 0),
    "rgb_16.png": (COLOURS, 0),
    "cmyk.jpg": (COLOURS, 40),
    "palette_transparent.png": (COLOURS, 0),
    "rgba.png": (COLOURS, 0),
    "la.png": ([(250,) * 3, (100,) * 3, (0,) * 3, (30,) * 3], 0),
    "one_bit.png": ([WHITE, (0, 0, 0), (0, 0, 0), WHITE], 0),
    "turned.jpg": ((BLUE, RED, WHITE, GREEN), 8),
    "stereo.mpo": (COLOURS, 8),
    "colour_profile.png": (COLOURS, 0),
    "garbage_appended.jpg": (COLOURS, 8),
    "hostile_comment.jpg": (COLOURS, 8),
    "broken_exif.jpg": (COLOURS, 8),
}

QUARANTINED = {name: (content, reason) for name, (content, reason) in CORPUS.items() if reason is not None}

NO_PIXELS = (Reason.EMPTY, Reason.NOT_AN_IMAGE, Reason.DAMAGED, Reason.TOO_LARGE, Reason.UNSUPPORTED_MODE)


def areas(pixels: Pixels) -> Any:
    """Return the colours in the middle of the four quarters, far from the resize's blur at their borders."""
    near, far = SIDE // 4, 3 * SIDE // 4
    return pixels[[near, near, far, far], [near, far, near, far]].astype(int)


def reason_of(content: bytes, max_pixels: int = LIMIT) -> Reason:
    with pytest.raises(Quarantine) as caught:
        decode(content, VIEW, max_pixels)
    return caught.value.reason


def test_corpus_has_expected_pixels_for_every_file_that_can_be_scored() -> None:
    assert set(SEEN) == {name for name, (_, reason) in CORPUS.items() if reason is None}


def test_corpus_has_at_least_thirty_kinds_of_files_and_none_that_a_listing_would_skip() -> None:
    assert len(CORPUS) >= 30
    assert not [name for name in CORPUS if PurePosixPath(name).suffix in SIDECARS or name.startswith(".")]


@pytest.mark.parametrize("name", SEEN)
def test_good_file_is_decoded_to_its_colours(name: str) -> None:
    pixels, size = decode(CORPUS[name][0], VIEW, LIMIT)
    expected, tolerance = SEEN[name]
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    assert size == ((HEIGHT, WIDTH) if name == "turned.jpg" else (WIDTH, HEIGHT))
    assert np.abs(areas(pixels) - np.asarray(expected)).max() <= tolerance


@pytest.mark.parametrize("name", QUARANTINED)
def test_bad_file_is_quarantined_with_its_reason(name: str) -> None:
    content, reason = QUARANTINED[name]
    assert reason_of(content) == reason


@pytest.mark.parametrize("name", QUARANTINED)
def test_quarantine_has_a_detail_of_one_short_line(name: str) -> None:
    with pytest.raises(Quarantine) as caught:
        decode(QUARANTINED[name][0], VIEW, LIMIT)
    assert 0 < len(caught.value.detail) <= 200
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_costs_neither_time_nor_memory(name: str) -> None:
    with closing(Decoder(20, 1 << 30)) as decoder:
        with pytest.raises(Quarantine) as caught:
            decoder(TRICKS[name], VIEW, LIMIT)
        assert caught.value.reason in (Reason.NOT_AN_IMAGE, Reason.DAMAGED, Reason.TOO_LARGE)
    start = time.process_time()
    assert reason_of(TRICKS[name]) == caught.value.reason
    assert time.process_time() - start < 2


def test_reasons_are_the_fixed_list() -> None:
    assert [str(reason) for reason in Reason] == [
        "forbidden",
        "unreadable",
        "changed",
        "empty",
        "not_an_image",
        "damaged",
        "too_large",
        "too_small",
        "several_frames",
        "unsupported_mode",
        "crashed",
        "timeout",
        "out_of_memory",
        "not_finite",
        "alone",
    ]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "MPO"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, (RED, GREEN, BLUE, WHITE)),
        (2, (GREEN, RED, WHITE, BLUE)),
        (3, (WHITE, BLUE, GREEN, RED)),
        (4, (BLUE, WHITE, RED, GREEN)),
        (5, (RED, BLUE, GREEN, WHITE)),
        (6, (BLUE, RED, WHITE, GREEN)),
        (7, (WHITE, GREEN, BLUE, RED)),
        (8, (GREEN, WHITE, RED, BLUE)),
    ],
)
def test_picture_is_turned_upright_by_its_exif_tag(kind: str, orientation: int, expected: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif}
    if kind == "WEBP":
        options["lossless"] = True
    elif kind in ("JPEG", "MPO"):
        options["quality"] = 95
    pixels, size = decode(encoded(Image.fromarray(quadrants(COLOURS)), kind, **options), VIEW, LIMIT)
    assert size == ((HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT))
    assert np.abs(areas(pixels) - np.asarray(expected)).max() <= 8


def test_transparency_is_dropped_and_not_blended() -> None:
    visible, invisible = (np.dstack([quadrants(COLOURS), quadrants((alpha,) * 4)]) for alpha in (255, 0))
    first, _ = decode(encoded(Image.fromarray(visible), "PNG"), VIEW, LIMIT)
    second, _ = decode(encoded(Image.fromarray(invisible), "PNG"), VIEW, LIMIT)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("grey", [0, 1, 128, 254, 255])
def test_grey_in_16_bits_gives_the_pixels_of_the_same_grey_in_8_bits(grey: int) -> None:
    wide, narrow = (
        Image.fromarray(np.full((20, 20), grey * by, kind)) for by, kind in ((257, np.uint16), (1, np.uint8))
    )
    np.testing.assert_array_equal(
        decode(encoded(wide, "PNG"), VIEW, LIMIT)[0],
        decode(encoded(narrow, "PNG"), VIEW, LIMIT)[0],
    )


def test_resize_averages_over_what_it_shrinks() -> None:
    """Without antialias a checkerboard would shrink to black or white or a moiré of both."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels, _ = decode(encoded(Image.fromarray(board), "PNG"), VIEW, LIMIT)
    assert set(np.unique(pixels)) <= {126, 127, 128, 129}


def test_resize_keeps_no_aspect_ratio_and_crops_nothing() -> None:
    stripes = np.zeros((20, 100, 3), np.uint8)
    stripes[:, :10], stripes[:, -10:] = RED, BLUE
    pixels, size = decode(encoded(Image.fromarray(stripes), "PNG"), View((50, 50)), LIMIT)
    assert size == (100, 20)
    assert pixels.shape == (50, 50, 3)
    np.testing.assert_array_equal(pixels[:, 1], np.tile(RED, (50, 1)))
    np.testing.assert_array_equal(pixels[:, -2], np.tile(BLUE, (50, 1)))


def test_image_at_the_limit_is_decoded_and_one_pixel_less_is_too_large() -> None:
    content = CORPUS["good.png"][0]
    assert decode(content, VIEW, WIDTH * HEIGHT)[1] == (WIDTH, HEIGHT)
    assert reason_of(content, WIDTH * HEIGHT - 1) == Reason.TOO_LARGE


def test_limit_of_pixels_is_the_setting_and_nobody_elses() -> None:
    """Pillow has a limit of its own, 178,956,970 pixels; a setting above it must hold all the same.

    The file ends right after its header, so that what comes after the limit is reached without 200 MB of pixels.
    """
    assert reason_of(png(14_000, 14_000, 8, 0, b"")[:60], 400_000_000) == Reason.DAMAGED


def test_a_picture_larger_than_its_icon_says_is_not_decoded() -> None:
    """The picture ends right after its header, so that only a limit that comes before decoding finds it too large."""
    picture = png(30_000, 30_000, 8, 2, b"")[:60]
    assert reason_of(icon(picture)) == Reason.TOO_LARGE


def test_image_of_the_smallest_side_is_decoded_and_one_pixel_less_is_too_small() -> None:
    image = Image.fromarray(quadrants(COLOURS))
    smallest = encoded(image.resize((50, SMALLEST_SIDE)), "PNG")
    assert decode(smallest, VIEW, LIMIT)[1] == (50, SMALLEST_SIDE)
    assert reason_of(encoded(image.resize((50, SMALLEST_SIDE - 1)), "PNG")) == Reason.TOO_SMALL


def test_postscript_is_never_handed_to_an_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow runs Ghostscript on PostScript: a program of the lake's choosing."""
    started = []

    def interpreter(*arguments: Any, **options: Any) -> Any:
        started.append(arguments)
        return Image.new("RGB", (WIDTH, HEIGHT)).im

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", interpreter)
    reason = reason_of(encoded(Image.fromarray(quadrants(COLOURS)), "EPS"))
    assert reason == Reason.NOT_AN_IMAGE
    assert not started


def test_decoding_silences_no_warning_of_anybody_else() -> None:
    decode(CORPUS["good.png"][0], VIEW, LIMIT)
    with pytest.raises(Quarantine):
        decode(CORPUS["bomb.png"][0], VIEW, LIMIT)
    with pytest.warns(Image.DecompressionBombWarning):
        warnings.warn("large", Image.DecompressionBombWarning, stacklevel=1)


def noise(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def picture(top_left: Any, top_right: Any, bottom_left: Any, bottom_right: Any) -> Pixels:
    return quadrants((top_left, top_right, bottom_left, bottom_right))


@pytest.mark.parametrize(("grey", "brightness"), [(0, 0.0), (51, 0.2), (255, 1.0)])
def test_an_even_picture_has_neither_contrast_nor_sharpness(grey: int, brightness: float) -> None:
    assert image_stats(np.full((SIDE, SIDE, 3), grey, np.uint8)) == pytest.approx((brightness, 0, 0), abs=1e-6)


def test_colours_count_by_their_mean() -> None:
    assert image_stats(np.full((SIDE, SIDE, 3), RED, np.uint8))[0] == pytest.approx(1 / 3)
    assert image_stats(np.full((SIDE, SIDE, 3), (30, 60, 90), np.uint8))[0] == pytest.approx(60 / 255)


def test_halves_of_black_and_white_have_all_contrast_and_one_edge() -> None:
    # One of WIDTH - 1 steps to the right is an edge, and none downwards
    expected = (0.5, 0.5, 0.5 / (WIDTH - 1))
    assert image_stats(picture((0, 0, 0), WHITE, (0, 0, 0), WHITE)) == pytest.approx(expected, abs=1e-6)
    assert image_stats(picture(WHITE, (0, 0, 0), WHITE, (0, 0, 0))) == pytest.approx(expected, abs=1e-6)
    upright = (0.5, 0.5, 0.5 / (HEIGHT - 1))
    assert image_stats(picture(WHITE, WHITE, (0, 0, 0), (0, 0, 0))) == pytest.approx(upright, abs=1e-6)


def test_a_chessboard_of_pixels_is_as_sharp_as_it_gets() -> None:
    board = (np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert image_stats(np.repeat(board[:, :, None], 3, axis=2)) == pytest.approx((0.5, 0.5, 1.0), abs=1e-6)


@given(st.integers(0, 99))
@settings(max_examples=20)
def test_the_look_is_that_of_a_plain_version_and_the_same_turned_or_mirrored(seed: int) -> None:
    pixels = noise(seed)
    grey = pixels.astype(float).mean(axis=2) / 255
    edges = [abs(grey[1:] - grey[:-1]).mean(), abs(grey[:, 1:] - grey[:, :-1]).mean()]
    assert image_stats(pixels) == pytest.approx((grey.mean(), grey.std(), np.mean(edges)), abs=1e-6)
    for other in (pixels[::-1], pixels[:, ::-1], pixels.transpose(1, 0, 2)):
        assert image_stats(other) == pytest.approx(image_stats(pixels), abs=1e-6)


def test_a_darker_lamp_shows_in_brightness_and_a_lost_focus_in_sharpness() -> None:
    brightness, contrast, sharpness = image_stats(noise(0))
    dark = image_stats((noise(0) // 2).astype(np.uint8))
    blurred = image_stats(np.asarray(Image.fromarray(noise(0)).filter(ImageFilter.GaussianBlur(1))))
    assert dark[0] == pytest.approx(brightness / 2, rel=0.02)
    assert blurred[2] < 0.5 * sharpness and blurred[0] == pytest.approx(brightness, abs=0.01) and blurred[1] < contrast


FUZZED = ("good.png", "good.jpg", "turned.jpg", "palette_transparent.png", "rgba.png")
OTHER_KINDS = (
    "good.bmp",
    "good.tif",
    "good_lzw.tif",
    "good.webp",
    "good_one_frame.gif",
    "good.ico",
    "stereo.mpo",
    "film.gif",
    "film.png",
    "film.webp",
    "stack.tif",
)


@st.composite
def damaged(draw: st.DrawFn, names: tuple[str, ...]) -> bytes:
    """Draw a file of the corpus with some bytes replaced, most of them in its header, and perhaps cut."""
    content = bytearray(CORPUS[draw(st.sampled_from(names))][0])
    places = st.one_of(st.integers(0, 63), st.integers(0, len(content) - 1), st.integers(-min(300, len(content)), -1))
    for place in draw(st.lists(places, max_size=5)):
        content[place] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.one_of(st.none(), st.integers(0, len(content))))])


def check_pixels_or_reason(content: bytes) -> None:
    try:
        pixels, (width, height) = decode(content, VIEW, LIMIT)
    except Quarantine as quarantine:
        assert quarantine.reason in Reason
    else:
        assert pixels.shape == (SIDE, SIDE, 3)
        assert pixels.dtype == np.uint8
        assert min(width, height) >= SMALLEST_SIDE
        assert width * height <= LIMIT


@settings(max_examples=300)
@given(damaged(FUZZED))
def test_damaged_png_or_jpeg_gives_pixels_or_a_reason_and_nothing_else(content: bytes) -> None:
    check_pixels_or_reason(content)


@settings(max_examples=600)
@given(damaged(OTHER_KINDS))
def test_damaged_file_of_any_other_kind_gives_pixels_or_a_reason_and_nothing_else(content: bytes) -> None:
    check_pixels_or_reason(content)


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_any_bytes_give_pixels_or_a_reason_and_nothing_else(content: bytes) -> None:
    check_pixels_or_reason(content)


@pytest.mark.parametrize(
    ("size", "expected"), [((60, 40), (60, 40)), ((400, 100), (64, 16)), ((30, 900), (2, 64))], ids=str
)
def test_a_picture_keeps_its_aspect_ratio_and_is_never_enlarged(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    pixels, original = decode_picture(encoded(Image.new("RGB", size, RED), "png"), View((64, 64)), LIMIT)
    assert pixels.shape == (*expected[::-1], 3) and pixels.dtype == np.uint8 and original == size
    assert (pixels == RED).all()


@pytest.mark.parametrize("name", sorted(SEEN))
def test_a_picture_looks_like_what_is_scored(name: str) -> None:
    content = CORPUS[name][0]
    picture, original = decode_picture(content, View((1024, 1024)), LIMIT)
    scored, size = decode(content, VIEW, LIMIT)
    assert original == size == picture.shape[1::-1]
    squeezed = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE)))
    assert np.abs(areas(squeezed) - areas(scored)).max() <= 8


@pytest.mark.parametrize("name", [name for name in sorted(QUARANTINED) if QUARANTINED[name][1] in NO_PIXELS])
def test_what_has_no_pixels_is_no_picture_for_the_same_reason(name: str) -> None:
    if "second" in name:  # its first frame is whole
        return
    with pytest.raises(Quarantine) as caught:
        decode_picture(QUARANTINED[name][0], View((64, 64)), LIMIT)
    assert caught.value.reason == QUARANTINED[name][1]


@pytest.mark.parametrize("turned", range(0, 360, 45))
@pytest.mark.parametrize("size", [(40, 40), (28, 56), (56, 28)], ids=str)
def test_a_turned_view_is_the_resized_image_turned_clockwise(turned: int, size: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8))
    pixels, of = decode(encoded(image, "PNG"), View(size, turned=turned), LIMIT)
    high, wide = size[::-1] if turned in (90, 270) else size
    upright = image.resize((wide, high), Image.Resampling.BICUBIC)
    if turned % 90:  # within its size, black in the corners
        expected = np.asarray(upright.rotate(-turned, Image.Resampling.BICUBIC))
        assert not expected[0, 0].any() and not pixels[0, 0].any()
    else:
        expected = np.rot90(np.asarray(upright), -turned // 90)
    assert of == (70, 50) and pixels.shape == (*size, 3)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_image(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    content = encoded(Image.new("RGB", (40, 24)), kind, exif=exif)
    pixels, size = decode_size(content, VIEW, LIMIT)
    assert size == ((24, 40) if orientation >= 5 else (40, 24)) == decode(content, VIEW, LIMIT)[1]
    assert pixels.shape == (0,)


def test_the_size_is_told_within_the_limits() -> None:
    content, _ = CORPUS["good.tif"]
    assert decode_size(content, VIEW, LIMIT)[1] == (WIDTH, HEIGHT) == decode(content, VIEW, LIMIT)[1]
    with pytest.raises(Quarantine):
        decode_size(CORPUS["bomb_in_the_header.png"][0], VIEW, LIMIT)
