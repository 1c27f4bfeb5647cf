"""What a lake asks of a cluster: against counting by hand, and always the fewest nodes that do it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ReferencesConfig
from pipeline.plan.cost import Rates
from pipeline.plan.sizing import MOST, Night, Node, Work, size_night
from pipeline.plan.units import Shape

GRID = (10, 10)
PATCHES = 100
SHAPE = Shape(width=64, bytes=2, degrees=3, comparisons=3, compared=64)
NODE = Node(Rates(products=1e9, aggregated=math.inf, read=math.inf), encoded=10, memory=1e9, ready=0, dollars_an_hour=2)
ALL = ReferencesConfig(mode="all", quadratic=True)


def night(work: Work, hours: float, node: Node = NODE, references: ReferencesConfig = ALL) -> Night | None:
    return size_night(work, hours, node, references, 2, SHAPE)


def test_one_node_takes_what_counting_finds() -> None:
    found = night(Work(images=40, total=40, categories=2, grid=GRID), hours=1)
    pairs = 2 * 20 * 19 / 2  # of each layer, each multiplied once
    seconds = 40 / 10 + 2 * pairs * SHAPE.pair(PATCHES) / 1e9
    assert found is not None and found.nodes == 1
    assert found.hours == pytest.approx(seconds / 3600) and found.dollars == pytest.approx(2 * seconds / 3600)


def test_new_images_alone_are_compared_with_the_whole_lake() -> None:
    found = night(Work(images=10, total=1000, categories=1, grid=GRID), hours=1)
    assert found is not None
    assert found.hours * 3600 == pytest.approx(10 / 10 + 2 * 10 * 1000 * SHAPE.pair(PATCHES) / 1e9)


def test_a_node_costs_while_it_comes_and_goes() -> None:
    work, slow = Work(40, 40, 2, GRID), Node(NODE.rates, NODE.encoded, NODE.memory, ready=600, dollars_an_hour=2)
    quick, late = night(work, 1), night(work, 1, slow)
    assert quick is not None and late is not None
    assert late.hours - quick.hours == pytest.approx(600 / 3600)
    assert late.dollars - quick.dollars == pytest.approx(2 * 600 / 3600)


@given(st.integers(2, 3000), st.integers(1, 9), st.floats(0.001, 1))
def test_the_fewest_nodes_that_end_in_time_are_taken(images: int, categories: int, hours: float) -> None:
    work, references = Work(images, images, categories, GRID), ReferencesConfig(count=64, limit=100)
    found = night(work, hours, references=references)
    if found is None:
        return
    assert found.hours <= hours and 1 <= found.nodes <= MOST
    assert found.dollars == pytest.approx(found.nodes * found.hours * 2)
    if found.nodes > 1:
        halved = night(work, found.hours * 1.0000001, references=references)
        assert halved is not None and halved.nodes == found.nodes
        longer = night(work, hours * 2, references=references)
        assert longer is not None and longer.nodes <= found.nodes


def test_what_no_number_of_nodes_does_in_time_is_said() -> None:
    assert night(Work(10**6, 10**6, 1, GRID), hours=0.01, references=ReferencesConfig()) is None
