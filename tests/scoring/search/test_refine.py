"""Small distances taken again: in parts of any size the same, and no more of them held than allowed."""

from typing import Any

import pytest
import torch

from pipeline.scoring.musc.mutual import Search
from pipeline.scoring.search import refine
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.near import NearSearch
from tests.scoring.search.test_search import moved, unit_vectors

GRID = (6, 7)
PATCHES = 42


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("search", [GemmSearch(), NearSearch("fp32", GRID, 1)], ids=["gemm", "near"])
def test_in_parts_of_any_size_small_distances_are_the_same(
    search: Search, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = unit_vectors(0, 3, PATCHES, 16)
    references = torch.cat([moved(queries[:2], 1e-3, 1), queries[2:], unit_vectors(2, 1, PATCHES, 16)])
    held: list[int] = []
    cdist = torch.cdist

    def noted(one: torch.Tensor, other: torch.Tensor, **how: Any) -> torch.Tensor:
        held.append(len(one) * len(other))
        return cdist(one, other, **how)

    monkeypatch.setattr(torch, "cdist", noted)
    whole = search.nearest(queries, references)
    assert max(held) > rows * PATCHES
    held.clear()
    monkeypatch.setattr(refine, "DISTANCES", rows * PATCHES + 1)
    parts = search.nearest(queries, references)
    assert 0 < max(held) <= rows * PATCHES
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-7)
    assert 1e-4 < whole[0, :, 0].min() and whole[0, :, 0].max() < 1e-2 and whole[2, :, 2].max() < 1e-6
