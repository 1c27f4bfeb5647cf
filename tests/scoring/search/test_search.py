"""Both searches against distances in fp64, near-duplicates above all, and what rounding to fewer bits costs."""

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

from pipeline.scoring.musc.lnamd import Aggregation
from pipeline.scoring.musc.mutual import Search, mutual_scores, query_scores
from pipeline.scoring.musc.projection import pca, random_projection
from pipeline.scoring.scorer import Tuning
from pipeline.scoring.search.faiss import FaissSearch
from pipeline.scoring.search.gemm import TILE, GemmSearch
from pipeline.scoring.search.tuning import make_search

Golden = Callable[[str], Mapping[str, NDArray[Any]]]
SEARCHES = [pytest.param(GemmSearch(), id="gemm"), pytest.param(FaissSearch(), id="faiss")]
ROUNDED = ["fp16", "bf16", "int8"]

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


def others(distances: Tensor) -> Tensor:
    """Return the distances (N, P, N) of an image to the others; a search may say anything of it and itself."""
    return distances[~torch.eye(len(distances), dtype=torch.bool)[:, None].expand(distances.shape)]


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=tolerance)


def assert_finds_a_neighbour_at(distance: float, width: int, search: Search, tolerance: float) -> None:
    """Hold both ways of searching to fp64, for three images of which the second is near the first."""
    images = unit_vectors(0, 3, 40, width)
    images[1] = moved(images[0], distance, 1)
    expected = exact(images, images)
    assert_near(others(search.mutual(images)), others(expected), tolerance)
    assert_near(search.nearest(images[:1], images[1:]), expected[:1, :, 1:], tolerance)


def largest_error(dtype: str, images: Tensor) -> float:
    """Return the largest error of both ways of a search between images (N, P, D)."""
    expected = exact(images, images)
    found = GemmSearch(dtype).mutual(images), GemmSearch(dtype).nearest(images, images)
    return max(float(others((distances - expected).abs()).max()) for distances in found)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("shape", SHAPES)
def test_all_pairs_equal_fp64(search: Search, shape: tuple[int, int, int]) -> None:
    images = unit_vectors(0, *shape)
    found = search.mutual(images)
    assert found.shape == (*shape[:2], shape[0]) and found.dtype == torch.float32
    assert_near(others(found), others(exact(images, images)))


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
    assert_near(others(GemmSearch().mutual(images)), others(FaissSearch().mutual(images)))
    assert_near(GemmSearch().nearest(images[:1], images), FaissSearch().nearest(images[:1], images))


@pytest.mark.parametrize("dtype", ["fp32", *ROUNDED])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_distance_of_an_image_to_itself_is_not_computed(dtype: str, shape: tuple[int, int, int]) -> None:
    found = GemmSearch(dtype).mutual(unit_vectors(0, *shape))
    own = torch.arange(len(found))
    assert torch.isinf(found[own, :, own]).all() and torch.isfinite(others(found)).all()


