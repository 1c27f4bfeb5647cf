"""One vector a patch: against the plain formula, and what must hold whatever the tokens."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.scoring.lakescore.descriptor import Descriptor
from pipeline.scoring.musc.lnamd import lnamd

GRID, WIDTH = (4, 3), 6
PATCHES = GRID[0] * GRID[1]


def tokens(seed: int, layers: int = 2, images: int = 3) -> NDArray[np.float32]:
    """Return tokens (N, L, P, D)."""
    generator = np.random.default_rng(seed)
    found: NDArray[np.float32] = generator.normal(size=(images, layers, PATCHES, WIDTH)).astype(np.float32)
    return found


def beside(of: NDArray[np.floating]) -> torch.Tensor:
    """Return tokens (N, P, L * D), the layers side by side."""
    return torch.from_numpy(np.concatenate([of[:, layer] for layer in range(of.shape[1])], axis=2))


def described(of: NDArray[np.float32]) -> NDArray[Any]:
    [vectors] = Descriptor(GRID, of.shape[1])(beside(of))
    assert vectors.dtype == torch.float32
    found: NDArray[Any] = vectors.numpy()
    return found


def neighbourhoods(layer: NDArray[np.float32], degree: int) -> NDArray[np.float64]:
    """Return LNAMD of tokens (N, P, D) in loops and fp64: means over neighbours of unit vectors, on GRID."""
    return lnamd(torch.from_numpy(layer), GRID, degree).double().numpy()


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return found


@given(st.integers(0, 999), st.integers(1, 4))
def test_it_is_the_plain_formula(seed: int, layers: int) -> None:
    of = tokens(seed, layers)
    parts = [unit(neighbourhoods(of[:, at], 1) + neighbourhoods(of[:, at], 3)) for at in range(layers)]
    expected = unit(np.concatenate(parts, axis=2))
    np.testing.assert_allclose(described(of), expected, rtol=0, atol=2e-6)


@given(st.integers(0, 999), st.integers(1, 4))
def test_vectors_have_length_1_and_layers_the_same_share_of_it(seed: int, layers: int) -> None:
    found = described(tokens(seed, layers))
    assert found.shape == (3, PATCHES, layers * WIDTH)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, atol=1e-5)
    lengths = np.linalg.norm(found.reshape(3, PATCHES, layers, WIDTH), axis=3)
    np.testing.assert_allclose(lengths, layers**-0.5, atol=1e-5)


@given(st.integers(0, 999))
def test_a_distance_is_the_mean_of_the_layers_squares(seed: int) -> None:
    of = tokens(seed)
    both = described(of)
    alone = [described(of[:, [layer]]) for layer in range(2)]

    def squares(vectors: NDArray[Any]) -> NDArray[Any]:
        flat = vectors.reshape(-1, vectors.shape[2])
        distances: NDArray[Any] = np.square(flat[:, None] - flat[None]).sum(axis=2)
        return distances

    np.testing.assert_allclose(squares(both), np.mean([squares(of) for of in alone], axis=0), atol=1e-5)


def test_each_image_is_described_by_itself_and_nothing_is_changed_in_place() -> None:
    of = tokens(0, images=5)
    given_tokens = beside(of)
    before = given_tokens.clone()
    [whole] = Descriptor(GRID, 2)(given_tokens)
    assert torch.equal(given_tokens, before)
    for image in range(5):
        np.testing.assert_allclose(described(of[[image]])[0], whole[image].numpy(), atol=1e-6)


@pytest.mark.parametrize("factor", [0.01, 7.0])
def test_the_length_of_a_layers_tokens_does_not_matter(factor: float) -> None:
    of = tokens(1)
    longer = of.copy()
    longer[:, 1] *= factor
    np.testing.assert_allclose(described(longer), described(of), atol=1e-5)


def test_halves_in_store_are_described_in_full_precision() -> None:
    of = tokens(2).astype(np.float16)
    [found] = Descriptor(GRID, 2)(beside(of))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), described(of.astype(np.float32)), atol=2e-3)


def test_one_comparison_takes_the_place_of_twelve() -> None:
    descriptor = Descriptor(GRID, 2)
    assert (descriptor.comparisons, descriptor.patches) == (1, PATCHES)
