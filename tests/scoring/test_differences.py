"""Difference vectors: what is left of a region's patches without what references have there."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.scoring import differences
from pipeline.scoring.differences import LOWEST, difference_vectors, joined


def references(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn((count, 12, 8), generator=generator), dim=-1)


def vectors(patches: Tensor, owners: list[int], compared: Tensor, allowed: np.ndarray) -> np.ndarray:
    def each() -> Iterator[Tensor]:
        return iter(compared)

    weights = torch.arange(1.0, len(patches) + 1)
    return difference_vectors(patches, weights, torch.tensor(owners), each, allowed)


def test_a_group_is_the_weighted_mean_of_its_patches_differences_from_the_nearest_references() -> None:
    patches, compared = references(1, seed=1)[0, :5], references(10)
    found = vectors(patches, [0, 0, 1, 1, 1], compared, np.ones((2, 10), bool))
    expected = []
    for group in ([0, 1], [2, 3, 4]):
        total = torch.zeros(8)
        for patch in group:
            near = [of[torch.linalg.vector_norm(of - patches[patch], dim=1).argmin()] for of in compared]
            near.sort(key=lambda of: float(torch.linalg.vector_norm(of - patches[patch])))
            total += (patch + 1) * (patches[patch] - torch.stack(near[: int(LOWEST * 10)]).mean(dim=0))
        expected.append(F.normalize(total, dim=0))
    np.testing.assert_allclose(found, torch.stack(expected), atol=1e-5)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1])


def test_a_reference_that_is_not_allowed_makes_no_difference() -> None:
    patches, compared = references(1, seed=1)[0, :3], references(6)
    compared[2, :3] = patches  # itself
    allowed = np.array([[True] * 6, [True, True, False, True, True, True]])
    both = vectors(patches, [0, 1, 1], compared, allowed)
    without = vectors(patches, [0, 1, 1], compared[[0, 1, 3, 4, 5]], np.ones((2, 5), bool))
    np.testing.assert_allclose(both[1], without[1], atol=1e-6)
    assert not np.allclose(both[0], without[0], atol=1e-3)


@pytest.mark.parametrize("rows", [1, 2])
def test_patches_that_are_compared_some_at_a_time_differ_alike(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    patches, compared, allowed = references(1, seed=1)[0, :5], references(10), np.ones((2, 10), bool)
    held: list[int] = []
    cdist = torch.cdist

    def noted(one: Tensor, other: Tensor, **how: Any) -> Tensor:
        held.append(len(one) * len(other))
        return cdist(one, other, **how)

    monkeypatch.setattr(torch, "cdist", noted)
    whole = vectors(patches, [0, 0, 1, 1, 1], compared, allowed)
    assert max(held) == 5 * 12
    held.clear()
    monkeypatch.setattr(differences, "DISTANCES", rows * 12 + 11)  # of references of 12 patches
    np.testing.assert_allclose(vectors(patches, [0, 0, 1, 1, 1], compared, allowed), whole, rtol=0, atol=1e-6)
    assert max(held) == rows * 12


def test_a_group_that_is_compared_with_nothing_is_what_it_is() -> None:
    patches = references(1, seed=1)[0, :1]
    found = vectors(patches, [0], references(2), np.zeros((1, 2), bool))
    np.testing.assert_allclose(found, patches, atol=1e-6)


def test_layers_count_alike_whatever_their_lengths() -> None:
    one, two = references(3), 100 * references(3, seed=1)
    found = joined([one, two])
    assert found.shape == (3, 12, 16) and torch.allclose(torch.linalg.vector_norm(found, dim=-1), torch.ones(3, 12))
    assert torch.allclose(found[..., 8:] * 2**0.5, F.normalize(two, dim=-1))
