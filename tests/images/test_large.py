"""Large images: brought down piece by piece they look as they do whole, in every format, and masks are the same."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pipeline.images import Quarantine, Reason, decode, decode_depth, decode_mask, decode_picture, limits
from pipeline.values import Values
from pipeline.views import View
from tests.corpus import encoded, png

WIDTH, HEIGHT = 409, 293  # nothing divides them
LIMIT = 1_000_000
GENERATOR = np.random.default_rng(11)


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what lets the test's images be large ones, read in many pieces."""

    def lower() -> None:
        monkeypatch.setattr(limits, "WHOLE", 70_000)
        monkeypatch.setattr(limits, "PIECE", 11 * WIDTH)

    return lower


def scene() -> NDArray[np.uint8]:
    """Return a picture (HEIGHT, WIDTH, 3) of waves, edges and noise, of which no two turns are alike."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    base = 110 + 60 * np.sin(x / 23) * np.cos(y / 31) + 40 * (x > 2 * y)
    colours = np.stack([base, base[::-1] * 0.6 + y * 0.3, 255 - base + 0.1 * x], axis=-1)
    return (colours + GENERATOR.normal(0, 4, colours.shape)).clip(0, 255).astype(np.uint8)


SCENE = scene()
GREYS = SCENE[..., 0]
DEEP = (SCENE.astype(np.uint16) << 8) + GENERATOR.integers(0, 256, SCENE.shape, np.uint16)
CLEAR = np.where(np.mgrid[:HEIGHT, :WIDTH][1] > 200, 0, 255)
RGB = Image.fromarray(SCENE)


def filtered(values: NDArray[Any], depth: int, colour: int) -> bytes:
    """Return a PNG of values (H, W, C) whose rows have all five filters in turn."""
    raw = values.astype(">u2" if depth == 16 else np.uint8).reshape(HEIGHT, -1).view(np.uint8).astype(int)
    step = values.shape[2] * depth // 8
    rows, above = list[bytes](), np.zeros(raw.shape[1], int)
    for number, row in enumerate(raw):
        left, corner = (np.concatenate([np.zeros(step, int), line[:-step]]) for line in (row, above))
        guess = left + above - corner
        off = np.abs(np.stack([guess - left, guess - above, guess - corner]))
        paeth = np.choose(off.argmin(axis=0), [left, above, corner])
        of_filter = [np.zeros_like(row), left, above, (left + above) // 2, paeth]
        rows.append(bytes([number % 5]) + ((row - of_filter[number % 5]) % 256).astype(np.uint8).tobytes())
        above = row
    return png(values.shape[1], HEIGHT, depth, colour, b"".join(rows))


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    big = {"bigtiff": options.pop("bigtiff", False), "byteorder": options.pop("byteorder", "<")}
    with tifffile.TiffWriter(sink, **big) as file:
        file.write(values, **{"photometric": "rgb" if values.ndim == 3 else "minisblack"} | options)
    return sink.getvalue()


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "JPEG", **{"quality": 95} | options)


def jp2(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "JPEG2000", **options)


def with_gap(depth: int) -> bytes:
    """Return 16-bit greys of which so many bits count."""
    return encoded(Image.fromarray(DEEP[..., 0] >> (16 - depth)), "PNG")


FILES: dict[str, bytes] = {
    "jpeg": jpeg(RGB),
    "jpeg 4:4:4": jpeg(RGB, subsampling=0),
    "jpeg, progressive": jpeg(RGB, progressive=True),
    "jpeg, rgb": jpeg(RGB, keep_rgb=True),
    "jpeg, grey": jpeg(RGB.convert("L")),
    "jpeg, inks": jpeg(RGB.convert("CMYK")),
    "mpo": encoded(RGB, "MPO", quality=95, save_all=True, append_images=[RGB]),
    "png": encoded(RGB, "PNG"),
    "png, all filters": filtered(SCENE, 8, 2),
    "png, grey": encoded(RGB.convert("L"), "PNG"),
    "png, transparency": encoded(Image.fromarray(np.dstack([SCENE, CLEAR.astype(np.uint8)])), "PNG"),
    "png, grey and transparency": encoded(Image.fromarray(SCENE[..., :2].copy(), "LA"), "PNG"),
    "png, palette": encoded(RGB.quantize(200), "PNG", transparency=3),
    "png, palette of 4 bits": encoded(RGB.quantize(13), "PNG", bits=4),
    "png, one bit": encoded(RGB.convert("1"), "PNG"),
    "png, 16 bits": filtered(DEEP, 16, 2),
    "png, 16 bits, grey": filtered(DEEP[..., :1], 16, 0),
    "png, 16 bits, grey and transparency": filtered(DEEP[..., :2], 16, 4),
    "png, 16 bits, transparency": filtered(np.dstack([DEEP, DEEP[..., :1]]), 16, 6),
    "tiff, tiles": tiff(SCENE, tile=(32, 48), compression="zlib", predictor=True),
    "tiff, tiles, big": tiff(SCENE, tile=(32, 48), compression="zlib", bigtiff=True, byteorder=">"),
    "tiff, strips": encoded(RGB, "TIFF", compression="tiff_lzw"),
    "tiff, one strip": tiff(SCENE),
    "tiff, one strip of planes": tiff(np.ascontiguousarray(SCENE.transpose(2, 0, 1)), planarconfig="separate"),
    "tiff, planes": tiff(
        np.ascontiguousarray(SCENE.transpose(2, 0, 1)), planarconfig="separate", tile=(16, 64), compression="zlib"
    ),
    "tiff, jpeg": encoded(RGB, "TIFF", compression="jpeg"),
    "tiff, palette": encoded(RGB.quantize(200), "TIFF"),
    "tiff, one bit": encoded(RGB.convert("1"), "TIFF", compression="group4", strip_size=1000),
    "tiff, inks": encoded(RGB.convert("CMYK"), "TIFF"),
    "tiff, 16 bits": tiff(DEEP, rowsperstrip=7, compression="zlib"),
    "tiff, 16 bits, grey": tiff(DEEP[..., 0], byteorder=">"),
    "tiff, 16 bits, planes": tiff(np.ascontiguousarray(DEEP.transpose(2, 0, 1)), planarconfig="separate"),
    "jpeg 2000": jp2(RGB),
    "jpeg 2000, tiles": jp2(RGB, tile_size=(64, 64), irreversible=True),
    "jpeg 2000, 16 bits": jp2(Image.fromarray(DEEP[..., 0])),
    "jpeg 2000, no halves": jp2(RGB, num_resolutions=1),
}
BOX = (0.13, 0.41, 0.77, 0.83)
VIEWS = {
    "whole": View((16, 20)),
    "squeezed": View((11, 90)),
    "enlarged": View((700, 500)),
    "box": View((9, 17), box=BOX),
    "small box": View((24, 24), box=(0.5, 0.6, 0.58, 0.67)),
    "turned box": View((17, 9), box=BOX, turned=90),
}
# Ones where neighbours differ by all there is: the mean over a cell is nearly the same whatever filter made it
HARSH = ("png, one bit", "tiff, one bit")


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
@pytest.mark.parametrize("name", FILES)
def test_a_large_image_looks_as_it_does_whole(name: str, view: View, small_limits: Callable[[], None]) -> None:
    expected, size = decode(FILES[name], view, LIMIT)
    small_limits()
    found, again = decode(FILES[name], view, LIMIT)
    assert size == again == (WIDTH, HEIGHT)
    off = np.abs(found.astype(int) - expected)
    assert off.mean() < (6 if name in HARSH else 2), (off.mean(), off.max())


@pytest.mark.parametrize("name", ["png", "png, 16 bits, grey", "tiff, tiles", "tiff, planes", "tiff, palette"])
def test_what_is_not_brought_down_keeps_its_values(name: str, small_limits: Callable[[], None]) -> None:
    views = [View((HEIGHT, WIDTH)), VIEWS["enlarged"], View((40, 40), box=(0.25, 0.5, 0.3, 0.6))]
    expected = [decode(FILES[name], view, LIMIT)[0] for view in views]
    small_limits()
    for view, pixels in zip(views, expected, strict=True):
        found = decode(FILES[name], view, LIMIT)[0].astype(int)
        assert np.abs(found - pixels).max() <= 1  # the box is cut where its filter ends


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_large_images_are_turned_upright(kind: str, orientation: int, small_limits: Callable[[], None]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(RGB, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    for view in VIEWS.values():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "WHOLE", LIMIT)
            expected, size = decode(content, view, LIMIT)
        small_limits()
        found, again = decode(content, view, LIMIT)
        assert again == size == ((HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT))
        assert np.abs(found.astype(int) - expected).mean() < 2


def test_a_png_is_turned_by_what_stands_behind_its_pixels(small_limits: Callable[[], None]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(RGB, "PNG", exif=exif)
    start = content.index(b"eXIf") - 4
    (length,) = struct.unpack_from(">I", content, start)
    chunk = content[start : start + 12 + length]
    behind = content.replace(chunk, b"").replace(content[-12:], chunk + content[-12:])
    expected = decode(content, VIEWS["whole"], LIMIT)[0]
    small_limits()
    for one in (content, behind):
        found, size = decode(one, VIEWS["whole"], LIMIT)
        assert size == (HEIGHT, WIDTH) and np.abs(found.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("name", [*FILES, "tiff, 7 channels"])
@pytest.mark.parametrize("bits", [16, 12, None])
def test_channels_and_bits_are_those_of_the_whole(name: str, bits: int | None, small_limits: Any) -> None:
    cube = np.concatenate([SCENE, SCENE[::-1], SCENE[..., :1]], axis=2)
    content = FILES.get(name) or tiff(cube, photometric="minisblack", planarconfig="contig", tile=(32, 32))
    view = View((16, 16), values=Values(bits, (2, 0, 1)))

    def outcome() -> Any:
        try:
            return decode(content, view, LIMIT)[0].astype(int)
        except Quarantine as error:
            return error.reason

    expected = outcome()
    small_limits()
    found = outcome()
    if isinstance(expected, Reason):
        assert found == expected
    else:
        assert np.abs(found - expected).mean() < 2


@pytest.mark.parametrize("depth", [10, 12, 16])
def test_bits_are_found_and_held_to_as_of_the_whole(depth: int, small_limits: Callable[[], None]) -> None:
    content = with_gap(depth)
    expected = decode(content, View((16, 16), values=Values(depth)), LIMIT)[0]
    small_limits()
    for name, file in FILES.items():
        deep = [16] if "16 bits" in name else []
        found, size = decode_depth(file, View((16, 16)), LIMIT)
        assert (found.tolist(), size) == (deep, (WIDTH, HEIGHT)), name
    assert decode_depth(content, View((16, 16)), LIMIT)[0].tolist() == [depth]
    found = decode(content, View((16, 16), values=Values(depth)), LIMIT)[0]
    assert np.abs(found.astype(int) - expected).mean() < 2
    for bits in (8, None):
        if depth == 16 and bits is None:
            continue
        with pytest.raises(Quarantine, match="set input.bits"):
            decode(content, View((16, 16), values=Values(bits)), LIMIT)


@pytest.mark.parametrize("name", ["jpeg", "png", "tiff, tiles", "jpeg 2000", "png, palette"])
def test_a_picture_of_a_large_image_is_that_of_the_whole(name: str, small_limits: Callable[[], None]) -> None:
    views = [View((64, 64)), View((1024, 1024)), View((50, 500), box=BOX), View((900, 20), box=BOX, turned=270)]
    expected = [decode_picture(FILES[name], view, LIMIT) for view in views]
    small_limits()
    for view, (picture, size) in zip(views, expected, strict=True):
        found, again = decode_picture(FILES[name], view, LIMIT)
        assert (found.shape, again) == (picture.shape, size)
        assert np.abs(found.astype(int) - picture).mean() < 2


def mask(values: Any) -> NDArray[np.uint8]:
    """Return a mask (HEIGHT, WIDTH) that is zero but for a block, and thin things, of some values."""
    found = np.zeros((HEIGHT, WIDTH), np.uint8)
    found[150:200, 190:240] = values[0]
    for number, value in enumerate(values):
        found[10 + 14 * number : 12 + 14 * number, 3 + number : 300] = value
        found[::7, 350 + 2 * number] = value
    return found


KINDS = Image.fromarray(mask([1, 2, 255]))
EDGES = Image.fromarray(mask([250, 9]) // 2 + mask(range(20, 0, -1)))
INDEXED = Image.fromarray(mask([1, 2, 3]))
INDEXED = INDEXED.convert("P")
INDEXED.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
ELSEWHERE = INDEXED.copy()
ELSEWHERE.putpalette([255, 0, 0, 0, 0, 0, 0, 255, 0, 9, 9, 9])
DRAWN = Image.fromarray(np.dstack([np.full((HEIGHT, WIDTH, 3), 200, np.uint8), mask([255, 80])]))
MASKS: dict[str, bytes] = {
    "kinds": encoded(KINDS, "PNG"),
    "soft edges": encoded(EDGES, "PNG"),
    "grey": encoded(Image.fromarray(mask([20, 100])), "PNG"),
    "16 bits": encoded(Image.fromarray(mask([1, 255]).astype(np.uint16) * 257), "PNG"),
    "one bit": encoded(Image.fromarray(mask([255])).convert("1"), "PNG"),
    "palette": encoded(INDEXED, "PNG"),
    "palette with black elsewhere": encoded(ELSEWHERE, "PNG"),
    "palette with transparency": encoded(ELSEWHERE, "PNG", transparency=2),
    "colours": encoded(Image.fromarray(np.dstack([mask([255]), mask([7]), mask([9])])), "PNG"),
    "drawn on nothing": encoded(DRAWN, "PNG"),
    "tiff": tiff(mask([1, 2]), tile=(32, 32), compression="zlib"),
    "tiff, strips": encoded(KINDS, "TIFF", compression="tiff_lzw"),
    "tiff, turned": tiff(mask([1, 2]), extratags=[(274, "H", 1, 6, True)]),
    "png, turned": encoded(KINDS, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
    "jpeg": jpeg(Image.fromarray(mask([255, 200, 70]))),
    "jpeg 2000": jp2(KINDS),
    "first of a stack": encoded(KINDS, "TIFF", save_all=True, append_images=[EDGES], compression="tiff_lzw"),
    "first of a film": encoded(KINDS, "PNG", save_all=True, append_images=[EDGES]),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
@pytest.mark.parametrize("name", MASKS)
def test_a_large_mask_is_that_of_the_whole_to_the_last_pixel(name: str, view: View, small_limits: Any) -> None:
    expected, size = decode_mask(MASKS[name], view, LIMIT)
    assert decode_mask(MASKS[name], View((HEIGHT, WIDTH)), LIMIT)[0].any()
    small_limits()
    found, again = decode_mask(MASKS[name], view, LIMIT)
    assert again == size and found.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)


def test_a_large_mask_of_floats_is_refused_in_words(small_limits: Callable[[], None]) -> None:
    content = encoded(Image.fromarray(GREYS.astype(np.float32)), "TIFF")
    small_limits()
    with pytest.raises(Quarantine, match="store it in 8 bits"):
        decode_mask(content, VIEWS["whole"], LIMIT)


def pages(*kinds: int) -> bytes:
    """Return a TIFF of pages of these kinds: 0 for an image, 1 for a reduced version of it."""
    sink = io.BytesIO()
    with tifffile.TiffWriter(sink) as file:
        for kind in kinds:
            values = SCENE[::4, ::4].copy() if kind else SCENE
            file.write(values, photometric="rgb", subfiletype=kind, tile=(32, 32), compression="zlib")
    return sink.getvalue()


@pytest.mark.parametrize("kinds", [(1, 0), (0, 1), (1, 0, 1)])
def test_a_large_tiff_is_read_from_the_page_that_is_its_image(
    kinds: tuple[int, ...], small_limits: Callable[[], None]
) -> None:
    content = pages(*kinds)
    expected, _ = decode(content, VIEWS["box"], LIMIT)
    small_limits()
    found, size = decode(content, VIEWS["box"], LIMIT)
    assert size == (WIDTH, HEIGHT) and np.abs(found.astype(int) - expected).mean() < 2
    with pytest.raises(Quarantine) as caught:
        decode(content, VIEWS["box"], WIDTH * HEIGHT - 1)
    assert caught.value.reason == Reason.TOO_LARGE


@pytest.mark.parametrize("content", [pages(0, 0), encoded(RGB, "PNG", save_all=True, append_images=[RGB.rotate(180)])])
def test_large_stacks_and_films_stay_several_frames(content: bytes, small_limits: Callable[[], None]) -> None:
    small_limits()
    with pytest.raises(Quarantine, match="2 frames") as caught:
        decode(content, VIEWS["whole"], LIMIT)
    assert caught.value.reason == Reason.SEVERAL_FRAMES


def interlaced() -> bytes:
    content = bytearray(encoded(RGB, "PNG"))
    content[28] = 1
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (interlaced(), "interlaced PNG"),
        (encoded(RGB, "BMP"), "exceeds limit of 70000 pixels; only JPEG, JPEG 2000, PNG and TIFF may have more"),
        (encoded(RGB, "WEBP"), "exceeds limit of 70000 pixels; only JPEG, JPEG 2000, PNG and TIFF may have more"),
        (tiff(SCENE, compression="zlib", rowsperstrip=HEIGHT), "store it in smaller ones"),
    ],
    ids=["interlaced", "bmp", "webp", "one strip"],
)
def test_what_cannot_be_read_in_pieces_is_said(content: bytes, detail: str, small_limits: Callable[[], None]) -> None:
    small_limits()
    with pytest.raises(Quarantine, match=detail) as caught:
        decode(content, VIEWS["whole"], LIMIT)
    assert caught.value.reason == Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("name", "view"), [("jpeg, progressive", "whole"), ("jpeg, inks", "enlarged"), ("jpeg 2000", "enlarged")]
)
def test_what_a_format_holds_at_once_has_a_limit(
    name: str, view: str, small_limits: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_limits()
    monkeypatch.setattr(limits, "HELD", WIDTH * HEIGHT * 2)
    with pytest.raises(Quarantine, match="store it as a tiled TIFF") as caught:
        decode(FILES[name], VIEWS[view], LIMIT)
    assert caught.value.reason == Reason.TOO_LARGE
    if view == "enlarged":
        assert decode(FILES[name], VIEWS["whole"], LIMIT)[1] == (WIDTH, HEIGHT)


def test_the_setting_is_the_limit_of_large_images(small_limits: Callable[[], None]) -> None:
    small_limits()
    for content in FILES.values():
        assert decode(content, VIEWS["whole"], WIDTH * HEIGHT)[1] == (WIDTH, HEIGHT)
        with pytest.raises(Quarantine) as caught:
            decode(content, VIEWS["whole"], WIDTH * HEIGHT - 1)
        assert caught.value.reason == Reason.TOO_LARGE


@pytest.mark.parametrize("name", FILES)
def test_a_large_image_that_is_damaged_has_a_reason(name: str, small_limits: Callable[[], None]) -> None:
    small_limits()
    content = FILES[name]
    if "tiff" not in name:  # whose directory may stand before what is cut
        with pytest.raises(Quarantine) as caught:
            decode(content[: len(content) // 2], VIEWS["whole"], LIMIT)
        assert caught.value.reason == Reason.DAMAGED
    places = np.random.default_rng(1).integers(0, len(content), 15)
    for place in [*range(0, 30, 3), *places.tolist()]:
        broken = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        try:
            decode(broken, VIEWS["whole"], LIMIT)
        except Quarantine as error:
            assert error.reason in Reason
