"""Regions of maps: connected, stable, one at least, and the same however a map is turned."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.scoring.regions import EIGHT, SPECK, Region, find_regions

PATCH = 16.0  # pixels
SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
MAPS = arrays(np.float32, SHAPES, elements=st.floats(0, 2, width=16))


def hills(*peaks: tuple[int, int, float], side: int = 60, width: float = 4) -> NDArray[np.float64]:
    """Return a map of round hills (row, column, height) on 0.1."""
    rows, columns = np.mgrid[:side, :side]
    each = [
        height * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
        for row, column, height in peaks
    ]
    found: NDArray[np.float64] = 0.1 + np.max([np.zeros((side, side)), *each], axis=0)
    return found


def half(distances: NDArray[Any]) -> float:
    """Return the middle between what is usual and the highest value."""
    return (float(np.quantile(distances, 0.75)) + float(distances.max())) / 2


def painted(regions: list[Region], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return how many regions cover each pixel."""
    cover = np.zeros(shape, np.int64)
    for region in regions:
        cover[region.pixels()] += 1
    return cover


def test_each_hill_is_a_region_with_its_peak_and_place() -> None:
    found = find_regions(hills((15, 15, 0.8), (40, 45, 0.5)), 0.3, PATCH)
    assert [(region.place, round(region.peak, 6)) for region in found] == [((15, 15), 0.9), ((40, 45), 0.6)]
    for region in found:
        rows, columns = region.pixels()
        assert region.area == len(rows) and region.mask.any(axis=0).all() and region.mask.any(axis=1).all()
        assert rows.mean() == pytest.approx(region.place[0]) and columns.mean() == pytest.approx(region.place[1])


def test_what_lies_above_the_threshold_is_covered_where_nothing_falls_apart() -> None:
    distances = hills((15, 15, 0.8), (40, 45, 0.5))
    assert np.array_equal(painted(find_regions(distances, 0.3, PATCH), distances.shape) > 0, distances > 0.3)


def test_hills_that_touch_at_their_feet_are_two_regions() -> None:
    distances = hills((30, 20, 0.8), (30, 34, 0.8), width=5)
    saddle = distances[30, 27]
    assert ndimage.label(distances > saddle - 0.01, structure=EIGHT)[1] == 1
    found = find_regions(distances, saddle - 0.1, PATCH)
    assert sorted(region.place for region in found) == [(30, 20), (30, 34)]


def test_a_defect_whose_tip_only_is_above_the_threshold_is_found_as_a_whole() -> None:
    distances = hills((15, 15, 0.8), (40, 45, 0.5))
    [region] = find_regions(distances, 0.8, PATCH)
    assert region.place == (15, 15) and np.array_equal(region.mask, (distances > half(distances))[tuple(_box(region))])
    assert region.area > 3 * (distances > 0.8).sum()


def test_a_weak_defect_beside_a_strong_one_is_not_lost() -> None:
    assert len(find_regions(hills((15, 15, 1.8), (40, 45, 0.3)), 0.3, PATCH)) == 2


def test_specks_are_none_unless_they_are_the_worst_of_the_image() -> None:
    distances = np.full((40, 40), 0.1)
    distances[5, 5], distances[20:30, 20:30] = 0.5, 0.6
    [square] = find_regions(distances, 0.3, PATCH)
    assert square.area == 100 and SPECK * PATCH > 1
    distances[5, 5] = 0.7
    speck, square = find_regions(distances, 0.3, PATCH)
    assert (speck.place, speck.area, square.area) == ((5, 5), 1, 100)


def test_an_image_below_the_threshold_has_the_region_of_its_highest_value() -> None:
    distances = hills((15, 15, 0.8), (40, 45, 0.5))
    [region] = find_regions(distances, 1.5, PATCH)
    assert region.place == (15, 15) and np.array_equal(region.mask, (distances >= half(distances))[tuple(_box(region))])
    assert 20 < region.area < 100


def _box(region: Region) -> list[slice]:
    return [slice(at, at + length) for at, length in zip(region.corner, region.mask.shape, strict=True)]


@pytest.mark.parametrize("value", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("threshold", [0.0, 0.25, 2.0, np.inf])
def test_a_map_of_one_value_is_one_region(value: float, threshold: float) -> None:
    [region] = find_regions(np.full((7, 9), value, np.float32), threshold, PATCH)
    assert (region.area, region.corner, region.peak) == (63, (0, 0), value)


@given(MAPS, st.floats(0, 2))
def test_regions_are_connected_apart_and_above_the_threshold(distances: NDArray[Any], threshold: float) -> None:
    found = find_regions(distances, threshold, PATCH)
    assert found[0].peak == distances.max() and [region.peak for region in found] == sorted(
        (region.peak for region in found), reverse=True
    )
    assert painted(found, distances.shape).max() == 1
    for region in found:
        assert ndimage.label(region.mask, structure=EIGHT)[1] == 1 and distances[region.place] == region.peak
    for region in found[1:]:
        assert region.peak > threshold
    level = min(threshold, half(distances))
    assert all((distances[region.pixels()] >= level).all() for region in found)


@given(MAPS, st.floats(0, 2), st.integers(0, 3))
def test_a_turned_map_has_the_turned_regions(distances: NDArray[Any], threshold: float, turns: int) -> None:
    plain, turned = (find_regions(of, threshold, PATCH) for of in (distances, np.rot90(distances, turns)))
    if len(plain) == len({region.peak for region in plain}) and (distances == distances.max()).sum() == 1:
        there = np.rot90(painted(plain, distances.shape), turns)
        assert np.array_equal(there, painted(turned, there.shape))


def test_a_map_full_of_regions_ends() -> None:
    distances = np.zeros((518, 518), np.float32)
    distances[::2, ::2] = 1.0
    assert len(find_regions(distances, 0.5, 4.0)) == 259**2


def test_what_does_not_count_makes_no_region_swell() -> None:
    part = 0.4 + hills((15, 15, 0.4), side=29)
    distances, counted = np.zeros((60, 60)), np.zeros((60, 60), bool)
    distances[31:, :29], counted[31:, :29] = part, True
    [alone] = find_regions(part, np.inf, PATCH)
    [region] = find_regions(distances, np.inf, PATCH, counted)
    assert region.place == (46, 15) and np.array_equal(region.mask, alone.mask) and region.area < 100
    [swollen] = find_regions(distances, np.inf, PATCH)
    assert swollen.area == 29**2
