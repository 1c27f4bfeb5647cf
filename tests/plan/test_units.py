"""The plan on a grid of sizes and limits: complete, within memory, and with ids that tell work apart."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.plan.units import FEWEST_QUERIES, Members, Shape, Unit, plan_units

PARTS = [(5,), (11,)]


@dataclass(frozen=True)
class Kind:
    """Images of one grid, and what is done with each of their patches."""

    grid: tuple[int, int]
    shape: Shape

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def vector(self) -> int:
        """Values of an image."""
        return self.patches * self.shape.width


PLAIN = Kind((2, 8), Shape(width=8, bytes=4, degrees=3, comparisons=3, compared=8))
PAPER = Kind((37, 37), Shape(width=1024, bytes=2, degrees=3, comparisons=3, compared=1024))
SHORT = Kind((37, 37), Shape(width=1024, bytes=2, degrees=3, comparisons=1, compared=256))  # fused and projected
# images of the category, and how many of them are references
CATEGORIES = [(2, 2), (3, 3), (100, 100), (3000, 3000), (5, 4), (100, 7), (3000, 256)]
FACTORS = [1.0, 1.03, 2.0, 40.0, 1e6]  # of the least memory that a streamed unit needs
QUERIES = [0.5, 3.5, 1e9]  # images that the operations of one unit suffice for
GRID = [
    pytest.param(members, kind, factor, queries, id=f"{members}, {kind.patches}, {factor:g}, {queries:g}")
    for members, kind, factor, queries in itertools.product(CATEGORIES, [PLAIN, PAPER, SHORT], FACTORS, QUERIES)
]


def row(references: int, kind: Kind) -> int:
    """Bytes of one image's distances to its references, for one pass."""
    return 4 * kind.patches * references


def whole_bytes(total: int, kind: Kind) -> int:
    """Stored tokens, four fp32 arrays of their size; distances with a mask and the copy that selection makes."""
    return total * (kind.vector * (kind.shape.bytes + 4 * 4) + 3 * row(total, kind))


def query_bytes(references: int, kind: Kind, block: int = 1) -> int:
    """Stored tokens, fp32 vectors of each pass and three temporaries, distances of each pass and one copy, and what a
    block of references gives: three fp32 values for each patch and reference."""
    vectors = kind.vector * (kind.shape.bytes + (kind.shape.comparisons + 3) * 4)
    return vectors + (kind.shape.comparisons + 1) * row(references, kind) + 3 * row(block, kind)


def reference_bytes(kind: Kind) -> int:
    """Stored tokens and four fp32 arrays of their size."""
    return kind.vector * (kind.shape.bytes + 4 * 4)


def least(references: int, kind: Kind) -> int:
    return query_bytes(references, kind) + reference_bytes(kind)


def members_of(total: int, references: int, digest: str = "d1", grid: tuple[int, int] = PLAIN.grid) -> Members:
    return Members(total, references, total, digest, grid)


def plan(members: tuple[int, int], kind: Kind, memory: float, queries: float) -> list[Unit]:
    operations = queries * members[1] * kind.shape.comparisons * kind.patches**2 * kind.shape.compared
    return plan_units({"bottle": members_of(*members, grid=kind.grid)}, PARTS, kind.shape, memory, operations)


@pytest.mark.parametrize("members, kind, factor, queries", GRID)
def test_every_image_of_every_layer_is_scored_exactly_once(
    members: tuple[int, int], kind: Kind, factor: float, queries: float
) -> None:
    total, references = members
    units = plan(members, kind, factor * least(references, kind), queries)
    covered = sorted((unit.layers, image) for unit in units for image in range(unit.start, unit.stop))
    assert covered == [(part, image) for part in PARTS for image in range(total)]
    assert {
        (unit.category, unit.total, unit.references, unit.population, unit.grid, unit.digest) for unit in units
    } == {("bottle", total, references, total, kind.grid, "d1")}
    assert all(1 <= unit.reference_block <= references for unit in units)


@pytest.mark.parametrize("members, kind, factor, queries", GRID)
def test_no_unit_holds_more_than_the_memory(
    members: tuple[int, int], kind: Kind, factor: float, queries: float
) -> None:
    total, references = members
    memory = factor * least(references, kind)
    for unit in plan(members, kind, memory, queries):
        streamed = (unit.stop - unit.start) * query_bytes(references, kind, unit.reference_block)
        streamed += unit.reference_block * reference_bytes(kind)
        assert (whole_bytes(total, kind) if unit.whole else streamed) <= memory


