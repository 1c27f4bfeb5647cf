"""Units on several workers: within the bounds of any list schedule, and by examples that were counted by hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.plan.schedule import Schedule, schedule

LENGTHS = st.lists(st.integers(1, 1000).map(float), min_size=1, max_size=60)  # whole seconds: their sums are exact
WORKERS = st.integers(1, 12)


@given(LENGTHS, WORKERS, st.integers(0, 2))
def test_the_last_unit_ends_within_the_bounds(seconds: list[float], workers: int, ahead: int) -> None:
    makespan = schedule(seconds, workers, ahead).makespan
    share, longest = sum(seconds) / workers, max(seconds)
    assert max(share, longest) <= makespan + 1e-9
    # all are busy until the last unit is handed out, and in front of it wait as many as are handed out ahead
    assert makespan <= share + (1 + ahead) * longest + 1e-9


@given(LENGTHS, st.integers(0, 2))
def test_one_worker_does_one_after_the_other(seconds: list[float], ahead: int) -> None:
    assert schedule(seconds, 1, ahead) == Schedule(sum(seconds), 0.0)


@given(LENGTHS, WORKERS, st.integers(0, 2))
def test_what_is_not_work_is_idle(seconds: list[float], workers: int, ahead: int) -> None:
    found = schedule(seconds, workers, ahead)
    assert 0 <= found.idle < 1
    assert found.makespan * workers * (1 - found.idle) == pytest.approx(sum(seconds))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_longest_first_is_near_the_best_of_all_ways(seconds: list[int], workers: int) -> None:
    ways = itertools.product(range(workers), repeat=len(seconds))
    best = min(max(sum(units_of(seconds, way, worker)) for worker in range(workers)) for way in ways)
    found = schedule(sorted(seconds, reverse=True), workers).makespan
    assert best <= found <= (4 / 3 - 1 / (3 * workers)) * best + 1e-9  # Graham, 1969


def units_of(seconds: list[int], way: tuple[int, ...], worker: int) -> list[int]:
    """Return the units that a way gives to a worker."""
    return [length for length, its in zip(seconds, way, strict=True) if its == worker]


def test_the_order_matters() -> None:
    assert schedule([1, 1, 1, 1, 4], 2) == Schedule(6, 1 - 8 / 12)
    assert schedule([4, 1, 1, 1, 1], 2) == Schedule(4, 0)


def test_a_unit_handed_out_ahead_waits_though_another_worker_idles() -> None:
    assert schedule([4, 1, 1, 1], 2) == Schedule(4, 1 - 7 / 8)
    assert schedule([4, 1, 1, 1], 2, ahead=1) == Schedule(5, 1 - 7 / 10)


def test_more_workers_than_units_idle() -> None:
    assert schedule([3, 3], 6, ahead=1) == Schedule(3, 1 - 2 / 6)


def test_no_units_take_no_time_and_no_workers_are_an_error() -> None:
    assert schedule([], 3) == Schedule(0, 0)
    with pytest.raises(ValueError, match="at least one worker"):
        schedule([1], 0)
