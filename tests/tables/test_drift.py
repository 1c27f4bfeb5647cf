"""Drift is neither chance nor a trifle: what is told, and what is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.config import DriftConfig
from pipeline.tables.drift import Drift, distribution_drift, share_drift

CONFIG = DriftConfig()


def compare(before: NDArray[np.floating], now: NDArray[np.floating], config: DriftConfig = CONFIG) -> Drift:
    found = distribution_drift(config, before, now)
    assert found is not None
    return found


@pytest.mark.parametrize(("before", "now"), [(200, 200), (5000, 20), (40, 3000)])
def test_images_of_one_kind_do_not_drift(before: int, now: int) -> None:
    drifted = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        drifted += compare(generator.gamma(4, 0.1, before), generator.gamma(4, 0.1, now)).drifted
    assert drifted <= 1  # of 300, at a significance of 0.001


@pytest.mark.parametrize("shift", [-2, 2])
def test_a_shift_by_two_deviations_drifts(shift: float) -> None:
    for seed in range(50):
        generator = np.random.default_rng(seed)
        found = compare(generator.normal(5, 1, 200), generator.normal(5 + shift, 1, 200))
        assert found.drifted and found.change > 0.5
        assert found.before == pytest.approx(5, abs=0.4) and found.now == pytest.approx(5 + shift, abs=0.4)


def test_another_spread_drifts_though_the_median_stays() -> None:
    generator = np.random.default_rng(0)
    found = compare(generator.normal(5, 0.1, 500), generator.normal(5, 1, 500))
    assert found.drifted and found.now == pytest.approx(found.before, abs=0.2)


@pytest.mark.parametrize(("before", "now"), [(1, 1), (3, 3), (2, 30), (1, 900), (5000, 1), (9, 5000)])
def test_tiny_samples_never_drift(before: int, now: int) -> None:
    found = compare(np.zeros(before), np.ones(now))
    assert found.change == 1 and not found.drifted


def test_what_is_significant_but_small_does_not_drift() -> None:
    generator = np.random.default_rng(0)
    before, now = generator.normal(0, 1, 20_000), generator.normal(0.3, 1, 20_000)
    assert not compare(before, now).drifted
    assert compare(before, now, DriftConfig(distance=0.1)).drifted


@given(st.integers(0, 99))
def test_values_that_are_no_numbers_are_left_out(seed: int) -> None:
    generator = np.random.default_rng(seed)
    before, now = generator.normal(size=50), generator.normal(1, size=30)
    holes = np.array([np.nan, np.inf, -np.inf])
    assert compare(np.concatenate([holes, before]), np.concatenate([now, holes])) == compare(before, now)


@pytest.mark.parametrize("nothing", [np.empty(0), np.array([np.nan, np.nan])])
def test_nothing_is_compared_with_nothing(nothing: NDArray[np.floating]) -> None:
    some = np.ones(5)
    assert distribution_drift(CONFIG, nothing, some) is None
    assert distribution_drift(CONFIG, some, nothing) is None
    assert distribution_drift(CONFIG, nothing, nothing) is None


def test_constant_values_do_not_drift() -> None:
    assert compare(np.full(300, 0.5), np.full(300, 0.5)) == Drift(0.5, 0.5, 0.0, False)


@pytest.mark.parametrize(
    ("before", "now", "drifted"),
    [
        ((10, 1000), (100, 1000), True),
        ((10, 1000), (10, 1000), False),
        ((100, 1000), (0, 1000), False),  # fewer is no drift
        ((1, 10_000), (300, 10_000), False),  # significant, but 3 % of them
        ((0, 5), (3, 5), False),  # large, but may be chance
        ((0, 100_000), (1, 1), False),  # one damaged image is no drift, however rare they were
        ((0, 100_000), (9, 9), False),
        ((0, 9), (9000, 9000), False),
        ((0, 1000), (30, 30), True),
        ((1000, 1000), (1000, 1000), False),
    ],
)
def test_a_share_drifts_where_it_rises_by_much_and_not_by_chance(
    before: tuple[int, int], now: tuple[int, int], drifted: bool
) -> None:
    found = share_drift(CONFIG, before, now)
    assert found is not None and found.drifted == drifted
    assert found.change == pytest.approx(now[0] / now[1] - before[0] / before[1])


def test_a_share_of_nothing_is_none() -> None:
    assert share_drift(CONFIG, (0, 0), (1, 5)) is None
    assert share_drift(CONFIG, (1, 5), (0, 0)) is None
