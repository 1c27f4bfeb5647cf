"""What a run costs, counted pair by pair, and which runs are refused for it."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ReferencesConfig
from pipeline.errors import ConfigError
from pipeline.plan.cost import Cost, Rates, refuse_quadratic, unit_cost
from pipeline.plan.units import Members, Shape, Unit, plan_units

GRID = (2, 2)
PATCHES = 4
SHAPE = Shape(width=6, bytes=2, degrees=3, comparisons=1, compared=5)
PARTS = [(5,), (11,)]


def units(total: int, references: int, memory: float = 1e9, operations: float = 1e15) -> list[Unit]:
    members = Members(total, references, total, "d1", GRID)
    return plan_units({"bottle": members}, PARTS, SHAPE, memory, operations)


def total_cost(units: Iterable[Unit], shape: Shape) -> Cost:
    """Return what units cost together, as a run sums them up."""
    return sum((unit_cost(unit, shape) for unit in units), Cost())


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 9))
def test_a_unit_costs_what_counting_finds(total: int, references: int, queries: int) -> None:
    references, stop = min(references, total), min(queries, total)
    unit = Unit("bottle", (5,), 0, stop, total, references, total, *GRID, 1, "d1")
    pairs: set[frozenset[int]] | set[tuple[int, int]]
    if stop == references == total:
        pairs, read = {frozenset(pair) for pair in itertools.combinations(range(total), 2)}, total
    else:
        pairs, read = set(itertools.product(range(stop), range(references))), stop + references
    found = unit_cost(unit, SHAPE)
    assert found.products == len(pairs) * (4 * 4) * 5  # each patch with each, by the compared values, in one pass
    assert found.aggregated == read * 3 * (4 * 6)  # every value once for each degree
    assert found.read == read * (4 * 6) * 2


@given(st.integers(2, 300), st.integers(2, 300), st.floats(4e4, 1e7), st.floats(1e3, 1e9))
def test_with_fewer_references_every_image_is_multiplied_with_each_of_them(
    total: int, references: int, memory: float, operations: float
) -> None:
    references = min(references, total - 1)
    found = total_cost(units(total, references, memory, operations), SHAPE)
    assert found.products == len(PARTS) * total * references * SHAPE.pair(PATCHES)


def test_for_so_many_references_the_cost_grows_as_the_images() -> None:
    block = units(10**6, 50, 1e6)[0].stop
    assert 1 < block < 1000
    one, ten, thousand = (total_cost(units(n * block, 50, 1e6), SHAPE) for n in (1, 10, 1000))
    for factor, more in ((10, ten), (1000, thousand)):
        assert (more.products, more.aggregated, more.read) == (
            factor * one.products,
            factor * one.aggregated,
            factor * one.read,
        )


def test_with_all_for_references_the_cost_grows_as_their_square() -> None:
    small, large = (total_cost(units(total, total, 1e6), SHAPE).products for total in (500, 5000))
    assert large == 100 * small


def test_a_category_that_is_one_unit_multiplies_each_pair_once() -> None:
    found = units(40, 40)
    assert all(unit.whole for unit in found)
    assert total_cost(found, SHAPE).products == len(PARTS) * 40 * 39 / 2 * SHAPE.pair(PATCHES)


@given(st.lists(st.tuples(st.integers(2, 50), st.integers(2, 50)), max_size=4), st.integers(0, 9))
def test_costs_add_up(categories: list[tuple[int, int]], cut: int) -> None:
    every = [unit for total, references in categories for unit in units(total, min(total, references), 4e4)]
    assert total_cost(every, SHAPE) == total_cost(every[:cut], SHAPE) + total_cost(every[cut:], SHAPE)
    assert total_cost([], SHAPE) == Cost() == Cost(0, 0, 0)


def test_seconds_are_those_of_all_three_parts() -> None:
    cost = Cost(products=6e10, aggregated=3e8, read=1e9)
    assert Rates(products=2e10, aggregated=1e8, read=2e8).seconds(cost) == pytest.approx(3 + 3 + 5)


def test_a_quadratic_run_is_refused_with_its_estimate_and_the_ways_out() -> None:
    config = ReferencesConfig(mode="all", limit=20)
    with pytest.raises(ConfigError, match=r"category 'cable' has 21 images.*square: about 3\.5 h on 2") as caught:
        refuse_quadratic(config, {"bottle": 20, "cable": 21}, "about 3.5 h on 2 workers")
    for way in ("references.mode sample", "references.limit 20", "references.quadratic true"):
        assert way in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({"mode": "all"}, 20),
        ({"mode": "all", "quadratic": True}, 21),
        ({"mode": "auto"}, 21),
        ({"mode": "sample"}, 21),
    ],
)
def test_other_runs_are_not_refused(settings: dict[str, object], total: int) -> None:
    refuse_quadratic(ReferencesConfig.model_validate({"limit": 20, **settings}), {"cable": total}, "about a year")


@pytest.mark.parametrize(
    ("other", "products", "read"),
    [
        ({"turns": 4}, 7 * 9 * 4, 7 + 9 * 4),  # each reference is read as often as it is turned
        ({"nearest": 3}, 7 * 3, 7 + 9),  # whoever is near to one of the unit's images is read
        ({"nearest": 30}, 7 * 9, 7 + 9),
        ({"share": 0.25, "thin": 2}, 7 * 9 / 4, 7 + 9),
        ({"turns": 8, "nearest": 3, "share": 0.25, "thin": 2}, 7 * 3 * 8 / 4, 7 + 9 * 8),
    ],
    ids=str,
)
def test_turned_thinned_and_nearest_references_cost_what_is_multiplied(
    other: dict[str, Any], products: float, read: int
) -> None:
    unit = replace(Unit("bottle", (5,), 0, 7, 9, 9, 9, *GRID, 1, "d1"), **other)
    found = unit_cost(unit, SHAPE)
    assert found.products == products * SHAPE.pair(PATCHES)
    assert found.aggregated == read * 3 * (4 * 6) and found.read == read * (4 * 6) * 2


def test_a_whole_category_that_turns_costs_all_pairs() -> None:
    whole = Unit("bottle", (5,), 0, 9, 9, 9, 9, *GRID, 1, "d1")
    assert unit_cost(whole, SHAPE).products == 36 * SHAPE.pair(PATCHES)
    assert unit_cost(replace(whole, turns=4), SHAPE).products == 81 * 4 * SHAPE.pair(PATCHES)
