"""Both searches against distances in fp64, near-duplicates above all, and what half precision costs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import SearchConfig
from pipeline.method import Search, mutual_scores, query_scores
from pipeline.search import GemmSearch, chosen_kind, make_search
from pipeline.search.faiss import FaissSearch
from pipeline.search.gemm import TILE

Golden = Callable[[str], Mapping[str, NDArray[Any]]]
SEARCHES = [pytest.param(GemmSearch(), id="gemm"), pytest.param(FaissSearch(), id="faiss")]
HALVES = [pytest.param(torch.float16, id="fp16"), pytest.param(torch.bfloat16, id="bf16")]

# (N, P, D): two images, single patches, patches that do not divide a tile of several images, and more than a tile.
SHAPES = [(2, 5, 8), (2, 1, 16), (14, 100, 48), (7, TILE // 3 - 1, 16), (3, TILE + 7, 8)]


def unit_vectors(seed: int, *shape: int) -> Tensor:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return F.normalize(torch.from_numpy(values), dim=-1)


def moved(vectors: Tensor, distance: float, seed: int) -> Tensor:
    """Return vectors of length 1, about `distance` away."""
    return F.normalize(vectors + distance * unit_vectors(seed, *vectors.shape), dim=-1)


def exact(queries: Tensor, references: Tensor) -> Tensor:
    """Return d (A, P, B) in fp64, from differences and not from products."""
    columns = [
        torch.stack(
            [torch.cdist(q, r, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1) for q in queries.double()]
        )
        for r in references.double()
    ]
    return torch.stack(columns, dim=2)


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("shape", SHAPES)
def test_all_pairs_equal_fp64(search: Search, shape: tuple[int, int, int]) -> None:
    images = unit_vectors(0, *shape)
    assert_near(search.mutual(images), exact(images, images))


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("queries, references", [(1, 1), (1, 5), (5, 1), (4, 7)])
def test_blocks_of_any_size_equal_fp64(search: Search, queries: int, references: int) -> None:
    left, right = unit_vectors(0, queries, TILE // 3 - 1, 16), unit_vectors(1, references, TILE // 3 - 1, 16)
    found = search.nearest(left, right)
    assert found.shape == (queries, TILE // 3 - 1, references) and found.dtype == torch.float32
    assert_near(found, exact(left, right))


@pytest.mark.parametrize("shape", SHAPES)
def test_both_searches_agree(shape: tuple[int, int, int]) -> None:
    images = unit_vectors(0, *shape)
    images[-1] = moved(images[0], 3e-4, 1)
    assert_near(GemmSearch().mutual(images), FaissSearch().mutual(images))
    assert_near(GemmSearch().nearest(images[:1], images), FaissSearch().nearest(images[:1], images))


# Widths of real encoders: the products' rounding grows with the width, and about 0.03 is where squares stop being
# computed again from differences.
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("width", [16, 384, 1024])
@pytest.mark.parametrize(
    # just above the bound of 0.032 a single distance, a fraction of a patch's score, keeps fewer digits
    ("distance", "tolerance"),
    [*((d, 1e-5) for d in (0.0, 1e-4, 3e-4, 1e-3, 1e-2, 0.03, 0.1)), (0.032, 3e-5), (0.035, 3e-5)],
)
def test_duplicates_and_near_duplicates_keep_their_distance(
    search: Search, width: int, distance: float, tolerance: float
) -> None:
    images = unit_vectors(0, 3, 40, width)
    images[1] = moved(images[0], distance, 1)
    expected = exact(images, images)
    assert_near(search.mutual(images), expected, tolerance)
    assert_near(search.nearest(images[:1], images[1:]), expected[:1, :, 1:], tolerance)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("spread", [1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
def test_the_nearest_of_many_near_duplicates_is_found(search: Search, spread: float) -> None:
    # A plain background: all patches of all images almost the same, their products equal in fp32.
    images = moved(unit_vectors(0, 1, 1, 32).expand(3, 40, 32), spread, 1)
    images[2] = images[0]
    assert_near(search.mutual(images), exact(images, images))
    assert_near(search.nearest(images[:1], images[1:]), exact(images[:1], images[1:]))


@pytest.mark.parametrize("search", SEARCHES)
@given(st.data())
@settings(max_examples=20)
def test_any_mixture_of_distances_equals_fp64(search: Search, data: st.DataObject) -> None:
    seed, patches = data.draw(st.integers(0, 999)), data.draw(st.integers(1, 30))
    images = unit_vectors(seed, data.draw(st.integers(2, 6)), patches, 24)
    for copy in range(1, len(images)):
        distance = data.draw(st.sampled_from([None, 0.0, 1e-4, 1e-3, 0.05, 0.5]))
        if distance is not None:
            images[copy] = moved(images[copy - 1], distance, seed + copy)
    assert_near(search.mutual(images), exact(images, images))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("distance", [0.0, 1e-4, 1e-3, 0.07])
def test_half_precision_keeps_the_distance_of_near_duplicates(dtype: torch.dtype, distance: float) -> None:
    # From products in fp16 a distance of 0.001 would read as 0.009.
    images = unit_vectors(0, 3, 40, 64)
    images[1] = moved(images[0], distance, 1)
    expected = exact(images[:1], images[1:2])
    assert_near(GemmSearch(dtype).mutual(images)[:1, :, 1:2], expected)
    assert_near(GemmSearch(dtype).nearest(images[:1], images[1:2]), expected)


# Measured on this file: 2.2e-4 in fp16 (11 bits), 1.6e-3 in bf16 (8 bits). The bounds are about twice that, for other
# processors' order of sums. Half precision that cost nothing at all would mean that the setting is ignored.
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("dtype, bound", [(torch.float16, 5e-4), (torch.bfloat16, 3.5e-3)])
def test_half_precision_stays_within_its_bound_of_the_official_code(
    golden: Golden, dtype: torch.dtype, bound: float, streamed: bool
) -> None:
    arrays = golden("musc_small.npz")
    layers = []
    for tokens in torch.from_numpy(arrays["tokens"]).unbind(dim=1):
        if streamed:
            scores = query_scores(tokens, 0, [tokens], 14, (10, 10), [1, 3, 5], 0.3, GemmSearch(dtype))
        else:
            scores = mutual_scores(tokens, (10, 10), [1, 3, 5], 0.3, GemmSearch(dtype))
        layers.append(scores)
    error = np.abs(torch.stack(layers).mean(dim=0).numpy() - arrays["patch_scores"]).max()
    assert bound / 20 < error < bound


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_leaves_its_inputs_alone(search: Search) -> None:
    # query_scores searches the same queries again for every block of references.
    images = unit_vectors(0, 3, 40, 16)
    before = images.clone()
    search.mutual(images)
    search.nearest(images[:1], images)
    assert torch.equal(images, before)


def test_settings_name_the_search_and_its_precision() -> None:
    assert chosen_kind(SearchConfig(kind="auto")) == "gemm"
    assert isinstance(make_search(SearchConfig(kind="auto")), GemmSearch)
    assert isinstance(make_search(SearchConfig(kind="faiss")), FaissSearch)
    images = unit_vectors(0, 2, 40, 16)
    found = make_search(SearchConfig(kind="gemm", dtype="bf16")).mutual(images)
    assert torch.equal(found, GemmSearch(torch.bfloat16).mutual(images))
