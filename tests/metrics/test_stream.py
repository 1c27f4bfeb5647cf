"""Streamed pixel metrics: never further from the exact ones than they say, and the same however images are cut."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.metrics.curves import ranking_metrics
from pipeline.metrics.overlap import Region, aupro
from pipeline.metrics.stream import (
    Bounded,
    Histogram,
    histogram,
    overlap_curve,
    streamed_overlap,
    streamed_ranking,
)

Array = NDArray[Any]
Golden = Callable[[str], Mapping[str, Array]]
LIMITS = (0.3, 0.05)
ROUNDING = 1e-12  # of sums in double precision, which the bounds leave out


def random_case(seed: int, images: int, scores: int, density: float) -> tuple[Array, Array, list[Region]]:
    """Return maps of so many different scores in 0..2, masks, and defects that saturate below their area."""
    generator = np.random.default_rng(seed)
    masks = generator.random((images, 6, 7)) < density
    masks[0, 0, 0], masks[0, 0, 1] = True, False
    maps = generator.integers(0, scores, masks.shape) / scores + masks * generator.random()
    regions = []
    for image in np.flatnonzero(masks.any(axis=(1, 2))):
        pixels = np.flatnonzero(masks[image])
        regions.append(Region(int(image), pixels, float(generator.uniform(1, max(1.2 * len(pixels), 1.5)))))
        regions.append(Region(int(image), pixels[: len(pixels) // 2 + 1], 1.0))
    return maps, masks, regions


def exact(maps: Array, masks: Array, regions: Sequence[Region]) -> Array:
    figures = [*ranking_metrics(masks.ravel(), maps.ravel())]
    return np.array([*figures, aupro(maps, masks, LIMITS[0]), aupro(maps, masks, LIMITS[1], regions)])


def streamed(found: Histogram) -> tuple[Array, Array]:
    """Return the five figures and their error bounds."""
    figures: list[Bounded] = [*streamed_ranking(found)]
    figures += [streamed_overlap(found, kind, limit) for kind, limit in enumerate(LIMITS)]
    values, errors = np.array(figures).T
    return values, errors


def levels_of(maps: Array, levels: int) -> Array:
    return np.round(maps / (2 / (levels - 1))).clip(0, levels - 1)


cases = st.builds(
    random_case,
    st.integers(0, 99999),
    st.integers(1, 3),
    st.sampled_from([1, 2, 5, 1000]),
    st.sampled_from([0.05, 0.3, 0.6, 0.95]),
)
levels = st.sampled_from([2, 3, 16, 256, 65536])


@given(cases, levels)
def test_the_exact_figure_is_within_the_bound(case: tuple[Array, Array, list[Region]], levels: int) -> None:
    values, errors = streamed(histogram(*case, levels))
    assert (np.abs(values - exact(*case)) <= errors + ROUNDING).all()


@given(cases, levels)
def test_the_figure_is_exact_for_the_rounded_maps(case: tuple[Array, Array, list[Region]], levels: int) -> None:
    maps, masks, regions = case
    values, _ = streamed(histogram(maps, masks, regions, levels))
    np.testing.assert_allclose(values, exact(levels_of(maps, levels), masks, regions), rtol=0, atol=ROUNDING)


@given(cases, levels, st.randoms(use_true_random=False))
def test_blocks_of_images_in_any_order_add_up_to_the_same(
    case: tuple[Array, Array, list[Region]], levels: int, random: Any
) -> None:
    maps, masks, regions = case
    whole = histogram(maps, masks, regions, levels)
    blocks = [
        histogram(
            maps[image : image + 1],
            masks[image : image + 1],
            [Region(0, region.pixels, region.saturation) for region in regions if region.image == image],
            levels,
        )
        for image in range(len(maps))
    ]
    random.shuffle(blocks)
    for merged in (reduce(add, blocks), reduce(lambda right, left: left + right, blocks)):
        for name in ("normal", "anomalous", "regions"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
        np.testing.assert_allclose(merged.gains, whole.gains, rtol=0, atol=ROUNDING)


def one_level() -> tuple[Array, Array, list[Region]]:
    """Return a case whose scores, all different, are one level to two levels; one region, half of the pixels."""
    masks = np.zeros((1, 4, 4), bool)
    masks[0, :2] = True
    return np.linspace(0.5, 0.1, 16).reshape(1, 4, 4), masks, [Region(0, np.arange(8), 8.0)]


def test_the_bounds_are_reached_by_the_best_order_within_a_level() -> None:
    values, errors = streamed(histogram(*one_level(), 2))
    np.testing.assert_allclose(exact(*one_level()), 1, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(values + errors, 1, rtol=0, atol=ROUNDING)
    # One threshold finds everything: the diagonal, all 8 of 16, and the diagonal cut at each limit
    np.testing.assert_allclose(values, [1 / 2, 2 / 3, 1 / 2, 0.3 / 2, 0.05 / 2], rtol=0, atol=ROUNDING)


def test_the_bounds_hold_in_the_worst_order_and_areas_reach_them() -> None:
    maps, masks, regions = one_level()
    # A normal level above keeps the optimistic end near, so that the bound is that of the worst order
    maps, above = 0.6 - maps, np.full((1, 4, 4), 1.8)
    maps, masks = np.concatenate([maps, above]), np.concatenate([masks, np.zeros_like(above, bool)])
    values, errors = streamed(histogram(maps, masks, regions, 2))
    found = exact(maps, masks, regions)
    assert (np.abs(values - found) <= errors + ROUNDING).all()
    assert found[0] == pytest.approx(values[0] - errors[0], abs=ROUNDING)
    assert found[2] < values[2] - 0.9 * errors[2]


def test_more_levels_give_closer_bounds_and_the_golden_figures(golden: Golden) -> None:
    arrays = golden("metrics.npz")
    maps, masks = arrays["maps"], arrays["masks"].astype(bool)
    regions = [Region(image, np.flatnonzero(mask), mask.sum() / 2) for image, mask in enumerate(masks) if mask.any()]
    expected = exact(maps, masks, regions)
    bounds = []
    for count in (16, 256, 4096, 65536):
        values, errors = streamed(histogram(maps, masks, regions, count))
        assert (np.abs(values - expected) <= errors + ROUNDING).all()
        bounds.append(errors)
    assert (np.diff(bounds, axis=0) <= 0).all()  # that of F1-max comes down to 0
    assert (bounds[0] < 0.5).all() and (bounds[-1] < 1e-4).all()


def test_scores_outside_the_range_count_at_its_ends() -> None:
    maps, masks, regions = random_case(0, 2, 1000, 0.3)
    wide = 4 * maps - 2
    values, errors = streamed(histogram(wide, masks, regions, 256))
    assert (np.abs(values - exact(wide, masks, regions)) <= errors + ROUNDING).all()
    within = histogram(wide.clip(0, 2), masks, regions, 256)
    np.testing.assert_allclose(values, streamed(within)[0], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("fill", [False, True])
def test_no_region_or_no_normal_pixel_is_an_error(fill: bool) -> None:
    found = histogram(np.zeros((1, 4, 4)), np.full((1, 4, 4), fill))
    with pytest.raises(ValueError, match="at least one anomalous region and one normal pixel"):
        streamed_overlap(found, 0, 0.3)


@given(cases)
def test_the_curve_of_overlap_has_the_area_that_is_told(case: tuple[Array, Array, list[Region]]) -> None:
    maps, masks, regions = case
    found = histogram(maps, masks, regions, levels=16)
    for kind in (0, 1):
        rate, overlap = overlap_curve(found, kind)
        assert (rate[0], overlap[0], rate[-1]) == (0, 0, 1)
        assert np.trapezoid(overlap, rate) == pytest.approx(streamed_overlap(found, kind, 1.0).value)


def test_without_a_region_or_a_normal_pixel_there_is_no_curve() -> None:
    for masks in (np.zeros((1, 2, 2), bool), np.ones((1, 2, 2), bool)):
        with pytest.raises(ValueError, match="at least one anomalous region and one normal pixel"):
            overlap_curve(histogram(np.ones((1, 2, 2)), masks, levels=4))
