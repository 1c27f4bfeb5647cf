"""Per-region overlap against the official code and a slow version written from the definition."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.metrics.overlap import Region, aupro, pro_200, regions_of

Array = NDArray[Any]
Golden = Callable[[str], Mapping[str, Array]]


def random_case(seed: int, images: int, levels: int, density: float) -> tuple[Array, Array]:
    """Return maps of a few levels, so that most pixels are tied, and masks of many small regions."""
    generator = np.random.default_rng(seed)
    masks = generator.random((images, 6, 7)) < density
    assume(masks.any() and not masks.all())
    return generator.integers(0, levels, masks.shape) / levels, masks


def labelled_regions(masks: Array) -> list[Region]:
    regions = []
    for image, mask in enumerate(masks):
        labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))
        for number in range(1, count + 1):
            pixels = np.flatnonzero(labelled == number)
            regions.append(Region(image, pixels, float(len(pixels))))
    return regions


def slow_aupro(maps: Array, masks: Array, limit: float, regions: Sequence[Region]) -> float:
    """Try every score as the threshold, and add the curve's trapezoids one by one."""
    area, rate, overlap = 0.0, 0.0, 0.0
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        found = maps >= threshold
        next_rate = found[~masks].mean()
        shares = [min(found[r.image].ravel()[r.pixels].sum() / r.saturation, 1.0) for r in regions]
        next_overlap = float(np.mean(shares))
        if next_rate > limit:
            at_limit = overlap + (next_overlap - overlap) * (limit - rate) / (next_rate - rate)
            return float(area + (limit - rate) * (overlap + at_limit) / 2) / limit
        area += (next_rate - rate) * (overlap + next_overlap) / 2
        rate, overlap = next_rate, next_overlap
    return area / limit


def test_exact_aupro_equals_the_golden_value(golden: Golden) -> None:
    arrays = golden("metrics.npz")
    expected = pytest.approx(float(arrays["exact_aupro_030"]), abs=1e-4)
    assert aupro(arrays["maps"], arrays["masks"], 0.3) == expected


def test_pro_by_200_thresholds_equals_the_official_code(golden: Golden) -> None:
    arrays = golden("metrics.npz")
    assert pro_200(arrays["maps"], arrays["masks"], 0.3) == pytest.approx(arrays["musc_pixel"][3], abs=1e-6)


densities = st.sampled_from([0.05, 0.2, 0.5, 0.9])


@given(st.integers(0, 9999), st.integers(1, 3), st.sampled_from([1, 2, 4, 50]), densities, st.floats(0.01, 1))
def test_aupro_equals_a_slow_version_with_ties(
    seed: int, images: int, levels: int, density: float, limit: float
) -> None:
    maps, masks = random_case(seed, images, levels, density)
    expected = slow_aupro(maps, masks, limit, labelled_regions(masks))
    assert aupro(maps, masks, limit) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 9999), st.sampled_from([2, 4, 50]), st.sampled_from([0.05, 0.3, 1.0]), st.data())
def test_saturated_overlap_equals_a_slow_version(seed: int, levels: int, limit: float, data: st.DataObject) -> None:
    # Saturations may be fractions of a pixel, or more than the area; regions may share pixels, as in MVTec LOCO.
    maps, masks = random_case(seed, 2, levels, 0.5)
    regions = []
    for image, mask in enumerate(masks):
        defective = np.flatnonzero(mask).tolist()
        for _ in range(data.draw(st.integers(0, 2)) if defective else 0):
            pixels = data.draw(st.sets(st.sampled_from(defective), min_size=1))
            regions.append(Region(image, np.array(sorted(pixels)), data.draw(st.floats(1, 1.2 * len(pixels)))))
    assume(regions)
    expected = slow_aupro(maps, masks, limit, regions)
    assert aupro(maps, masks, limit, regions) == pytest.approx(expected, abs=1e-9)


