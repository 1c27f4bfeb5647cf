"""Ground truth masks: what their values mean, size, union, and the saturation areas of MVTec LOCO."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog.masks import loco_regions, read_mask, read_masks
from pipeline.errors import CatalogError
from pipeline.views import View
from tests.corpus import encoded, write_files


def save(path: Path, values: Any, kind: str = "PNG") -> str:
    """Write a mask and return its uri; the array's type decides the bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(Image.fromarray(np.asarray(values)), kind))
    return str(path)


def bytes_of(*rows: list[int]) -> NDArray[np.uint8]:
    return np.array(rows, np.uint8)


@pytest.mark.parametrize("values", [[0, 1], [0, 255], [0, 100], [0, 3], [0, 7000]], ids=str)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_whatever_is_not_0_is_anomalous_where_values_are_few(values: list[int], kind: str, tmp_path: Path) -> None:
    for dtype in (np.uint8, np.uint16):
        if max(values) <= np.iinfo(dtype).max:
            uri = save(tmp_path / "m", np.array([values, values[::-1]], dtype), kind)
            np.testing.assert_array_equal(read_mask(uri, View((2, 2)), (2, 2)), [[False, True], [True, False]])


def test_soft_edges_are_cut_at_half_of_full_scale(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for values, half in ((ramp, 127), (ramp.astype(np.uint16), 127), (ramp.astype(np.uint16) * 257, 127 * 257)):
        uri = save(tmp_path / "m.png", values)
        np.testing.assert_array_equal(read_mask(uri, View((16, 16)), (16, 16)), values > half)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 60}), ("WEBP", {"quality": 60})])
