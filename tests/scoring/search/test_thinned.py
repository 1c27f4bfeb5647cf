"""The search among some patches: every second row and column, and none of the others."""

import pytest
import torch

from pipeline.config import SearchConfig
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.settings import untuned
from pipeline.scoring.search.thinned import Thinned
from pipeline.scoring.search.tuning import make_search
from tests.scoring.search.test_search import assert_near, exact, unit_vectors

Grid = tuple[int, int]


def kept(grid: Grid, rows: list[int], columns: list[int]) -> list[int]:
    return [row * grid[1] + column for row in rows for column in columns]


@pytest.mark.parametrize(
    ("grid", "step", "rows", "columns"),
    [
        ((4, 6), 1, [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]),
        ((4, 6), 2, [0, 2], [0, 2, 4]),
        ((7, 5), 3, [1, 4], [1, 4]),  # the first and the last kept are as far from their edges as can be
        ((5, 9), 4, [1], [1, 5]),
        ((1, 7), 3, [0], [1, 4]),  # a side shorter than the first place keeps its only row
        ((2, 3), 9, [1], [2]),
    ],
)
def test_distances_are_those_to_the_patches_that_are_kept(
    grid: Grid, step: int, rows: list[int], columns: list[int]
) -> None:
    queries, references = unit_vectors(0, 2, grid[0] * grid[1], 24), unit_vectors(1, 3, grid[0] * grid[1], 24)
    found = Thinned(GemmSearch(), grid, step).nearest(queries, references)
    expected = exact(queries, references[:, kept(grid, rows, columns)])
    assert found.shape == (2, grid[0] * grid[1], 3)
    assert_near(found, expected, 1e-5)


def test_the_two_of_a_pair_differ() -> None:
    images = unit_vectors(0, 3, 24, 16)
    found = Thinned(GemmSearch(), (4, 6), 2).mutual(images)
    assert_near(found[0, :, 1], exact(images[:1], images[1:2, kept((4, 6), [0, 2], [0, 2, 4])])[0, :, 0], 1e-5)
    assert not torch.allclose(found[0, :, 1].amax(), found[1, :, 0].amax(), atol=1e-3)


def test_it_is_taken_where_it_is_asked_for() -> None:
    tuning = untuned(SearchConfig(), "cpu")
    assert isinstance(make_search(tuning, "fp32", "cpu", (4, 6), None, 2), Thinned)
    assert not isinstance(make_search(tuning, "fp32", "cpu", (4, 6), None, 1), Thinned)
