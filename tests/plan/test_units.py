"""The plan on a grid of sizes and limits: complete, within memory, and with ids that tell work apart."""

import itertools
import re
from collections.abc import Mapping

import pytest

from pipeline.errors import ConfigError
from pipeline.plan.units import FEWEST_QUERIES, Members, Shape, Unit, plan_units

LAYERS = (5, 11)
DEGREES = 3
PLAIN, PAPER = Shape(16, 8, 4), Shape(37 * 37, 1024, 2)
TOTALS = [2, 3, 100, 3000]
FACTORS = [1.0, 1.1, 2.0, 40.0, 1e6]  # of the least memory that a streamed unit needs
QUERIES = [0.5, 3.5, 1e9]  # images that the operations of one unit suffice for
GRID = [
    pytest.param(total, shape, factor, queries, id=f"{total} images, {shape.patches} patches, {factor:g}, {queries:g}")
    for total, shape, factor, queries in itertools.product(TOTALS, [PLAIN, PAPER], FACTORS, QUERIES)
]


def row(total: int, shape: Shape) -> int:
    """Bytes of one image's distances to all, for one degree."""
    return 4 * shape.patches * total


def whole_bytes(total: int, shape: Shape) -> int:
    """Stored tokens and three fp32 arrays of their size, distances and the copy that selection makes."""
    return total * (shape.patches * shape.width * (shape.bytes + 3 * 4) + 2 * row(total, shape))


def query_bytes(total: int, shape: Shape, degrees: int) -> int:
    """Stored tokens, fp32 vectors of each degree and two temporaries, distances of each degree and one copy."""
    vectors = shape.patches * shape.width * (shape.bytes + (degrees + 2) * 4)
    return vectors + (degrees + 1) * row(total, shape)


def reference_bytes(shape: Shape) -> int:
    """Stored tokens and three fp32 arrays of their size."""
    return shape.patches * shape.width * (shape.bytes + 3 * 4)


def least(total: int, shape: Shape) -> int:
    return query_bytes(total, shape, DEGREES) + reference_bytes(shape)


def pair_operations(shape: Shape) -> int:
    return DEGREES * shape.patches**2 * shape.width


def plan(total: int, shape: Shape, memory: float, queries: float) -> list[Unit]:
    operations = queries * total * pair_operations(shape)
    return plan_units({"bottle": Members(total, "d1")}, LAYERS, shape, DEGREES, memory, operations)


@pytest.mark.parametrize("total, shape, factor, queries", GRID)
def test_every_image_of_every_layer_is_scored_exactly_once(
    total: int, shape: Shape, factor: float, queries: float
) -> None:
    units = plan(total, shape, factor * least(total, shape), queries)
    covered = sorted((unit.layer, image) for unit in units for image in range(unit.start, unit.stop))
    assert covered == [(layer, image) for layer in LAYERS for image in range(total)]
    assert {(unit.category, unit.total, unit.members) for unit in units} == {("bottle", total, "d1")}
    assert all(1 <= unit.reference_block <= total for unit in units)


@pytest.mark.parametrize("total, shape, factor, queries", GRID)
def test_no_unit_holds_more_than_the_memory(total: int, shape: Shape, factor: float, queries: float) -> None:
    memory = factor * least(total, shape)
    for unit in plan(total, shape, memory, queries):
        streamed = (unit.stop - unit.start) * query_bytes(total, shape, DEGREES)
        streamed += unit.reference_block * reference_bytes(shape)
        assert (whole_bytes(total, shape) if unit.whole else streamed) <= memory


@pytest.mark.parametrize("total, shape, factor, queries", GRID)
def test_a_category_is_one_unit_a_layer_when_and_only_when_it_fits(
    total: int, shape: Shape, factor: float, queries: float
) -> None:
    memory = factor * least(total, shape)
    few = total <= FEWEST_QUERIES
    fits = whole_bytes(total, shape) <= memory and (few or total / 2 <= queries)  # each pair is multiplied once
    whole = [unit.whole for unit in plan(total, shape, memory, queries)]
    assert whole == ([True] * len(LAYERS) if fits else [False] * len(whole))