def test_what_lossy_compression_leaves_near_black_and_white_is_no_kind(
    kind: str, options: dict[str, int], tmp_path: Path
) -> None:
    values = np.zeros((64, 64), np.uint8)
    values[20:40, 16:48] = 255
    (tmp_path / "m").write_bytes(encoded(Image.fromarray(values), kind, **options))
    np.testing.assert_array_equal(read_mask(str(tmp_path / "m"), View((64, 64)), (64, 64)), values > 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_dark_mask_of_many_greys_is_cut_at_half_of_its_largest(kind: str, tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    soft = (10 * (20 - np.hypot(y - 32, x - 32)) + 50).clip(0, 100).astype(np.uint8)
    (tmp_path / "m").write_bytes(encoded(Image.fromarray(soft), kind))
    clear = np.abs(soft.astype(int) - 50) > (0 if kind == "PNG" else 20)
    mask = read_mask(str(tmp_path / "m"), View((64, 64)), (64, 64))
    np.testing.assert_array_equal(mask[clear], (soft > 50)[clear])


def test_more_than_16_numbers_of_classes_are_kinds_and_traces_of_compression_are_none(tmp_path: Path) -> None:
    classes = np.arange(64, dtype=np.uint8).reshape(8, 8) % 24
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m", classes), View((8, 8)), (8, 8)), classes > 0)
    traces = np.random.default_rng(0).integers(0, 20, (64, 64)).astype(np.uint8)
    assert not read_mask(save(tmp_path / "m", traces, "JPEG"), View((64, 64)), (64, 64)).any()


def palette(indices: NDArray[np.uint8], *colours: tuple[int, int, int]) -> bytes:
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette([value for colour in colours for value in colour])
    return encoded(image, "PNG")


@pytest.mark.parametrize(
    ("colours", "background"),
    [
        (((0, 0, 0), (128, 0, 0)), 0),
        (((0, 0, 0), (0, 0, 0)), 0),
        (((255, 255, 255), (255, 0, 0)), 0),
        (((255, 0, 0), (0, 0, 0)), 1),  # black is normal wherever it stands
    ],
)
def test_a_palettes_first_colour_is_normal_unless_another_is_black(
    colours: tuple[tuple[int, int, int], ...], background: int, tmp_path: Path
) -> None:
    indices = bytes_of([0, 1], [1, 0])
    write_files(tmp_path, "m.png", content=palette(indices, *colours))
    np.testing.assert_array_equal(read_mask(str(tmp_path / "m.png"), View((2, 2)), (2, 2)), indices != background)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_any_colour_but_black_is_anomalous(mode: str, tmp_path: Path) -> None:
    colours = np.array([[[0, 0, 0], [0, 0, 90]], [[255, 0, 0], [1, 1, 1]]], np.uint8)
    write_files(tmp_path, "m.png", content=encoded(Image.fromarray(colours).convert(mode), "PNG"))
    np.testing.assert_array_equal(
        read_mask(str(tmp_path / "m.png"), View((2, 2)), (2, 2)), [[False, True], [True, True]]
    )


def test_what_was_drawn_on_nothing_is_anomalous_and_nothing_is_not(tmp_path: Path) -> None:
    colours = np.array([[[255, 255, 255, 0], [255, 0, 0, 255]]], np.uint8)
    write_files(tmp_path, "m.png", content=encoded(Image.fromarray(colours), "PNG"))
    np.testing.assert_array_equal(read_mask(str(tmp_path / "m.png"), View((1, 2)), (2, 1)), [[False, True]])


def test_masks_of_floats_are_shares_or_numbers(tmp_path: Path) -> None:
    soft = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for values, expected in ((soft, soft > 0.5), (np.where(soft > 0.9, np.float32(3), np.float32(0)), soft > 0.9)):
        uri = save(tmp_path / "m.tif", values, "TIFF")
        np.testing.assert_array_equal(read_mask(uri, View((8, 8)), (8, 8)), expected)


def test_mask_of_one_bit_is_read(tmp_path: Path) -> None:
    uri = save(tmp_path / "m.png", np.array([[True, False], [False, True]]))
    np.testing.assert_array_equal(read_mask(uri, View((2, 2)), (2, 2)), [[True, False], [False, True]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_white_on_black_is_read_in_any_mode(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(bytes_of([0, 255], [255, 0])).convert(mode)
    (tmp_path / "m.png").write_bytes(encoded(image, "PNG"))
    np.testing.assert_array_equal(
        read_mask(str(tmp_path / "m.png"), View((2, 2)), (2, 2)), [[False, True], [True, False]]
    )


def test_enlarged_mask_repeats_its_pixels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2, (3, 4), np.uint8) * 255
    mask = read_mask(save(tmp_path / "m.png", values), View((12, 12)), (4, 3))
    np.testing.assert_array_equal(mask, np.kron(values > 0, np.ones((4, 3), bool)))


def test_shrunk_mask_takes_the_nearest_pixel_and_mixes_none(tmp_path: Path) -> None:
    """One column of three is anomalous: a mean would be a third and vanish, the middle column is what is left."""
    values = np.tile(bytes_of([0, 255, 0]), (12, 4))
    assert read_mask(save(tmp_path / "m.png", values), View((4, 4)), (12, 12)).all()
    assert not read_mask(save(tmp_path / "n.png", 255 - values), View((4, 4)), (12, 12)).any()


def test_mask_of_another_size_than_its_image_is_refused_with_both_sizes(tmp_path: Path) -> None:
    uri = save(tmp_path / "m.png", np.zeros((30, 40), np.uint8))
    with pytest.raises(CatalogError) as caught:
        read_mask(uri, View((8, 8)), (41, 31))
    assert uri in str(caught.value)
    assert "40 x 30" in str(caught.value)
    assert "41 x 31" in str(caught.value)


def test_mask_with_its_sides_swapped_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError):
        read_mask(save(tmp_path / "m.png", np.zeros((30, 40), np.uint8)), View((8, 8)), (30, 40))


def test_mask_that_is_not_there_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="absent.png"):
        read_mask(str(tmp_path / "absent.png"), View((8, 8)), (8, 8))


@pytest.mark.parametrize("content", [b"", b"<html>", encoded(Image.new("L", (64, 64)), "PNG")[:-20]])
def test_mask_that_cannot_be_decoded_is_refused_and_named(content: bytes, tmp_path: Path) -> None:
    write_files(tmp_path, "damaged.png", content=content)
    with pytest.raises(CatalogError, match="damaged.png"):
        read_mask(str(tmp_path / "damaged.png"), View((8, 8)), (64, 64))


def test_masks_of_one_image_are_united(tmp_path: Path) -> None:
    first = save(tmp_path / "0.png", bytes_of([255, 0], [0, 0]))
    second = save(tmp_path / "1.png", bytes_of([0, 0], [0, 200]))
    np.testing.assert_array_equal(read_masks([first, second], View((2, 2)), (2, 2)), [[True, False], [False, True]])
    np.testing.assert_array_equal(read_masks([second, first], View((2, 2)), (2, 2)), [[True, False], [False, True]])
    np.testing.assert_array_equal(
        read_masks([second], View((2, 2)), (2, 2)), read_masks([second, second], View((2, 2)), (2, 2))
    )


def test_image_without_masks_is_normal_everywhere() -> None:
    mask = read_masks([], View((5, 5)), (100, 80))
    assert mask.shape == (5, 5)
    assert mask.dtype == np.bool_
    assert not mask.any()


CONFIG = [
    {"defect_name": "a", "pixel_value": 255, "saturation_threshold": 8, "relative_saturation": False},
    {"defect_name": "b", "pixel_value": 254, "saturation_threshold": 0.5, "relative_saturation": True},
    {"defect_name": "c", "pixel_value": 253, "saturation_threshold": 1000, "relative_saturation": False},
    {"defect_name": "d", "pixel_value": 252, "saturation_threshold": 1, "relative_saturation": False},
]


def loco_mask(box: Path, name: str, value: int) -> str:
    """Write a mask of 8 x 8 pixels whose left half, 32 of them, has this value."""
    values = np.zeros((8, 8), np.uint8)
    values[:, :4] = value
    return save(box / "ground_truth" / "logical_anomalies" / "000" / name, values)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return write_files(tmp_path / "box", "defects_config.json", content=json.dumps(CONFIG).encode())


@pytest.mark.parametrize(
    ("value", "size", "saturation"),
    [
        (255, 8, 8.0),  # absolute, in pixels of the image
        (255, 4, 2.0),  # a quarter of the pixels, a quarter of the area
        (255, 16, 32.0),
        (254, 8, 16.0),  # relative, half of 32
        (254, 4, 4.0),
        (253, 8, 32.0),  # no more than the defect has
        (252, 4, 1.0),  # no less than one pixel
    ],
)
def test_defect_saturates_at_its_configured_area_in_pixels_of_the_map(
    value: int, size: int, saturation: float, box: Path
) -> None:
    (region,) = loco_regions(3, [loco_mask(box, "000.png", value)], View((size, size)), (8, 8))
    expected = np.zeros((size, size), bool)
    expected[:, : size // 2] = True
    assert region.image == 3
    np.testing.assert_array_equal(region.pixels, np.flatnonzero(expected))
    assert region.saturation == saturation


def test_each_mask_of_an_image_is_a_defect_of_its_own(box: Path) -> None:
    uris = [loco_mask(box, "000.png", 255), loco_mask(box, "001.png", 254)]
    assert [region.saturation for region in loco_regions(0, uris, View((8, 8)), (8, 8))] == [8.0, 16.0]


def test_mask_without_a_defect_is_no_region(box: Path) -> None:
    assert loco_regions(0, [loco_mask(box, "000.png", 0)], View((8, 8)), (8, 8)) == []


def test_value_that_the_defects_file_does_not_define_is_refused_and_named(box: Path) -> None:
    uri = loco_mask(box, "000.png", 77)
    with pytest.raises(CatalogError, match="000.png.*77"):
        loco_regions(0, [uri], View((8, 8)), (8, 8))


def test_missing_defects_file_is_refused_and_named(tmp_path: Path) -> None:
    uri = loco_mask(tmp_path / "box", "000.png", 255)
    with pytest.raises(CatalogError, match="box/defects_config.json"):
        loco_regions(0, [uri], View((8, 8)), (8, 8))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"{}", b"[1]", b'[{"pixel_value": 255}]', b'[{"pixel_value": "x"}]', b"\xff\xfe"],
)
def test_defects_file_of_another_form_is_refused_and_named(content: bytes, tmp_path: Path) -> None:
    write_files(tmp_path / "box", "defects_config.json", content=content)
    uri = loco_mask(tmp_path / "box", "000.png", 255)
    with pytest.raises(CatalogError, match="box/defects_config.json|000.png"):
        loco_regions(0, [uri], View((8, 8)), (8, 8))


def test_loco_mask_of_another_size_than_its_image_is_refused(box: Path) -> None:
    with pytest.raises(CatalogError, match="8 x 8 pixels, its image 9 x 8"):
        loco_regions(0, [loco_mask(box, "000.png", 255)], View((8, 8)), (9, 8))
