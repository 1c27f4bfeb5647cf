"""The search by Triton's kernels, in Triton's interpreter, against distances in fp64 and the official code's arrays."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.scoring.musc.lnamd import Aggregation
from pipeline.scoring.musc.mutual import mutual_scores
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.near import NearSearch
from tests.conftest import not_run
from tests.scoring.search.test_near import assert_finds, window
from tests.scoring.search.test_search import assert_near, exact, moved, others, unit_vectors

try:
    from pipeline.scoring.search.fused import FusedNearSearch, FusedSearch
except ModuleNotFoundError as missing:  # torch brings Triton on Linux only
    if missing.name != "triton":
        raise
    pytest.skip("NOT RUN: there is no Triton here", allow_module_level=True)

TOLERANCE = 2.8e-4  # of fp16, as in test_search.py
SAME = 2e-6  # sums of the same rounded vectors in another order

# (N, P, D): two images, single patches, patches that do not fill a tile or the width a step, and more than a tile
SHAPES = [(2, 5, 8), (2, 1, 16), (5, 40, 64), (3, 70, 72), (4, 33, 130)]


@pytest.fixture(autouse=True)
def interpreted() -> None:
    import triton

    if not triton.knobs.runtime.interpret:
        not_run("Triton was imported before tests/conftest.py asked for its interpreter")


@pytest.mark.parametrize("tile", [32, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_all_pairs_equal_fp64(shape: tuple[int, int, int], tile: int) -> None:
    images = unit_vectors(0, *shape)
    found, expected = FusedSearch(tile).mutual(images), exact(images, images)
    own = torch.arange(len(images))
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert torch.isinf(found[own, :, own]).all()
    assert_near(others(found), others(expected), TOLERANCE)
    assert_near(FusedSearch(tile).nearest(images[:1], images), expected[:1], TOLERANCE)


def test_references_may_have_other_patches_than_queries() -> None:
    queries, references = unit_vectors(0, 2, 37, 48), unit_vectors(1, 3, 66, 48)
    assert_near(FusedSearch(32).nearest(queries, references), exact(queries, references), TOLERANCE)


@pytest.mark.parametrize("tile", [32, 128])
def test_products_of_the_same_rounded_vectors_give_the_same(tile: int) -> None:
    images = unit_vectors(0, 4, 45, 96)
    images[3] = moved(images[1], 1e-3, 1)
    plain, fused = GemmSearch("fp16"), FusedSearch(tile)
    assert_near(others(fused.mutual(images)), others(plain.mutual(images)), SAME)
    assert_near(fused.nearest(images[:2], images), plain.nearest(images[:2], images), SAME)


@pytest.mark.parametrize("distance", [0.0, 1e-4, 1e-2])
def test_near_duplicates_keep_their_distance(distance: float) -> None:
    images = unit_vectors(0, 3, 40, 64)
    images[1] = moved(images[0], distance, 1)
    expected = exact(images, images)
    assert_near(FusedSearch(32).mutual(images)[:1, :, 1:2], expected[:1, :, 1:2])
    assert_near(FusedSearch(32).nearest(images[:1], images[1:2]), expected[:1, :, 1:2])


@pytest.mark.parametrize(
    ("grid", "radius", "images"), [((4, 5), 1, 3), ((5, 4), 2, 3), ((1, 9), 2, 3), ((3, 2), 4, 3), ((2, 3), 1, 35)]
)
def test_distances_in_windows_equal_fp64(grid: tuple[int, int], radius: int, images: int) -> None:
    vectors = unit_vectors(0, images, grid[0] * grid[1], 64)
    search = FusedNearSearch(grid, radius, 32)
    assert_finds(search, vectors, window(grid, radius), TOLERANCE)
    plain = NearSearch("fp16", grid, radius)
    assert_near(others(search.mutual(vectors)), others(plain.mutual(vectors)), SAME)


def test_near_duplicates_keep_their_distance_in_the_window() -> None:
    grid = (4, 5)
    images = unit_vectors(0, 3, 20, 64)
    images[1] = moved(images[0], 1e-3, 1)
    expected = exact(images, images)[:1, :, 1:2]
    assert_near(FusedNearSearch(grid, 1, 32).mutual(images)[:1, :, 1:2], expected)


def test_scores_stay_within_their_bound_of_the_official_code(
    golden: Callable[[str], Mapping[str, NDArray[Any]]],
) -> None:
    arrays = golden("musc_small.npz")
    paper, search = Aggregation((10, 10), (1, 3, 5)), FusedSearch(128)
    layers = [mutual_scores(of, paper, 0.3, search) for of in torch.from_numpy(arrays["tokens"]).unbind(dim=1)]
    error = np.abs(torch.stack(layers).mean(dim=0).numpy() - arrays["patch_scores"]).max()
    assert error < 1e-4  # of fp16, as in test_search.py