@pytest.mark.parametrize("total, shape, factor, queries", GRID)
def test_a_unit_of_more_than_the_fewest_images_stays_within_the_operations(
    total: int, shape: Shape, factor: float, queries: float
) -> None:
    for unit in plan(total, shape, factor * least(total, shape), queries):
        images = unit.stop - unit.start
        assert images <= FEWEST_QUERIES or images / (2 if unit.whole else 1) <= queries


def test_plenty_of_memory_and_time_are_used() -> None:
    # A plan of single images would pass every limit above.
    units = plan(100, PLAIN, 1e12, 20)
    assert {unit.stop - unit.start for unit in units} == {20} and {unit.reference_block for unit in units} == {100}
    assert len(plan(100, PLAIN, 1e12, 50)) == len(LAYERS)


@pytest.mark.parametrize("total, shape", list(itertools.product([100, 3000], [PLAIN, PAPER])))
def test_memory_that_does_not_hold_one_image_is_a_config_error_that_names_the_category(
    total: int, shape: Shape
) -> None:
    with pytest.raises(ConfigError, match=f"memory_gb.*too small for category 'bottle'.*{total} images"):
        plan(total, shape, least(total, shape) - 1, 1e9)


def test_categories_are_planned_each_by_its_own_size() -> None:
    categories = {"bottle": Members(3, "d1"), "cable": Members(500, "d2")}
    memory = float(least(500, PLAIN))
    assert plan_units(categories, LAYERS, PLAIN, DEGREES, memory, 1e15) == [
        *plan_units({"bottle": categories["bottle"]}, LAYERS, PLAIN, DEGREES, memory, 1e15),
        *plan_units({"cable": categories["cable"]}, LAYERS, PLAIN, DEGREES, memory, 1e15),
    ]


def ids(categories: Mapping[str, Members]) -> list[str]:
    # Enough memory for a few images a unit, so that each category has several units.
    return [unit.id for unit in plan_units(categories, LAYERS, PLAIN, DEGREES, 3.0 * least(100, PLAIN), 1e15)]


def test_ids_are_unique_within_a_plan() -> None:
    found = ids({"bottle": Members(100, "d1"), "cable": Members(100, "d1"), "d1": Members(100, "bottle")})
    assert len(found) > 3 * len(LAYERS) and len(set(found)) == len(found)


@pytest.mark.parametrize("other", [{"bottle": Members(100, "d2")}, {"cable": Members(100, "d1")}])
def test_other_members_or_another_category_share_no_id(other: dict[str, Members]) -> None:
    assert set(ids({"bottle": Members(100, "d1")})).isdisjoint(ids(other))


def test_ids_are_the_same_for_the_same_work_among_other_categories() -> None:
    alone, among = {"bottle": Members(100, "d1")}, {"cable": Members(9, "d2"), "bottle": Members(100, "d1")}
    assert set(ids(alone)) <= set(ids(among))


@pytest.mark.parametrize("category", ["a/b", "..", "é" * 300, "a=b%20 #?", "line\nbreak", ""])
def test_ids_are_safe_file_names_whatever_the_category_is_called(category: str) -> None:
    assert all(re.fullmatch(r"[0-9a-f-]{20,60}", name) for name in ids({category: Members(100, "d1")}))


def test_equal_plans_are_equal_and_units_are_hashable() -> None:
    first, second = plan(100, PLAIN, 3.0 * least(100, PLAIN), 1e9), plan(100, PLAIN, 3.0 * least(100, PLAIN), 1e9)
    assert first == second and len(set(first)) == len(first) and set(first) == set(second)


def test_a_unit_survives_a_table_as_plain_values() -> None:
    unit = plan(100, PLAIN, 3.0 * least(100, PLAIN), 1e9)[1]
    assert Unit(**vars(unit)) == unit and Unit(**vars(unit)).id == unit.id
