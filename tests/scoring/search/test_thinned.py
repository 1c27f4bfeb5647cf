"""Some patches of a reference: every second row and column, beginning at another one from reference to reference."""

import pytest
import torch
from torch import Tensor

from pipeline.scoring.musc.lnamd import Aggregation
from pipeline.scoring.musc.mutual import query_distances
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.thinned import Thinning
from tests.scoring.search.test_search import assert_near, exact

Grid = tuple[int, int]
ONE = Aggregation((4, 6), (1,))


def kept(grid: Grid, rows: list[int], columns: list[int]) -> list[int]:
    return [row * grid[1] + column for row in rows for column in columns]


@pytest.mark.parametrize(
    ("grid", "step", "number", "rows", "columns"),
    [
        ((4, 6), 1, 5, [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]),
        ((4, 6), 2, 0, [0, 2], [0, 2, 4]),
        ((4, 6), 2, 3, [1, 3], [1, 3, 5]),
        ((4, 6), 2, 5, [0, 2], [1, 3, 5]),
        ((7, 5), 3, 5, [1, 4], [2]),
        ((1, 7), 3, 7, [0], [1, 4]),  # a side shorter than where it would begin keeps its last row
    ],
)
def test_each_reference_keeps_rows_and_columns_of_its_own(
    grid: Grid, step: int, number: int, rows: list[int], columns: list[int]
) -> None:
    [(places, patches)] = Thinning(grid, step).parts(number, 1)
    assert places == [0] and patches.tolist() == kept(grid, rows, columns)


@pytest.mark.parametrize(("grid", "step"), [((4, 6), 2), ((7, 5), 3), ((2, 9), 4)])
def test_every_patch_is_looked_at_in_one_reference_or_another(grid: Grid, step: int) -> None:
    parts = list(Thinning(grid, step).parts(3, step**2))
    assert sorted(place for places, _ in parts for place in places) == list(range(step**2))
    assert {int(patch) for _, patches in parts for patch in patches} == set(range(grid[0] * grid[1]))


def vectors(seed: int, images: int) -> Tensor:
    return torch.randn((images, 24, 16), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("block", [1, 2, 5])
def test_distances_do_not_depend_on_how_references_come(block: int) -> None:
    queries, references = vectors(0, 2), vectors(1, 5)
    blocks = ([of] for of in torch.split(references, block))
    [found] = query_distances(queries, blocks, 5, ONE, GemmSearch(), None, Thinning((4, 6), 2))
    [ours], [theirs] = ONE(queries), ONE(references)
    for number in range(5):
        [(_, patches)] = Thinning((4, 6), 2).parts(number, 1)
        assert_near(found[:, :, number : number + 1], exact(ours, theirs[number : number + 1, patches]), 1e-5)
