"""Projections: what they promise of distances, against distances in fp64."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.scoring.musc.projection import pca, random_projection


def random_vectors(seed: int, count: int, dimensions: int) -> Tensor:
    """Return vectors (n, D) of which some directions vary more than others, about a mean that is not 0."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, dimensions)) * generator.uniform(0.1, 3, dimensions) + 5
    return torch.from_numpy(vectors @ np.linalg.qr(generator.normal(size=(dimensions, dimensions)))[0]).float()


def distances(vectors: Tensor) -> Tensor:
    return torch.cdist(vectors.double(), vectors.double(), compute_mode="donot_use_mm_for_euclid_dist")


@given(st.integers(2, 40), st.integers(1, 24), st.integers(1, 24), st.integers(0, 999))
def test_distances_after_pca_are_never_longer(count: int, dimensions: int, width: int, seed: int) -> None:
    width = min(width, dimensions)
    vectors = random_vectors(seed, count, dimensions)
    projection = pca(vectors, width)
    assert projection.shape == (dimensions, width) and projection.dtype == torch.float32
    torch.testing.assert_close(projection.T @ projection, torch.eye(width), rtol=0, atol=1e-5)
    others = random_vectors(seed + 1, 10, dimensions)  # also of vectors that it was not fitted on
    for points in (vectors, others):
        assert (distances(points @ projection) - distances(points)).max() < 1e-4


@given(st.integers(2, 40), st.integers(1, 24), st.integers(0, 999))
def test_pca_to_full_width_keeps_all_distances(count: int, dimensions: int, seed: int) -> None:
    vectors = random_vectors(seed, count, dimensions)
    kept = distances(vectors @ pca(vectors, dimensions))
    torch.testing.assert_close(kept, distances(vectors), rtol=0, atol=1e-4)


def test_pca_keeps_the_directions_that_vary_and_not_those_that_are_only_far_from_zero() -> None:
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.normal(size=(16, 16)))[0]
    points = generator.normal(size=(50, 3)) @ basis[:3] + 100 * basis[5]  # three dimensions, far away along a fourth
    vectors = torch.from_numpy(points).float()
    torch.testing.assert_close(distances(vectors @ pca(vectors, 3)), distances(vectors), rtol=0, atol=1e-3)
    assert (distances(vectors @ pca(vectors, 2)) - distances(vectors)).abs().max() > 0.1


@given(st.integers(2, 24), st.integers(1, 23), st.integers(0, 999))
def test_pca_keeps_at_least_the_variance_of_any_other_projection(dimensions: int, width: int, seed: int) -> None:
    width = min(width, dimensions - 1)
    vectors = random_vectors(seed, 60, dimensions)
    other = torch.linalg.qr(random_vectors(seed + 1, dimensions, width))[0]
    assert (vectors @ pca(vectors, width)).var(dim=0).sum() >= (vectors @ other).var(dim=0).sum() * (1 - 1e-5)


@pytest.mark.parametrize("width", [4, 16])
def test_a_random_projection_keeps_squared_distances_on_average(width: int) -> None:
    # Over 300 seeds, within four standard errors.
    ends = random_vectors(0, 2, 32)
    length = float((ends[0] - ends[1]).square().sum())
    found = [float(((ends[0] - ends[1]) @ random_projection(32, width, seed)).square().sum()) for seed in range(300)]
    assert abs(np.mean(found) - length) < 4 * np.std(found) / len(found) ** 0.5
    assert np.std(found) < 2 * length / width**0.5  # and each of them about so


@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 99))
def test_a_random_projection_has_directions_at_right_angles(dimensions: int, width: int, seed: int) -> None:
    width = min(width, dimensions)
    projection = random_projection(dimensions, width, seed)
    assert projection.shape == (dimensions, width) and projection.dtype == torch.float32
    expected = torch.eye(width) * dimensions / width
    torch.testing.assert_close(projection.T @ projection, expected, rtol=0, atol=1e-4)
    assert torch.equal(projection, random_projection(dimensions, width, seed))


def test_a_random_projection_to_full_width_keeps_all_distances() -> None:
    vectors = random_vectors(0, 20, 16)
    projected = vectors @ random_projection(16, 16)
    torch.testing.assert_close(distances(projected), distances(vectors), rtol=0, atol=1e-4)


def test_workers_draw_the_same_projection_and_other_seeds_another() -> None:
    torch.manual_seed(1)  # what else a process draws has no part in it
    first = random_projection(16, 4)
    torch.manual_seed(2)
    assert torch.equal(random_projection(16, 4), first)
    assert not torch.equal(random_projection(16, 4, seed=1), first)


@pytest.mark.parametrize("project", [lambda d, w: pca(random_vectors(0, 9, d), w), random_projection])
@pytest.mark.parametrize("width", [-1, 0, 9])
def test_a_width_that_cannot_be_is_an_error(project: Callable[[int, int], Tensor], width: int) -> None:
    with pytest.raises(ValueError, match=f"vectors of 8 values cannot be projected to {width}"):
        project(8, width)