# Widths of real encoders: the products' rounding grows with the width. Images of random vectors lie at about 1 from
# their centre, so that 0.0625 is where squares stop being computed again from differences.
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("width", [16, 384, 1024])
@pytest.mark.parametrize(
    # just above that bound a single distance, a fraction of a patch's score, keeps fewer digits: measured 7e-6 here,
    # and 2e-5 with the largest rounding that was seen (pipeline/scoring/search/refine.py)
    ("distance", "tolerance"),
    [*((d, 1e-5) for d in (0.0, 1e-4, 3e-4, 1e-3, 1e-2, 0.03, 0.032, 0.035, 0.055, 0.1, 0.2)), (0.065, 2e-5)],
)
def test_duplicates_and_near_duplicates_keep_their_distance(
    search: Search, width: int, distance: float, tolerance: float
) -> None:
    assert_finds_a_neighbour_at(distance, width, search, tolerance)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("spread", [1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
def test_the_nearest_of_many_near_duplicates_is_found(search: Search, spread: float) -> None:
    # A plain background: all patches of all images almost the same, their products equal in fp32.
    images = moved(unit_vectors(0, 1, 1, 32).expand(3, 40, 32), spread, 1)
    images[2] = images[0]
    assert_near(others(search.mutual(images)), others(exact(images, images)))
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
    assert_near(others(search.mutual(images)), others(exact(images, images)))


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("kind", ["pca", "random"])
def test_vectors_of_any_length_equal_fp64(search: Search, kind: str, scale: float) -> None:
    projection = random_projection(384, 64) if kind == "random" else pca(unit_vectors(3, 500, 384), 64)
    images = scale * unit_vectors(0, 4, 40, 384) @ projection
    images[1] = images[0] + 0.13 * scale * unit_vectors(1, 40, 64)
    images[2] = images[0] + 1e-3 * unit_vectors(2, 40, 64)
    assert_near(others(search.mutual(images)), others(exact(images, images)))
    assert_near(search.nearest(images[:1], images[1:]), exact(images[:1], images[1:]))


@pytest.mark.parametrize("search", SEARCHES)
@given(st.integers(0, 99), st.sampled_from([0.1, 1.0, 10.0]))
@settings(max_examples=10)
def test_moving_all_vectors_alike_changes_no_distance(search: Search, seed: int, far: float) -> None:
    images = unit_vectors(seed, 3, 30, 384)
    images[1] = moved(images[0], 0.13, seed + 1)
    shift = far * unit_vectors(seed + 2, 384)
    assert_near(others(search.mutual(images + shift)), others(search.mutual(images)))
    left, right = images[:1], images[1:]
    assert_near(search.nearest(left + shift, right + shift), search.nearest(left, right))


@pytest.mark.parametrize("dtype", ROUNDED)
@pytest.mark.parametrize("distance", [0.0, 1e-4, 1e-3, 1e-2])
def test_rounding_keeps_the_distance_of_near_duplicates(dtype: str, distance: float) -> None:
    # From products in fp16 a distance of 0.001 would read as 0.009.
    images = unit_vectors(0, 3, 40, 64)
    images[1] = moved(images[0], distance, 1)
    expected = exact(images[:1], images[1:2])
    assert_near(GemmSearch(dtype).mutual(images)[:1, :, 1:2], expected)
    assert_near(GemmSearch(dtype).nearest(images[:1], images[1:2]), expected)


# What rounding moves a single distance of vectors that lie at 1 from their centre, near ones as much as far ones:
# measured 1.4e-4, 1.3e-3 and 4.4e-3 at most over these, and about twice that is allowed, for other processors' order
# of sums. It is not taken back: to compute all distances below 0.22 again in fp64, as bf16 would need for 1e-5 in the
# mean of a patch's distances, made it slower than fp32 on calm images, whose patches are that near. Real patches lie
# much nearer to their centre than to zero, and their error is as much smaller: the tests of what real tokens look like
# are below, and in test_products.py.
@pytest.mark.parametrize(("dtype", "bound"), [("fp16", 2.8e-4), ("bf16", 2.6e-3), ("int8", 9e-3)])
@pytest.mark.parametrize("width", [64, 1024])
@pytest.mark.parametrize("distance", [0.03, 0.05, 0.07, 0.2, 0.5])
def test_rounding_moves_any_distance_no_more_than_its_bound(
    dtype: str, bound: float, width: int, distance: float
) -> None:
    assert_finds_a_neighbour_at(distance, width, GemmSearch(dtype), bound)


# The queries choose the centre; an image unlike all of them must not be cut to their range, or it seems to be near.
# Measured: 3.4e-5, 4.5e-4 and 3.7e-3, of distances from 0.3 to 1.4.
@pytest.mark.parametrize(("dtype", "bound"), [("fp16", 7e-5), ("bf16", 9e-4), ("int8", 7.5e-3)])
@pytest.mark.parametrize("strange", [0, 20, 40])
def test_references_far_from_all_queries_stay_far(dtype: str, bound: float, strange: int) -> None:
    plain = unit_vectors(0, 1, 1, 384).expand(4, 40, 384)
    queries, references = moved(plain, 0.3, 1), moved(plain, 0.3, 2)
    references[:, :strange] = unit_vectors(3, 4, strange, 384)
    assert_near(GemmSearch(dtype).nearest(queries, references), exact(queries, references), bound)


@pytest.mark.parametrize("dtype", ROUNDED)
@pytest.mark.parametrize("far", [0.1, 1.0, 10.0])
def test_moving_all_vectors_alike_costs_no_digits(dtype: str, far: float) -> None:
    images = moved(unit_vectors(0, 1, 1, 384).expand(3, 40, 384), 0.3, 1)
    before, after = largest_error(dtype, images), largest_error(dtype, images + far * unit_vectors(2, 384))
    assert 0 < after < 1.5 * before  # uncentred, they would be as many times larger as the vectors are


# 5, 13 and 100 are no multiples of 8, in which int8 is multiplied. Measured: 0.05 / sqrt(width) at most.
@pytest.mark.parametrize("shape", [*SHAPES, (3, 13, 64), (2, 8, 64)])
def test_int8_takes_any_number_of_patches(shape: tuple[int, int, int]) -> None:
    assert largest_error("int8", unit_vectors(0, *shape)) < 0.1 / shape[2] ** 0.5


# Measured on this file: 4.9e-5 in fp16 (11 bits), 4.0e-4 in bf16 (8 bits), 2.0e-3 in int8. The bounds are about twice
# that, for other processors' order of sums. Fewer bits that cost nothing at all would mean that the setting is ignored.
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("dtype, bound", [("fp16", 1e-4), ("bf16", 8e-4), ("int8", 4e-3)])
def test_rounding_stays_within_its_bound_of_the_official_code(
    golden: Golden, dtype: str, bound: float, streamed: bool
) -> None:
    arrays = golden("musc_small.npz")
    paper = Aggregation((10, 10), (1, 3, 5))
    layers = []
    for tokens in torch.from_numpy(arrays["tokens"]).unbind(dim=1):
        search = GemmSearch(dtype)
        if streamed:
            blocks = [
                query_scores(
                    tokens[a : a + 4],
                    torch.arange(14)[a : a + 4],
                    ([of] for of in torch.split(tokens, 5)),
                    14,
                    14,
                    paper,
                    0.3,
                    search,
                )
                for a in range(0, 14, 4)
            ]
            layers.append(torch.cat([block.scores for block in blocks]))
        else:
            layers.append(mutual_scores(tokens, paper, 0.3, search))
    error = np.abs(torch.stack(layers).mean(dim=0).numpy() - arrays["patch_scores"]).max()
    assert bound / 20 < error < bound


@pytest.mark.parametrize("dtype", ["fp32", *ROUNDED])
@pytest.mark.parametrize("tile", [1, 150, 5000])
def test_the_size_of_a_tile_changes_nothing(dtype: str, tile: int) -> None:
    images = unit_vectors(0, 7, 40, 48)
    found, expected = GemmSearch(dtype, tile).mutual(images), GemmSearch(dtype).mutual(images)
    assert_near(others(found), others(expected), 0.0 if dtype == "int8" else 2e-6)  # sums of whole numbers are exact
    assert_near(GemmSearch(dtype, tile).nearest(images, images), GemmSearch(dtype).nearest(images, images), 2e-6)


@pytest.mark.parametrize("dtype", ["fp32", *ROUNDED])
def test_a_search_may_be_used_again_for_other_sizes(dtype: str) -> None:
    # It keeps the memory of its products.
    search = GemmSearch(dtype)
    for shape in ((4, 300, 24), (3, 7, 40), (9, 120, 8)):
        images = unit_vectors(1, *shape)
        assert torch.equal(search.mutual(images), GemmSearch(dtype).mutual(images))


@pytest.mark.parametrize("search", [*SEARCHES, *(pytest.param(GemmSearch(dtype), id=dtype) for dtype in ROUNDED)])
def test_a_search_leaves_its_inputs_alone(search: Search) -> None:
    # query_scores searches the same queries again for every block of references.
    images = unit_vectors(0, 3, 40, 16)
    before = images.clone()
    search.mutual(images)
    search.nearest(images[:1], images)
    assert torch.equal(images, before)


def test_what_was_chosen_is_the_search_that_is_made() -> None:
    assert isinstance(make_search(Tuning("gemm", TILE, 1e9, 1e9, "fp32")), GemmSearch)
    assert isinstance(make_search(Tuning("faiss", 0, 1e9, 1e9, "fp32")), FaissSearch)
    images = unit_vectors(0, 5, 40, 16)
    found = make_search(Tuning("gemm", 80, 1e9, 1e9, "bf16")).mutual(images)
    assert torch.equal(found, GemmSearch("bf16", 80).mutual(images))
    assert not torch.equal(found, GemmSearch("fp32", 80).mutual(images))