@pytest.mark.parametrize("members, kind, factor, queries", GRID)
def test_a_category_is_one_unit_a_layer_when_and_only_when_it_fits_and_all_are_references(
    members: tuple[int, int], kind: Kind, factor: float, queries: float
) -> None:
    total, references = members
    memory = factor * least(references, kind)
    few = total <= FEWEST_QUERIES
    fits = whole_bytes(total, kind) <= memory and (few or total / 2 <= queries)  # each pair is multiplied once
    whole = [unit.whole for unit in plan(members, kind, memory, queries)]
    assert whole == ([True] * len(PARTS) if fits and references == total else [False] * len(whole))


@pytest.mark.parametrize("members, kind, factor, queries", GRID)
def test_a_unit_of_more_than_the_fewest_images_stays_within_the_operations(
    members: tuple[int, int], kind: Kind, factor: float, queries: float
) -> None:
    for unit in plan(members, kind, factor * least(members[1], kind), queries):
        images = unit.stop - unit.start
        assert images <= FEWEST_QUERIES or images / (2 if unit.whole else 1) <= queries


def test_plenty_of_memory_and_time_are_used() -> None:
    # A plan of single images would pass every limit above.
    units = plan((100, 100), PLAIN, 1e12, 20)
    assert {unit.stop - unit.start for unit in units} == {20} and {unit.reference_block for unit in units} == {100}
    assert len(plan((100, 100), PLAIN, 1e12, 50)) == len(PARTS)
    units = plan((100, 7), PLAIN, 1e12, 1e9)
    assert len(units) == len(PARTS) and {unit.reference_block for unit in units} == {7}


def test_few_references_leave_room_for_more_queries() -> None:
    # What grows with the references are the rows of distances: a sample is there to make them short.
    memory = 2.0 * least(3000, PLAIN)
    assert len(plan((3000, 16), PLAIN, memory, 1e9)) < len(plan((3000, 3000), PLAIN, memory, 1e9)) / 10


@pytest.mark.parametrize(
    "members, kind", list(itertools.product([(100, 100), (3000, 3000), (3000, 9)], [PLAIN, PAPER]))
)
def test_memory_that_does_not_hold_one_image_is_a_config_error_that_names_the_category(
    members: tuple[int, int], kind: Kind
) -> None:
    with pytest.raises(
        ConfigError, match=f"memory_gb.*too small for category 'bottle'.*{members[0]} images against {members[1]} "
    ):
        plan(members, kind, least(members[1], kind) - 1, 1e9)


def test_references_of_earlier_nights_are_no_reason_to_multiply_pairs_once() -> None:
    earlier = Members(10, 10, 300, "d1", PLAIN.grid, mutual=False)
    units = plan_units({"bottle": earlier}, PARTS, PLAIN.shape, 1e12, 1e15)
    assert len(units) == len(PARTS) and not any(unit.whole for unit in units)
    assert {unit.population for unit in units} == {300}


def test_categories_are_planned_each_by_its_own_size_and_the_largest_units_come_first() -> None:
    categories = {"bottle": members_of(3, 3), "cable": members_of(500, 500), "grid": members_of(90, 20)}
    memory = float(least(500, PLAIN))
    units = plan_units(categories, PARTS, PLAIN.shape, memory, 1e15)
    alone = [plan_units({name: of}, PARTS, PLAIN.shape, memory, 1e15) for name, of in categories.items()]
    assert set(units) == set(itertools.chain(*alone)) and len(units) == sum(map(len, alone))
    sizes = [(unit.stop - unit.start) * unit.references for unit in units]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]


def ids(categories: Mapping[str, Members]) -> list[str]:
    # Enough memory for a few images a unit, so that each category has several units.
    return [unit.id for unit in plan_units(categories, PARTS, PLAIN.shape, 3.0 * least(100, PLAIN), 1e15)]


def test_ids_are_unique_within_a_plan() -> None:
    found = ids({"bottle": members_of(100, 100), "cable": members_of(100, 100), "d1": members_of(100, 9, "bottle")})
    assert len(found) > 3 * len(PARTS) and len(set(found)) == len(found)


@pytest.mark.parametrize("other", [{"bottle": members_of(100, 100, "d2")}, {"cable": members_of(100, 100)}])
def test_other_members_or_another_category_share_no_id(other: dict[str, Members]) -> None:
    assert set(ids({"bottle": members_of(100, 100)})).isdisjoint(ids(other))


