"""The search near a patch's own place, against distances in fp64 to the patches of its window and no others."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.plan.squares import around, cut, near_products
from pipeline.scoring.musc.mutual import Search
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.near import LINE, TILE, NearSearch
from pipeline.scoring.search.products import Operand, Products
from tests.scoring.search.test_search import assert_near, exact, moved, others, unit_vectors

Grid = tuple[int, int]
DTYPES = ["fp32", "fp16", "bf16", "int8"]
TOLERANCE = {"fp32": 1e-5, "fp16": 2.8e-4, "bf16": 2.6e-3, "int8": 9e-3}  # as in test_search.py, for width 64
CASES = [((16, 16), 2), ((16, 16), 5), ((7, 11), 1), ((7, 11), 3), ((37, 37), 4), ((1, 9), 2), ((5, 3), 1), ((5, 3), 4)]


def window(grid: Grid, radius: int) -> Tensor:
    """Return which patches (P, P) each patch is compared with."""
    squares = cut(grid, radius)
    sides = []
    for parts in (squares.rows, squares.columns):
        sees = torch.zeros(parts[-1].stop, parts[-1].stop, dtype=torch.bool)
        for i, part in enumerate(parts):
            near = around(parts, i, i)
            sees[part.start : part.stop, near.start : near.stop] = True
        sides.append(sees)
    return (sides[0][:, None, :, None] & sides[1][None, :, None, :]).flatten(0, 1).flatten(1, 2)


def within(queries: Tensor, references: Tensor, sees: Tensor) -> Tensor:
    """Return d (A, P, B) in fp64 to the patches that each patch sees."""
    columns = []
    for reference in references.double():
        distances = [torch.cdist(q, reference, compute_mode="donot_use_mm_for_euclid_dist") for q in queries.double()]
        columns.append(torch.stack([d.masked_fill(~sees, torch.inf).amin(dim=1) for d in distances]))
    return torch.stack(columns, dim=2)


def assert_finds(search: Search, images: Tensor, sees: Tensor, tolerance: float) -> None:
    """Hold both ways of searching to fp64."""
    expected = within(images, images, sees)
    found = search.mutual(images)
    assert found.shape == expected.shape and found.dtype == torch.float32 and found.stride(2) == 1
    own = torch.arange(len(images))
    assert torch.isinf(found[own, :, own]).all()
    assert_near(others(found), others(expected), tolerance)
    found = search.nearest(images[:2], images[1:])
    assert found.shape == (min(2, len(images)), images.shape[1], len(images) - 1) and found.dtype == torch.float32
    assert_near(found, expected[:2, :, 1:], tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("grid", "radius"), CASES)
def test_distances_in_windows_equal_fp64(dtype: str, grid: Grid, radius: int) -> None:
    images = unit_vectors(0, 3 if grid == (37, 37) else 9, grid[0] * grid[1], 64)
    assert_finds(NearSearch(dtype, grid, radius), images, window(grid, radius), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("images", "tile"), [(19, 1), (19, 200), (LINE + 3, TILE), (17, 1)])
def test_tiles_that_cut_the_images_anyhow_equal_fp64(dtype: str, images: int, tile: int) -> None:
    # More images than a line of LINE values, tiles of 8, 16 and all, and a tile of one image.
    vectors = unit_vectors(0, images, 20, 64)
    assert_finds(NearSearch(dtype, (4, 5), 1, tile), vectors, window((4, 5), 1), TOLERANCE[dtype])
    found, expected = NearSearch(dtype, (4, 5), 1, tile).mutual(vectors), NearSearch(dtype, (4, 5), 1).mutual(vectors)
    assert_near(others(found), others(expected), 0.0 if dtype == "int8" else 2e-6)  # sums of whole numbers are exact


@given(st.data())
@settings(max_examples=30)
def test_a_window_holds_all_patches_within_the_radius(data: st.DataObject) -> None:
    grid = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    radius, patches = data.draw(st.integers(1, 10)), grid[0] * grid[1]
    images = unit_vectors(data.draw(st.integers(0, 99)), 3, patches, 16)
    places = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1]))
    close = (places[:, None] - places[None]).abs().amax(dim=2) <= radius
    search = NearSearch("fp32", grid, radius)
    for found, expected in (
        (others(search.mutual(images)), others(within(images, images, close))),
        (search.nearest(images[:1], images), within(images[:1], images, close)),
    ):
        assert (found.double() <= expected + 1e-5).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("grid", "radius"), [((8, 8), 4), ((8, 8), 8), ((5, 3), 20), ((1, 1), 1), ((2, 9), 5)])
def test_windows_of_the_whole_image_change_nothing(dtype: str, grid: Grid, radius: int) -> None:
    images = unit_vectors(0, 5, grid[0] * grid[1], 48)
    images[3] = moved(images[1], 1e-3, 1)
    assert near_products(grid, radius) == images.shape[1] ** 2
    near, whole = NearSearch(dtype, grid, radius), GemmSearch(dtype)
    assert_near(others(near.mutual(images)), others(whole.mutual(images)), 2e-6)
    assert_near(near.nearest(images[:2], images), whole.nearest(images[:2], images), 2e-6)


def shifted(images: Tensor, grid: Grid, by: int) -> Tensor:
    """Return images whose patches moved, with those at the other end in their place."""
    return images.view(-1, *grid, images.shape[2]).roll((by, by), (1, 2)).flatten(1, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by", [0, 1, 3])
@pytest.mark.parametrize("distance", [0.0, 1e-4, 1e-2])
def test_near_duplicates_keep_their_distance_where_the_window_holds_them(dtype: str, by: int, distance: float) -> None:
    grid, radius = (9, 7), 2
    images = unit_vectors(0, 4, 63, 64)
    images[1] = moved(shifted(images[:1], grid, by)[0], distance, 1)
    images[3] = images[2]
    expected = within(images, images, window(grid, radius))
    is_small = (expected < 0.02) & ~torch.eye(4, dtype=torch.bool)[:, None]
    # A window reaches 2 patches or more: some of the patches that moved by 3 are still in it
    assert 0 < is_small[0, :, 1].sum() < 40 if by == 3 else is_small[0, :, 1].sum() >= 30
    search = NearSearch(dtype, grid, radius)
    for found in (search.mutual(images), search.nearest(images, images)):
        assert_near(found[is_small], expected[is_small])
        assert_near(others(found), others(expected), TOLERANCE[dtype])


@pytest.mark.parametrize("spread", [1e-4, 3e-3, 1e-2])
@pytest.mark.parametrize("images", [3, 12])
def test_the_nearest_of_many_near_duplicates_in_the_window_is_found(spread: float, images: int) -> None:
    # All patches of all images almost the same: all distances are taken again, few and many of a square at once.
    vectors = moved(unit_vectors(0, 1, 1, 32).expand(images, 77, 32), spread, 1)
    vectors[2] = vectors[0]
    assert_finds(NearSearch("fp32", (7, 11), 2), vectors, window((7, 11), 2), 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_that_is_alone_is_at_no_distance(dtype: str) -> None:
    images = unit_vectors(0, 1, 12, 16)
    assert torch.isinf(NearSearch(dtype, (4, 3), 1).mutual(images)).all()
    assert NearSearch(dtype, (4, 3), 1).nearest(images, images).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_order_of_images_changes_nothing_else(dtype: str) -> None:
    images, search = unit_vectors(0, 19, 20, 48), NearSearch(dtype, (4, 5), 1, 40)
    order = torch.randperm(19, generator=torch.Generator().manual_seed(0))
    found, expected = search.mutual(images[order]), search.mutual(images)[order][:, :, order]
    assert_near(others(found), others(expected), 2e-6)


def test_patches_beyond_the_window_are_not_found() -> None:
    # An image and its copy with every patch moved far away: whole search finds them, this one must not.
    grid = (12, 12)
    images = unit_vectors(0, 2, 144, 32)
    images[1] = shifted(images[:1], grid, 6)[0]
    assert others(GemmSearch().mutual(images)).max() < 1e-6
    assert others(NearSearch("fp32", grid, 2).mutual(images)).min() > 0.2


class Counting(Products):
    """Counts the multiplied pairs of vectors, of images that are there."""

    pairs = 0

    def __call__(self, left: Operand, right: Operand) -> Tensor:
        Counting.pairs += left.norms.numel() * right.norms.numel()
        return super().__call__(left, right)


@pytest.mark.parametrize(("grid", "radius"), [((16, 16), 2), ((24, 24), 3), ((7, 11), 2)])
def test_pairs_are_multiplied_once(grid: Grid, radius: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.scoring.search.near.Products", Counting)
    images, pairs = unit_vectors(0, 24, grid[0] * grid[1], 4), near_products(grid, radius)
    for tile in (TILE, 1):  # one of all images, and tiles of 8
        monkeypatch.setattr(Counting, "pairs", 0)
        search = NearSearch("fp32", grid, radius, tile)
        search.nearest(images, images)
        assert Counting.pairs == 24 * 24 * pairs
        monkeypatch.setattr(Counting, "pairs", 0)
        search.mutual(images)
        # Half, and of a square with itself somewhat more: a row of it with itself is multiplied whole.
        assert 0.5 < Counting.pairs / (24 * 24 * pairs) < 0.56


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_search_may_be_used_again_and_leaves_its_inputs_alone(dtype: str) -> None:
    search = NearSearch(dtype, (6, 5), 1)
    for images in (unit_vectors(0, 70, 30, 24), unit_vectors(1, 3, 30, 40)):
        before = images.clone()
        found = search.mutual(images)
        search.nearest(images[:1], images)
        assert torch.equal(images, before)
        assert torch.equal(found, NearSearch(dtype, (6, 5), 1).mutual(images))


def test_smooth_images_lose_nothing_to_the_window() -> None:
    places = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"), dim=-1).flatten(0, 1)
    smooth = torch.exp(-(places[:, None] - places[None]).square().sum(dim=2) / 4)  # each patch is like those around it
    images = F.normalize(smooth[None] + 0.1 * unit_vectors(0, 5, 64, 64), dim=-1)
    assert_near(others(NearSearch("fp32", (8, 8), 1).mutual(images)), others(exact(images, images)))
