"""Patches that do not count change nothing: scores are those of the patches that do, for every preset and search."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config import ScoreConfig
from pipeline.plan.units import Members, Unit
from pipeline.scoring.counted import counted, filled
from pipeline.scoring.lakescore.cleaning import clean, pooled, worst
from pipeline.scoring.lakescore.descriptor import Descriptor
from pipeline.scoring.musc.lnamd import lnamd
from pipeline.scoring.musc.mutual import Search
from pipeline.scoring.scorer import CategoryFeatures, FeatureRef, Layer, make_scorer
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.near import NearSearch

CANVAS, WIDTH, LAYERS = (4, 5), 8, (2, 5)
PATCHES = CANVAS[0] * CANVAS[1]
GRIDS = [(4, 3), (2, 5), (4, 3)] * 6  # none of them is the canvas that holds all, and one unit does not hold all
WHOLE = 8  # a radius beyond which no patch of the canvas lies
TIGHT = 1e-5


def images(seed: int = 0) -> list[NDArray[np.float32]]:
    """Return tokens (L, rows, columns, D) of images of GRIDS that are much alike."""
    generator = np.random.default_rng(seed)
    usual = generator.normal(size=(len(LAYERS), *CANVAS, WIDTH))
    return [
        (usual[:, :rows, :columns] + generator.normal(0, 0.3, (len(LAYERS), rows, columns, WIDTH))).astype(np.float32)
        for rows, columns in GRIDS
    ]


def on_canvas(of: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return tokens (N, L, P, D) on the canvas, as the store reads them."""
    found = np.full((len(of), len(LAYERS), *CANVAS, WIDTH), np.nan, np.float32)
    for image, tokens in zip(found, of, strict=True):
        image[:, : tokens.shape[1], : tokens.shape[2]] = tokens
    return found.reshape(len(of), len(LAYERS), PATCHES, WIDTH)


def joined(of: NDArray[np.float32]) -> Tensor:
    """Return the layers (N, P, L * D) of tokens (N, L, P, D) side by side."""
    return torch.from_numpy(np.concatenate(list(of.transpose(1, 0, 2, 3)), axis=2))


def own_places(grid: tuple[int, int]) -> NDArray[np.int64]:
    """Return where the patches of an image lie on the canvas."""
    return np.arange(PATCHES).reshape(CANVAS)[: grid[0], : grid[1]].ravel()


def test_all_count_of_tokens_without_a_nan() -> None:
    tokens = torch.ones(2, 6, 3)
    assert counted(tokens) is None and filled(tokens, None, (2, 3)) is tokens
    tokens[1, 4] = torch.nan
    found = counted(tokens)
    assert found is not None and found.tolist() == [[True] * 6, [True] * 4 + [False, True]]


def test_what_does_not_count_takes_the_vector_of_the_nearest_patch_that_does() -> None:
    vectors = torch.arange(12.0).view(1, 12, 1).repeat(2, 1, 1)
    counts = torch.zeros(2, 3, 4, dtype=torch.bool)
    counts[0, :2, :3] = True
    counts[1, 2, 3] = True
    found = filled(vectors, counts.view(2, 12), (3, 4))[..., 0]
    assert found[0].tolist() == [0, 1, 2, 2, 4, 5, 6, 6, 4, 5, 6, 6] and found[1].tolist() == [11] * 12
    assert vectors[0, :, 0].tolist() == list(range(12))
    with pytest.raises(ValueError, match="no patch that counts"):
        filled(vectors, torch.zeros(2, 12, dtype=torch.bool), (3, 4))


@pytest.mark.parametrize("degree", [1, 3, 5])
def test_lnamd_of_an_image_smaller_than_the_grid_is_that_of_the_image_alone(degree: int) -> None:
    of = images()
    found = lnamd(torch.from_numpy(on_canvas(of)[:, 0]), CANVAS, degree)
    assert not found.isnan().any()
    for image, tokens, grid in zip(found, of, GRIDS, strict=True):
        alone = lnamd(torch.from_numpy(tokens[:1].reshape(1, -1, WIDTH)), grid, degree)[0]
        torch.testing.assert_close(image[own_places(grid)], alone, rtol=0, atol=1e-6)


