"""Mutual scoring against the official code's arrays, and what must hold for any images and any cut into blocks."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.method import Search, mutual_scores, query_scores
from pipeline.method.mutual import interval_average
from pipeline.search import GemmSearch
from pipeline.search.faiss import FaissSearch

Array = NDArray[Any]
Golden = Callable[[str], Mapping[str, Array]]
SEARCHES = [pytest.param(GemmSearch(), id="gemm"), pytest.param(FaissSearch(), id="faiss")]
GRID = (3, 2)


def random_tokens(seed: int, images: int, duplicates: bool = False) -> torch.Tensor:
    """Return tokens (N, P, D) on GRID; with duplicates, the first and the last image are the same."""
    tokens = np.random.default_rng(seed).normal(size=(images, GRID[0] * GRID[1], 16)).astype(np.float32)
    if duplicates:
        tokens[-1] = tokens[0]
    return torch.from_numpy(tokens)


def cut(tokens: torch.Tensor, cuts: set[int]) -> list[tuple[int, torch.Tensor]]:
    """Return the blocks between cuts, each with its position; cuts beyond the end are left out."""
    bounds = [0, *sorted(c for c in cuts if c < len(tokens)), len(tokens)]
    return [(start, tokens[start:stop]) for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("degree", [1, 3, 5])
def test_scores_of_each_layer_and_degree_equal_the_official_code(golden: Golden, degree: int, search: Search) -> None:
    arrays = golden("musc_small.npz")
    tokens = torch.from_numpy(arrays["tokens"])
    for layer in range(tokens.shape[1]):
        scores = mutual_scores(tokens[:, layer], (10, 10), [degree], 0.3, search)
        np.testing.assert_allclose(scores, arrays[f"msm_r{degree}"][:, layer], rtol=0, atol=1e-5)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("streamed", [False, True])
def test_patch_scores_equal_the_official_code(golden: Golden, streamed: bool, search: Search) -> None:
    arrays = golden("musc_small.npz")
    layers = []
    for tokens in torch.from_numpy(arrays["tokens"]).unbind(dim=1):
        if streamed:
            # 14 images in blocks of 4 and 5: both end in a smaller block
            blocks = [
                query_scores(
                    tokens[a : a + 4], a, torch.split(tokens, 5), len(tokens), (10, 10), [1, 3, 5], 0.3, search
                )
                for a in range(0, len(tokens), 4)
            ]
            layers.append(torch.cat(blocks))
        else:
            layers.append(mutual_scores(tokens, (10, 10), [1, 3, 5], 0.3, search))
    np.testing.assert_allclose(torch.stack(layers).mean(dim=0), arrays["patch_scores"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("search", SEARCHES)
@given(st.data())
@settings(max_examples=20)
def test_permuting_the_images_permutes_the_scores(search: Search, data: st.DataObject) -> None:
    images = data.draw(st.integers(2, 9))
    order = data.draw(st.permutations(range(images)))
    tokens = random_tokens(data.draw(st.integers(0, 999)), images, data.draw(st.booleans()))
    expected = mutual_scores(tokens, GRID, [1, 3], 0.3, search)[order]
    torch.testing.assert_close(mutual_scores(tokens[order], GRID, [1, 3], 0.3, search), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("search", SEARCHES)
@given(st.data())
@settings(max_examples=20)
def test_any_cut_of_queries_and_references_gives_the_scores_of_the_whole(search: Search, data: st.DataObject) -> None:
    tokens = random_tokens(data.draw(st.integers(0, 999)), data.draw(st.integers(2, 9)), data.draw(st.booleans()))
    interval = data.draw(st.sampled_from([0.1, 0.3, 1.0]))
    cuts = st.sets(st.integers(1, 8))
    queries, references = cut(tokens, data.draw(cuts)), [block for _, block in cut(tokens, data.draw(cuts))]
    scores = [
        query_scores(block, first, iter(references), len(tokens), GRID, [1, 3], interval, search)
        for first, block in queries
    ]
    expected = mutual_scores(tokens, GRID, [1, 3], interval, search)
    torch.testing.assert_close(torch.cat(scores), expected, rtol=0, atol=1e-6)


def test_a_patch_with_no_like_in_other_images_scores_highest() -> None:
    tokens = random_tokens(0, 1).repeat(8, 1, 1) + 0.1 * random_tokens(1, 8)
    tokens[5, 4] = -tokens[5, 4]
    assert int(mutual_scores(tokens, GRID, [1], 0.3, GemmSearch()).argmax()) == 5 * 6 + 4


@pytest.mark.parametrize("images", [0, 1])
def test_fewer_than_two_images_are_an_error(images: int) -> None:
    tokens = random_tokens(0, 2)[:images]
    with pytest.raises(ValueError, match=f"at least two images.*got {images}"):
        mutual_scores(tokens, GRID, [1], 0.3, GemmSearch())
    with pytest.raises(ValueError, match=f"at least two images.*got {images}"):
        query_scores(tokens, 0, [tokens], images, GRID, [1], 0.3, GemmSearch())


@pytest.mark.parametrize("total", [3, 5])
@pytest.mark.parametrize("block", [1, 2, 4])
def test_another_number_of_references_than_promised_is_an_error(total: int, block: int) -> None:
    # Too few would leave distances that were never written.
    tokens = random_tokens(0, 4)
    with pytest.raises(ValueError, match=f"{total} reference images were promised, 4 came"):
        query_scores(tokens[:1], 0, torch.split(tokens, block), total, GRID, [1], 0.3, GemmSearch())


@given(st.integers(2, 12), st.integers(1, 3), st.sampled_from([0.01, 0.1, 0.3, 0.5, 1.0]), st.integers(0, 999))
def test_the_interval_average_equals_a_plain_version(total: int, queries: int, interval: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    own = generator.choice(total, size=min(queries, total), replace=False)
    distances = generator.uniform(0.1, 2, size=(len(own), 4, total)).astype(np.float32)
    expected = np.zeros(distances.shape[:2])
    for image, itself in enumerate(own):
        others = np.sort(np.delete(distances[image], itself, axis=1), axis=1)
        expected[image] = others[:, : max(1, int(interval * (total - 1)))].mean(axis=1)
    averages = interval_average(torch.from_numpy(distances), torch.from_numpy(own), interval)
    np.testing.assert_allclose(averages, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("total", [2, 3, 4])
def test_small_categories_average_the_nearest_image_and_never_themselves(total: int) -> None:
    # int(0.3 * (N - 1)) is 0 here: the mean of nothing would be NaN, and the distance to itself would be 0.
    distances = torch.full((total, 1, total), 5.0)
    distances[:, 0].fill_diagonal_(0)
    distances[0, 0, 1] = 2.0
    expected = torch.tensor([[2.0]] + [[5.0]] * (total - 1))
    assert torch.equal(interval_average(distances, torch.arange(total), 0.3), expected)
