"""Neighbourhood aggregation against the official code's arrays and a plain version written from the paper."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.scoring.musc.lnamd import Aggregation, lnamd

Array = NDArray[Any]
Golden = Callable[[str], Mapping[str, Array]]


def random_tokens(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def plain_lnamd(tokens: Array, grid: tuple[int, int], degree: int) -> Array:
    """MuSc, section 3.2, in loops and fp64."""
    height, width = grid
    result = np.zeros(tokens.shape)
    for image, values in enumerate(tokens.astype(np.float64)):
        normed = ((values - values.mean()) / np.sqrt(values.var() + 1e-5)).reshape(height, width, -1)
        for y in range(height):
            for x in range(width):
                total = np.zeros(normed.shape[2])
                for dy in range(-(degree // 2), degree // 2 + 1):
                    for dx in range(-(degree // 2), degree // 2 + 1):
                        if 0 <= y + dy < height and 0 <= x + dx < width:
                            total += normed[y + dy, x + dx]
                mean = total / degree**2  # what lies outside counts, as zeros
                result[image, y * width + x] = mean / np.linalg.norm(mean)
    return result


@pytest.mark.parametrize("degree", [1, 3, 5])
def test_vectors_equal_the_official_code(golden: Golden, degree: int) -> None:
    arrays = golden("musc_small.npz")
    tokens, expected = torch.from_numpy(arrays["tokens"][:3]), arrays[f"z_r{degree}"]
    for layer in range(tokens.shape[1]):
        np.testing.assert_allclose(lnamd(tokens[:, layer], (10, 10), degree), expected[:, layer], rtol=0, atol=1e-5)


# Grids that are not square would show rows and columns exchanged; the smallest are all border.
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 5]), st.integers(0, 999))
def test_vectors_equal_a_plain_version_on_any_grid(
    images: int, height: int, width: int, degree: int, seed: int
) -> None:
    tokens = random_tokens(seed, images, height * width, 16)
    expected = plain_lnamd(tokens.numpy(), (height, width), degree)
    np.testing.assert_allclose(lnamd(tokens, (height, width), degree), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("degree", [1, 3, 5])
def test_an_image_is_aggregated_by_itself(degree: int) -> None:
    tokens = random_tokens(0, 4, 12, 8)
    alone = torch.cat([lnamd(image[None], (3, 4), degree) for image in tokens])
    torch.testing.assert_close(lnamd(tokens, (3, 4), degree), alone, rtol=0, atol=1e-6)


def test_an_images_offset_and_scale_do_not_matter_but_a_patchs_do() -> None:
    tokens = random_tokens(1, 2, 12, 8)
    expected = lnamd(tokens, (3, 4), 3)
    torch.testing.assert_close(lnamd(4 * tokens + 3, (3, 4), 3), expected, rtol=0, atol=1e-5)
    # A norm per patch would hide this shift; the norm of the whole map must not.
    shifted = tokens.clone()
    shifted[:, 0] += 3
    assert (lnamd(shifted, (3, 4), 3) - expected).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_stored_half_precision_is_aggregated_in_fp32(dtype: torch.dtype) -> None:
    stored = random_tokens(2, 2, 12, 8).to(dtype)
    assert torch.equal(lnamd(stored, (3, 4), 3), lnamd(stored.float(), (3, 4), 3))


def test_a_flat_image_gives_no_nan() -> None:
    assert torch.equal(lnamd(torch.full((1, 12, 8), 7.0), (3, 4), 3), torch.zeros(1, 12, 8))


@given(st.lists(st.sampled_from([1, 3, 5]), min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 999))
def test_the_papers_aggregation_is_a_pass_for_each_degree(degrees: list[int], images: int, seed: int) -> None:
    tokens = random_tokens(seed, images, 12, 8)
    aggregation = Aggregation((3, 4), degrees)
    comparisons = list(aggregation(tokens))
    assert aggregation.comparisons == len(comparisons) == len(degrees)
    for degree, vectors in zip(degrees, comparisons, strict=True):
        assert torch.equal(vectors, lnamd(tokens, (3, 4), degree))


@given(st.lists(st.sampled_from([1, 3, 5]), min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 999))
def test_fused_degrees_are_one_pass_of_their_mean_scaled_to_length_1(
    degrees: list[int], images: int, seed: int
) -> None:
    tokens = random_tokens(seed, images, 12, 8)
    aggregation = Aggregation((3, 4), degrees, fuse=True)
    [vectors] = aggregation(tokens)
    assert aggregation.comparisons == 1
    mean = np.mean([plain_lnamd(tokens.numpy(), (3, 4), degree) for degree in degrees], axis=0)
    np.testing.assert_allclose(vectors, mean / np.linalg.norm(mean, axis=2, keepdims=True), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fuse", [False, True])
def test_a_projection_shortens_the_vectors_of_every_pass(fuse: bool) -> None:
    tokens, projection = random_tokens(0, 2, 12, 8).half(), random_tokens(1, 8, 5)
    plain = list(Aggregation((3, 4), (1, 3), fuse)(tokens))
    projected = list(Aggregation((3, 4), (1, 3), fuse, projection)(tokens))
    assert len(projected) == len(plain) == (1 if fuse else 2)
    for short, vectors in zip(projected, plain, strict=True):
        assert short.shape == (2, 12, 5)
        torch.testing.assert_close(short, vectors @ projection, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fuse", [False, True])
def test_a_flat_image_gives_no_nan_in_any_pass(fuse: bool) -> None:
    for vectors in Aggregation((3, 4), (1, 3), fuse)(torch.full((1, 12, 8), 7.0)):
        assert torch.equal(vectors, torch.zeros(1, 12, 8))
