"""The subspace of a category: against plain linear algebra, however its images are cut into units."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.plan.units import Members
from pipeline.scoring.scorer import LARGEST, CategoryFeatures, FeatureRef, Layer, make_scorer
from pipeline.scoring.subspace import SubspaceScorer

GRID, WIDTH, IMAGES = (3, 4), 12, 9
PATCHES = GRID[0] * GRID[1]
LAYER = Layer(GRID, WIDTH, 4)


def config(**method: Any) -> ScoreConfig:
    groups = {"input": {"uri": "in"}, "output": {"uri": "out"}, "method": {"name": "subspace"} | method}
    return ScoreConfig.model_validate(groups)


def tokens(rank: int, seed: int = 0) -> NDArray[np.float32]:
    """Return tokens (N, P, D) that lie in a subspace, but for a little noise."""
    generator = np.random.default_rng(seed)
    inside = generator.normal(size=(IMAGES, PATCHES, rank)) @ generator.normal(size=(rank, WIDTH))
    found: NDArray[np.float32] = (inside + generator.normal(0, 1e-3, inside.shape)).astype(np.float32)
    return found


def features_of(
    of: NDArray[np.float32], references: Sequence[int], passes: Sequence[list[NDArray[Any]]]
) -> CategoryFeatures:
    """Return images, whose features lie in rows of one file, with the results of passes as they come."""
    refs: list[FeatureRef] = [("f", row) for row in range(len(of))]
    self_index = np.full(len(of), -1)
    self_index[list(references)] = np.arange(len(references))
    return CategoryFeatures(
        refs,
        [refs[row] for row in references],
        self_index,
        np.empty((0, 2), np.int64),
        GRID,
        lambda wanted, _: of[[row for _, row in wanted]],
        lambda of_pass, _: passes[of_pass],
    )


def scored(
    of: NDArray[np.float32], references: Sequence[int], population: int, operations: float, **method: Any
) -> Any:
    """Score images by both passes, in units of so many multiply-adds."""
    scorer = make_scorer(config(**method), LAYER)
    assert isinstance(scorer, SubspaceScorer)
    passes: list[list[NDArray[Any]]] = []
    features = features_of(of, references, passes)
    members = {"nut": Members(len(of), len(references), population, "d", GRID)}
    for number in range(scorer.passes):
        units = sorted(scorer.units(number, members, [5], 1e9, operations), key=lambda unit: unit.start)
        tuning = scorer.untuned("cpu")
        passes.append([scorer.score(number, unit, features, tuning, "cpu") for unit in units])
    return np.concatenate(passes[-1], axis=1)


def expected(of: NDArray[np.float32], references: Sequence[int], variance: float) -> NDArray[np.float64]:
    unit = of.astype(np.float64) / np.linalg.norm(of, axis=2, keepdims=True)
    fitted = unit[list(references)].reshape(-1, WIDTH)
    _, lengths, axes = np.linalg.svd(fitted - fitted.mean(axis=0), full_matrices=False)
    held = np.cumsum(lengths**2) / np.sum(lengths**2)
    kept = axes[: int(np.searchsorted(held, variance)) + 1]
    centred = unit - fitted.mean(axis=0)
    lengths_outside: NDArray[np.float64] = np.linalg.norm(centred - centred @ kept.T @ kept, axis=2)
    return lengths_outside


@pytest.mark.parametrize("operations", [1, 3 * PATCHES * WIDTH**2, 1e12])
@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99])
def test_scores_are_the_lengths_outside_the_components(operations: float, variance: float) -> None:
    of, references = tokens(rank=6), [0, 2, 3, 7]
    scores, errors = scored(of, references, len(references), operations, variance=variance)
    np.testing.assert_allclose(scores, expected(of, references, variance), rtol=0, atol=1e-5)
    assert not errors.any()


def test_a_patch_outside_of_what_all_others_span_stands_out() -> None:
    of = tokens(rank=3)
    of[4, 7] = np.random.default_rng(1).normal(size=WIDTH)
    scores, _ = scored(of, range(IMAGES), IMAGES, 1e12, variance=0.9)
    assert np.unravel_index(scores.argmax(), scores.shape) == (4, 7)
    assert 2 * np.sort(scores.ravel())[-2] < scores.max() <= LARGEST


def test_of_a_sample_the_error_is_not_known() -> None:
    _, errors = scored(tokens(rank=3), [0, 1, 2], 50, 1e12)
    assert np.isnan(errors).all()


def test_too_little_memory_is_an_error_that_says_how_much_is_needed() -> None:
    scorer = make_scorer(config(), LAYER)
    with pytest.raises(ConfigError, match="memory_gb 1e-06 is too small for category 'nut'"):
        scorer.units(0, {"nut": Members(9, 9, 9, "d", GRID)}, [5], 1e3, 1e12)


def test_evidence_is_the_patch_that_looks_most_alike() -> None:
    of = tokens(rank=6)
    of[3, 2] = 5 * of[8, 11]  # of one direction
    features = features_of(of, range(len(of)), [])
    patches, compared = np.array([[2, 0]]), [features.images[row] for row in (0, 1, 8)]
    matches = make_scorer(config(), LAYER).explain(
        patches, [features.images[3]], compared, features, layers=[5, 11], block=2
    )
    assert matches.distances.shape == matches.patches.shape == (2, 3)
    [(image, patch, distance)] = matches.nearest(0, 1)
    assert (image, patch) == (2, 11) and distance < 1e-5


def test_the_results_of_two_halves_are_joined_to_that_of_the_whole() -> None:
    of = tokens(4)
    scorer = make_scorer(config(), LAYER)
    passes: list[list[NDArray[Any]]] = []
    features = features_of(of, range(len(of)), passes)
    members = {"nut": Members(len(of), len(of), len(of), "d", GRID)}
    for of_pass in range(scorer.passes):
        [whole] = scorer.units(of_pass, members, [5], 1e9, 1e12)
        halves = [replace(whole, stop=5), replace(whole, start=5)]
        one, *two = (scorer.score(of_pass, unit, features, scorer.untuned("cpu"), "cpu") for unit in [whole, *halves])
        np.testing.assert_allclose(scorer.join(of_pass, two), one, rtol=1e-6, atol=1e-7)
        passes.append([scorer.join(of_pass, two)])