def test_holes_within_an_image_are_as_what_lies_outside_of_it() -> None:
    tokens = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 4, WIDTH)).astype(np.float32))
    tokens[0, 1, 1] = torch.nan
    found = lnamd(tokens.view(1, 12, WIDTH), (3, 4), 3)[0].view(3, 4, WIDTH)
    values = tokens[0][~tokens[0, ..., 0].isnan()]
    normed = ((tokens[0] - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()).nan_to_num(0)
    expected = torch.nn.functional.normalize(normed[:2, :2].sum(dim=(0, 1)), dim=0)
    torch.testing.assert_close(found[0, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("search", [GemmSearch(), NearSearch("fp32", CANVAS, WHOLE)], ids=["gemm", "near"])
def test_a_search_finds_what_one_over_the_patches_that_count_does(search: Search) -> None:
    of = images()
    [vectors] = Descriptor(CANVAS, len(LAYERS))(joined(on_canvas(of)))
    mutual, nearest = search.mutual(vectors), search.nearest(vectors[:2], vectors[2:])
    for one, grid in enumerate(GRIDS):
        for other, beside in enumerate(GRIDS):
            if one == other:
                continue
            alone = torch.cdist(vectors[one, own_places(grid)], vectors[other, own_places(beside)]).amin(dim=1)
            torch.testing.assert_close(mutual[one, own_places(grid), other], alone, rtol=0, atol=TIGHT)
            if one < 2 <= other:
                torch.testing.assert_close(nearest[one, own_places(grid), other - 2], alone, rtol=0, atol=TIGHT)


def scored(preset: str, operations: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return patch scores (N, P) and image scores (N,) of images of two grids, each all the others' reference."""
    settings: dict[str, Any] = {"preset": preset} | ({"variance": 0.9} if preset == "subspace" else {})
    config = ScoreConfig.model_validate({"input": {"uri": "in"}, "output": {"uri": "out"}, "method": settings})
    tokens = on_canvas(images())
    scorer = make_scorer(config, Layer((3, 3), WIDTH, 4, len(LAYERS)))  # the usual grid is another one
    refs: list[FeatureRef] = [("f", row) for row in range(len(tokens))]
    done: list[list[tuple[Unit, NDArray[Any]]]] = []  # of each pass
    features = CategoryFeatures(
        refs,
        refs,
        np.arange(len(refs)),
        np.empty((0, 2), np.int64),
        CANVAS,
        lambda wanted, layer: tokens[[row for _, row in wanted], LAYERS.index(layer)],
        lambda of_pass, of: [found for unit, found in done[of_pass] if unit.layers == of.layers],
    )
    members = {"nut": Members(len(refs), len(refs), len(refs), "d", CANVAS)}
    for of_pass in range(scorer.passes):
        units = sorted(scorer.units(of_pass, members, LAYERS, 1e9, operations), key=lambda unit: unit.start)
        done.append([(unit, scorer.score(of_pass, unit, features, scorer.untuned("cpu"), "cpu")) for unit in units])
    assert (len({(unit.start, unit.stop) for unit, _ in done[-1]}) > 1) == (operations == 1)
    by_layers: dict[tuple[int, ...], list[NDArray[Any]]] = {}
    for unit, found in done[-1]:
        by_layers.setdefault(unit.layers, []).append(found)
    combined = scorer.combine([np.concatenate(parts, axis=1) for parts in by_layers.values()])
    of_images = []
    for row, grid in enumerate(GRIDS):
        own = combined[:, row : row + 1, own_places(grid)]
        of_images.append(scorer.image_scores(own, own[0].max(axis=1))[0, 0])
        outside = np.setdiff1d(np.arange(PATCHES), own_places(grid))
        assert not combined[0, row, outside].any()
    return combined[0], np.array(of_images)


def pairs(vectors: Sequence[Tensor]) -> list[list[NDArray[Any]]]:
    """Return the distances (P,) of each image's patches to the nearest of each other image, in fp64."""
    return [
        [torch.cdist(one.double(), other.double()).amin(dim=1).numpy() for other in vectors if other is not one]
        for one in vectors
    ]


def lowest(distances: Sequence[NDArray[Any]], share: float) -> NDArray[Any]:
    """Return the mean (P,) of the lowest distances."""
    rising = np.sort(np.stack(distances), axis=0)
    found: NDArray[Any] = rising[: max(1, int(share * len(rising)))].mean(axis=0)
    return found


def alone(tokens: NDArray[np.float32], grid: tuple[int, int], layer: int, degree: int) -> Tensor:
    return lnamd(torch.from_numpy(tokens[layer : layer + 1].reshape(1, -1, WIDTH)), grid, degree)[0]


@pytest.mark.parametrize("operations", [1.0, 1e15], ids=["units", "whole"])
def test_paper_scores_are_those_of_each_pair_alone(operations: float) -> None:
    of, total = images(), [np.zeros(rows * columns) for rows, columns in GRIDS]
    for layer in range(len(LAYERS)):
        for degree in (1, 3, 5):
            vectors = [alone(tokens, grid, layer, degree) for tokens, grid in zip(of, GRIDS, strict=True)]
            for image, distances in enumerate(pairs(vectors)):
                total[image] += lowest(distances, 0.3) / (3 * len(LAYERS))
    scores, of_images = scored("paper", operations)
    for row, (grid, expected) in enumerate(zip(GRIDS, total, strict=True)):
        np.testing.assert_allclose(scores[row, own_places(grid)], expected, rtol=0, atol=TIGHT)
    np.testing.assert_allclose(of_images, [expected.max() for expected in total], rtol=0, atol=TIGHT)


@pytest.mark.parametrize("operations", [1.0, 1e15], ids=["units", "whole"])
def test_lakescore_scores_are_those_of_each_pair_alone(operations: float) -> None:
    of = images()
    vectors = []
    for tokens, grid in zip(of, GRIDS, strict=True):
        [found] = Descriptor(grid, len(LAYERS))(joined(tokens.reshape(1, len(LAYERS), -1, WIDTH)))
        vectors.append(found[0])
    distances = pairs(vectors)
    first = torch.tensor([float(pooled(torch.from_numpy(lowest(rows, 0.3))[None])) for rows in distances])
    expected = []
    for image, rows in enumerate(distances):
        others = [other for other in range(len(of)) if other != image]
        choices = [lowest(rows, 0.1)]
        for tolerance in (1.0, 2.0):
            stays = clean(first, tolerance).tolist()
            kept = [row for row, other in zip(rows, others, strict=True) if stays[other]]
            choices.append(lowest(kept or rows, 0.05))
        expected.append(np.mean(choices, axis=0))
    scores, of_images = scored("lakescore", operations)
    for row, (grid, of_image) in enumerate(zip(GRIDS, expected, strict=True)):
        np.testing.assert_allclose(scores[row, own_places(grid)], of_image, rtol=0, atol=TIGHT)
        assert of_images[row] == pytest.approx(worst(torch.from_numpy(of_image)[None])[0].mean().item(), abs=TIGHT)


@pytest.mark.parametrize("operations", [1.0, 1e15], ids=["units", "whole"])
def test_subspace_scores_are_of_the_patches_that_are_there(operations: float) -> None:
    of = images()
    expected = [np.zeros(rows * columns) for rows, columns in GRIDS]
    for layer in range(len(LAYERS)):
        flat = [tokens[layer].reshape(-1, WIDTH).astype(np.float64) for tokens in of]
        flat = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in flat]
        every = np.concatenate(flat)
        mean = every.mean(axis=0)
        _, lengths, axes = np.linalg.svd(every - mean, full_matrices=False)
        held = np.cumsum(lengths**2) / np.sum(lengths**2)
        kept = axes[: int(np.searchsorted(held, 0.9)) + 1]
        for total, vectors in zip(expected, flat, strict=True):
            centred = vectors - mean
            total += np.linalg.norm(centred - centred @ kept.T @ kept, axis=1) / len(LAYERS)
    scores, of_images = scored("subspace", operations)
    for row, (grid, of_image) in enumerate(zip(GRIDS, expected, strict=True)):
        np.testing.assert_allclose(scores[row, own_places(grid)], of_image, rtol=0, atol=TIGHT)
    np.testing.assert_allclose(of_images, [of_image.max() for of_image in expected], rtol=0, atol=TIGHT)


@pytest.mark.parametrize("preset", ["paper", "lakescore", "subspace"])
def test_the_nearest_patches_of_an_explanation_count(preset: str) -> None:
    grid = (20, 20)
    inside = np.arange(400).reshape(grid)[10:, 10:].ravel()
    generator = np.random.default_rng(0)
    tokens = np.full((5, len(LAYERS), 400, WIDTH), np.nan, np.float32)
    tokens[:, :, inside] = generator.normal(size=(5, len(LAYERS), 100, WIDTH))
    scorer = make_scorer(
        ScoreConfig.model_validate({"input": {"uri": "in"}, "output": {"uri": "out"}, "method": {"preset": preset}}),
        Layer(grid, WIDTH, 4, len(LAYERS)),
    )
    refs: list[FeatureRef] = [("f", row) for row in range(5)]

    def read(wanted: Sequence[FeatureRef], layer: int) -> NDArray[np.floating]:
        found: NDArray[np.floating] = tokens[[row for _, row in wanted], LAYERS.index(layer)]
        return found

    nobody = np.empty((0, 2), np.int64)
    features = CategoryFeatures(refs[:1], refs, np.arange(1), nobody, grid, read, lambda of_pass, of: [])
    found = scorer.explain(inside[None], refs[:1], refs, features, LAYERS, 2)
    assert found.patches.shape == (100, 5) and np.isin(found.patches, inside).all()
    assert (found.patches[:, 0] == inside).all() and found.distances[:, 0] == pytest.approx(0, abs=1e-6)
    assert found.distances.max() < 2