def test_ids_are_the_same_for_the_same_work_among_other_categories() -> None:
    alone = {"bottle": members_of(100, 100)}
    assert set(ids(alone)) <= set(ids({"cable": members_of(9, 9, "d2")} | alone))


@pytest.mark.parametrize("category", ["a/b", "..", "é" * 300, "a=b%20 #?", "line\nbreak", ""])
def test_ids_are_safe_file_names_whatever_the_category_is_called(category: str) -> None:
    assert all(re.fullmatch(r"[0-9a-f-]{20,60}", name) for name in ids({category: members_of(100, 100)}))


def test_equal_plans_are_equal_and_units_are_hashable() -> None:
    first, second = (plan((100, 100), PLAIN, 3.0 * least(100, PLAIN), 1e9) for _ in range(2))
    assert first == second and len(set(first)) == len(first) and set(first) == set(second)


def test_a_unit_survives_a_table_as_plain_values() -> None:
    unit = plan((100, 30), PLAIN, 3.0 * least(30, PLAIN), 1e9)[1]
    assert Unit(**vars(unit)) == unit and Unit(**vars(unit)).id == unit.id


@pytest.mark.parametrize("other", [{"turns": 4}, {"thin": 2}, {"nearest": 5}], ids=str)
def test_pairs_that_differ_by_direction_are_not_multiplied_once(other: dict[str, Any]) -> None:
    """A turned or thinned reference is another image than the one that it is of, and the nearest are not mutual."""
    usual = members_of(20, 20)
    assert all(unit.whole for unit in plan_units({"bottle": usual}, PARTS, PLAIN.shape, 1e12, 1e15))
    units = plan_units({"bottle": replace(usual, **other)}, PARTS, PLAIN.shape, 1e12, 1e15)
    assert len(units) == len(PARTS) and not any(unit.whole for unit in units)
    for unit in units:
        assert {name: getattr(unit, name) for name in other} == other


def test_turned_references_make_units_smaller() -> None:
    operations = 40.0 * 100 * PLAIN.shape.pair(PLAIN.patches)  # of 40 images against 100
    counts = {}
    for turns in (1, 4):
        members = Members(100, 100, 300, "d1", PLAIN.grid, mutual=False, turns=turns)
        units = plan_units({"bottle": members}, PARTS[:1], PLAIN.shape, 1e12, operations)
        counts[turns] = max(unit.stop - unit.start for unit in units)
    assert counts == {1: 40, 4: FEWEST_QUERIES}


def test_categories_of_several_grids_have_units_of_their_own_size() -> None:
    categories = {"small": members_of(50, 50, grid=(2, 8)), "large": members_of(50, 50, grid=(20, 40))}
    units = plan_units(categories, PARTS, PLAIN.shape, 4.0 * least(50, Kind((20, 40), PLAIN.shape)), 1e15)
    assert {unit.category: unit.grid for unit in units} == {"small": (2, 8), "large": (20, 40)}
    count = {name: sum(unit.category == name for unit in units) for name in categories}
    assert count["small"] == len(PARTS) < count["large"]


@pytest.mark.parametrize(("nearest", "compared"), [(0, 7), (5, 5), (9, 7)])
def test_an_image_is_compared_with_all_references_or_the_nearest(nearest: int, compared: int) -> None:
    members = Members(20, 7, 20, "d1", PLAIN.grid, nearest=nearest)
    assert {unit.compared for unit in plan_units({"a": members}, PARTS, PLAIN.shape, 1e12, 1e15)} == {compared}


def test_with_the_nearest_references_units_are_as_large_as_with_that_many() -> None:
    operations = 40.0 * 100 * PLAIN.shape.pair(PLAIN.patches)  # of 40 images against 100
    sizes = {}
    for references, nearest in ((100, 0), (1000, 100), (1000, 0), (100, 900)):
        members = Members(100, references, 2000, "d1", PLAIN.grid, mutual=False, nearest=nearest)
        units = plan_units({"bottle": members}, PARTS[:1], PLAIN.shape, 1e12, operations)
        sizes[references, nearest] = max(unit.stop - unit.start for unit in units)
    assert sizes == {(100, 0): 40, (1000, 100): 40, (1000, 0): FEWEST_QUERIES, (100, 900): 40}
