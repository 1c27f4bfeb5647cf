"""Pictures: sizes, one colour for one distance, outlines that lie where the values are."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.report import pictures
from pipeline.report.pictures import (
    COLOURS,
    Polygon,
    corners,
    crop,
    heat,
    mask_polygons,
    picture,
    polygons,
    surroundings,
)
from pipeline.views import View


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=("WEBP",))
    image.load()
    return image


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(300, 600, (192, 96)), (600, 300, (96, 192)), (50, 80, (80, 50)), (2, 4000, (192, 1))]
)
def test_a_picture_keeps_its_aspect_ratio_and_is_never_enlarged(height: int, width: int, size: tuple[int, int]) -> None:
    image = opened(picture(noise(height, width), 192))
    assert (image.format, image.mode, image.size) == ("WEBP", "RGB", size)


def test_pictures_are_the_same_bytes_every_time() -> None:
    pixels = noise(90, 70)
    assert picture(pixels, 64) == picture(pixels.copy(), 64)
    assert crop(pixels, (-5, 60, 25, 95)) == crop(pixels.copy(), (-5, 60, 25, 95))


def overlay(distances: Any, size: tuple[int, int] = (256, 256)) -> NDArray[np.uint8]:
    return np.asarray(opened(heat(np.asarray(distances, np.float32), (0.2, 1.0), size)))


def test_one_distance_has_one_colour_in_every_image() -> None:
    calm, wild = np.full((64, 64), 0.3), np.linspace(0, 2, 64 * 64).reshape(64, 64)
    calm[10:20, 10:20] = wild[30:40, 30:40] = 0.7
    one, other = overlay(calm)[60, 60], overlay(wild)[140, 140]
    assert np.array_equal(one, other)
    assert np.array_equal(one[:3], COLOURS[round((0.7 - 0.2) / 0.8 * 255)]) and one[3] == 255


def test_the_overlay_is_clear_at_the_low_end_and_below_and_full_at_the_high_end_and_above() -> None:
    found = overlay([[0.0, 0.2], [1.0, 1.9]])
    assert found[64, 64, 3] == found[64, 192, 3] == 0
    assert np.array_equal(found[192, 64], [*COLOURS[255], 255]) and np.array_equal(found[192, 64], found[192, 192])
    fading = overlay(np.linspace(0.2, 1.0, 256)[None].repeat(2, axis=0))[0, :, 3]
    assert (np.diff(fading.astype(int)) >= 0).all() and 0 < fading[32] < 255


def test_colours_get_brighter_all_along_the_scale() -> None:
    light = COLOURS.astype(float) @ [0.2126, 0.7152, 0.0722]  # to who sees no hues
    assert (np.diff(light) > -1).all() and light[-1] - light[0] > 200


@pytest.mark.parametrize(("size", "sides"), [((400, 200), (256, 128)), ((20, 40), (128, 256)), ((5000, 3), (256, 1))])
def test_an_overlay_has_the_aspect_ratio_of_its_image(size: tuple[int, int], sides: tuple[int, int]) -> None:
    assert opened(heat(np.ones((56, 56), np.float32), (0.0, 1.0), size)).size == sides


def area(outline: Polygon) -> float:
    x, y = outline.T
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


def test_a_square_is_outlined_where_it_is() -> None:
    mask = np.zeros((40, 80), bool)
    mask[10:20, 40:60] = True
    [outline] = mask_polygons(mask, View(mask.shape))
    assert outline.min(axis=0).tolist() == [0.5, 0.25] and outline.max(axis=0).tolist() == [0.75, 0.5]
    assert area(outline) == pytest.approx(0.25 * 0.25, rel=0.01) and len(outline) <= 10  # corners are cut off
    assert outline[0].tolist() == outline[-1].tolist()


def test_parts_that_touch_the_edge_are_closed_there_and_holes_come_by_themselves() -> None:
    mask = np.zeros((20, 20), bool)
    mask[:6, :6] = mask[10:20, 10:20] = True
    mask[13:16, 13:16] = False
    first, second, hole = mask_polygons(mask, View(mask.shape))
    assert first.min() == 0 and first.max() == pytest.approx(0.3) and area(first) == pytest.approx(0.09, rel=0.05)
    assert second.max() == 1 and area(second) == pytest.approx(0.25, rel=0.05)
    assert area(hole) == pytest.approx(0.15**2, rel=0.2)
    assert mask_polygons(np.zeros((9, 9), bool), View((9, 9))) == []
    [everything] = mask_polygons(np.ones((9, 9), bool), View((9, 9)))
    assert area(everything) == 1


def test_outlines_run_at_the_threshold() -> None:
    distances = np.hypot(*(np.mgrid[:100, :100] - 49.5)) / 100
    [outline] = polygons(-distances, -0.3, View(distances.shape))
    assert np.hypot(*(outline - 0.5).T) == pytest.approx(0.3, abs=0.003)
    assert corners([outline])[0][0] == outline[0].round(4).tolist()


def test_a_crop_has_its_patch_in_the_middle_and_is_clear_outside_of_the_image() -> None:
    pixels = np.zeros((80, 160, 3), np.uint8)
    pixels[40:50, 60:80] = 255  # of 8 x 8 patches, each 10 high and 20 wide
    view, size = View((80, 160), (8, 8)), (160, 80)
    box = surroundings((3.5 / 8, 4.5 / 8), view, size)
    assert box == (40, 15, 100, 75)
    image = np.asarray(opened(crop(pixels, box)).convert("RGBA"))
    assert image.shape == (96, 96, 4) and (image[..., 3] == 255).all()
    assert image[48, 48, :3].min() > 240 and image[48, 20, :3].max() < 15 and image[20, 48, :3].max() < 15
    corner = np.asarray(opened(crop(pixels + 200, surroundings((0.5 / 8, 0.5 / 8), view, size))))
    assert (corner[:20, :, 3] == 0).all() and (corner[:, :20, 3] == 0).all() and corner[60, 60, 3] == 255


def test_of_a_large_map_no_small_defect_is_lost_in_the_overlay() -> None:
    distances = np.full((2000, 4096), 0.25, np.float32)
    distances[777, 3001] = 1.0
    found = overlay(distances, (8192, 4000))
    assert found.shape == (round(4096 // 7 * 4000 / 8192), 4096 // 7, 4)
    [[row, column]] = np.argwhere((found[..., :3] == COLOURS[255]).all(axis=2))
    assert (row, column) == pytest.approx((777 / 2000 * len(found), 3001 / 4096 * found.shape[1]), abs=1)
    assert opened(heat(np.ones((4, 20_000), np.float32), (0.0, 1.0), (40_000, 8))).size == (2048, 1)  # enlarged one way
    assert opened(heat(np.ones((1024, 1024), np.float32), (0.0, 1.0), (1024, 1024))).size == (256, 256)


def test_outlines_of_a_large_map_lie_where_they_do_and_are_few() -> None:
    y, x = np.mgrid[:3000, :9000].astype(np.float32)
    far = np.hypot((x - 4000) / 2000, (y - 1500) / 1000)
    far[10, 8990] = 0  # a small defect beside
    large, small = polygons(-far, -1.0, View(far.shape))[::-1]
    off = np.hypot((large[:, 0] * 9000 - 4000) / 2000, (large[:, 1] * 3000 - 1500) / 1000)
    assert off == pytest.approx(1, abs=0.005) and len(large) < 400
    assert small.mean(axis=0) == pytest.approx([8990 / 9000, 10 / 3000], abs=0.001)


def test_of_too_many_outlines_the_smallest_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((300, 300), bool)
    mask[::10, ::10] = mask[100:200, 100:200] = True
    everything = mask_polygons(mask, View(mask.shape))
    monkeypatch.setattr(pictures, "CORNERS", 100)
    found = mask_polygons(mask, View(mask.shape))
    assert sum(map(len, found)) <= 100 < sum(map(len, everything)) and len(found) > 2
    assert max(np.ptp(outline, axis=0).max() for outline in found) == pytest.approx(1 / 3, abs=0.01)
    monkeypatch.setattr(pictures, "CORNERS", 1)
    assert len(mask_polygons(mask, View(mask.shape))) == 1  # the largest


def test_no_picture_is_longer_than_the_format_says() -> None:
    assert (pictures.PICTURE, pictures.THUMBNAIL, pictures.CROP) == (1024, 192, 96)