def slow_pro_200(maps: Array, masks: Array, limit: float) -> float:
    """Write the official loop out: binarise at each threshold, and look at each region."""
    low, high = maps.min(), maps.max()
    rates, overlaps = [], []
    for threshold in np.arange(low, high, (high - low) / 200):
        found = maps > threshold
        overlaps.append(np.mean([found[r.image].ravel()[r.pixels].mean() for r in labelled_regions(masks)]))
        rates.append(found[~masks].mean())
    rate, overlap = np.array(rates), np.array(overlaps)
    rate, overlap = rate[rate < limit], overlap[rate < limit]
    rate = (rate - rate.min()) / (rate.max() - rate.min())
    return float(np.trapezoid(overlap[::-1], rate[::-1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("density", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("levels", [7, 50, 1000])
def test_pro_by_200_thresholds_equals_the_loop(dtype: Any, density: float, levels: int) -> None:
    generator = np.random.default_rng(levels)
    masks = generator.random((3, 6, 7)) < density
    maps = (generator.integers(0, levels, masks.shape) / levels + 0.2 * masks).astype(dtype)
    assert pro_200(maps, masks, 0.3) == pytest.approx(slow_pro_200(maps, masks, 0.3), abs=1e-9)


def test_a_score_that_is_one_of_the_200_thresholds_is_not_above_it() -> None:
    generator = np.random.default_rng(0)
    masks = generator.random((3, 6, 7)) < 0.5
    maps = (generator.integers(0, 151, masks.shape) + 50 * masks).astype(float)
    maps[0, 0, :2], masks[0, 0, :2] = (0, 200), (False, True)  # thresholds are 0, 1, 2, ...
    assert pro_200(maps, masks, 0.3) == pytest.approx(slow_pro_200(maps, masks, 0.3), abs=1e-9)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_a_perfect_map_gives_one(limit: float) -> None:
    masks = np.zeros((2, 8, 8), bool)
    masks[0, :3, :3] = masks[1, 5, 2] = True
    assert aupro(masks.astype(float), masks, limit) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("limit", [0.05, 0.3])
def test_a_map_that_tells_nothing_gives_half_the_limit(limit: float) -> None:
    # One threshold finds everything at once: the curve is the diagonal, cut at the limit.
    masks = np.zeros((1, 8, 8), bool)
    masks[0, 2:4, 2:4] = True
    assert aupro(np.full(masks.shape, 0.7), masks, limit) == pytest.approx(limit / 2, abs=1e-12)


def test_each_region_weighs_the_same_whatever_its_size() -> None:
    masks = np.zeros((1, 8, 8), bool)
    masks[0, :4, :4] = masks[0, 7, 7] = True
    large, small = masks.astype(float), masks.astype(float)
    large[0, 7, 7] = small[0, :4, :4] = -1  # found last, after every normal pixel
    assert aupro(large, masks) == pytest.approx(0.5, abs=1e-12)
    assert aupro(small, masks) == pytest.approx(0.5, abs=1e-12)


def test_a_region_is_full_at_its_saturation() -> None:
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 0] = True
    maps = np.zeros((1, 4, 4))
    maps[0, 0, :2] = 1  # half of the region, before any normal pixel; the rest only with all of them
    pixels = np.arange(4)
    assert aupro(maps, masks, 0.3, [Region(0, pixels, 2.0)]) == pytest.approx(1.0, abs=1e-12)
    # 2 of 3 found at once, the third with the normal pixels: a line from 2/3 to 1 at rate 1, cut at 0.3
    assert aupro(maps, masks, 0.3, [Region(0, pixels, 3.0)]) == pytest.approx(2 / 3 + 0.3 / 3 / 2, abs=1e-12)
    assert aupro(maps, masks, 0.3) == pytest.approx(1 / 2 + 0.3 / 2 / 2, abs=1e-12)


def test_pixels_that_touch_at_a_corner_are_one_region_and_images_are_apart() -> None:
    masks = np.zeros((3, 3, 4), bool)
    masks[0, [0, 1], [0, 1]] = True
    masks[0, 2, 3] = True
    masks[2, 0, 0] = True
    found = [(region.image, region.pixels.tolist(), region.saturation) for region in regions_of(masks)]
    assert found == [(0, [0, 5], 2.0), (0, [11], 1.0), (2, [0], 1.0)]


@pytest.mark.parametrize("fill", [False, True])
def test_no_region_or_no_normal_pixel_is_an_error(fill: bool) -> None:
    with pytest.raises(ValueError, match="at least one anomalous region and one normal pixel"):
        aupro(np.zeros((1, 4, 4)), np.full((1, 4, 4), fill))


def test_an_empty_list_of_regions_is_an_error() -> None:
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 0, 0] = True
    with pytest.raises(ValueError, match="at least one anomalous region"):
        aupro(np.zeros((1, 4, 4)), masks, 0.05, [])
