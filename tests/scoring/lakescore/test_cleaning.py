"""Which references stay after the first round, and the score of an image by its worst patches."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.scoring.lakescore.cleaning import POOLED, clean, pooled, worst

TOLERANCE = 2.0
SCORES = st.lists(st.floats(0, 2, width=32), min_size=1, max_size=60)


def stays(scores: list[float] | NDArray[Any]) -> list[bool]:
    found: list[bool] = clean(torch.tensor(np.asarray(scores, np.float32)), TOLERANCE).tolist()
    return found


def line(scores: list[float]) -> float:
    """Return the score above which none stays, in plain Python; of an even number the lower middle is the median."""
    middle = (len(scores) - 1) // 2
    median = sorted(scores)[middle]
    above: float = TOLERANCE * 1.4826 * sorted(abs(score - median) for score in scores)[middle]
    return median + above


@given(SCORES)
def test_those_stay_that_lie_below_the_line_and_half_of_all_at_least(scores: list[float]) -> None:
    scores = [float(np.float32(score)) for score in scores]
    found = stays(scores)
    below = sum(score <= line(scores) + 1e-6 for score in scores)
    surely = sum(score <= line(scores) - 1e-6 for score in scores)
    fewest = min(len(scores), max(2, math.ceil(len(scores) / 2)))
    assert max(fewest, surely) <= sum(found) <= max(fewest, below)
    kept = [score for score, stay in zip(scores, found, strict=True) if stay]
    gone = [score for score, stay in zip(scores, found, strict=True) if not stay]
    assert not gone or max(kept) <= min(gone)


@given(SCORES, st.floats(0.25, 4), st.randoms())
def test_neither_the_scale_of_scores_nor_their_order_matters(scores: list[float], scale: float, random: Any) -> None:
    scores = sorted({round(score, 3) for score in scores})
    found = dict(zip(scores, stays(scores), strict=True))
    order = random.sample(scores, len(scores))
    assert dict(zip(order, stays(order), strict=True)) == found
    doubled = 2.0 ** round(math.log2(scale))  # without rounding
    assert stays([score * doubled for score in scores]) == list(found.values())


def test_anomalous_references_go_and_normal_ones_stay() -> None:
    generator = np.random.default_rng(0)
    scores = np.concatenate([generator.normal(0.3, 0.02, 70), generator.normal(0.8, 0.05, 30)])
    found = stays(scores)
    assert sum(found[:70]) >= 68 and not any(found[70:])


@pytest.mark.parametrize(("images", "kept"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (8, 4), (9, 5)])
def test_of_few_or_widely_scattered_references_half_stay_and_two(images: int, kept: int) -> None:
    assert sum(stays([0.3] * kept + [0.9 + place / 10 for place in range(images - kept)])) == kept


@given(SCORES)
def test_more_stay_at_a_larger_tolerance(scores: list[float]) -> None:
    strict, lenient = (clean(torch.tensor(scores), tolerance) for tolerance in (1.0, 2.0))
    assert not (strict & ~lenient).any()


def test_of_equal_ones_all_stay() -> None:
    assert stays([0.3] * 7) == [True] * 7


def test_of_equals_at_the_edge_the_first_stay() -> None:
    assert stays([0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]) == [False, True, False, True, True, True, True, True]


@given(st.integers(0, 999), st.integers(1, 500))
def test_an_images_score_is_the_mean_of_its_worst_hundredth(seed: int, patches: int) -> None:
    scores = np.random.default_rng(seed).uniform(size=(3, patches)).astype(np.float32)
    count = max(1, round(POOLED * patches))
    expected = np.sort(scores, axis=1)[:, -count:]
    values, places = worst(torch.from_numpy(scores))
    np.testing.assert_array_equal(np.sort(values.numpy(), axis=1), expected)
    np.testing.assert_array_equal(np.take_along_axis(scores, places.numpy(), axis=1), values.numpy())
    np.testing.assert_allclose(pooled(torch.from_numpy(scores)).numpy(), expected.mean(axis=1), rtol=1e-6)


def test_of_an_image_with_more_patches_than_usual_the_score_is_of_as_many_as_usual() -> None:
    scores = torch.zeros(2, 5000)
    scores[0, 17:20] = 1.0  # a defect of three patches
    assert pooled(scores, usual=256).tolist() == pytest.approx([1.0, 0.0])
    assert pooled(scores)[0] == pytest.approx(3 / 50)
    every = torch.ones_like(scores, dtype=torch.bool)
    assert pooled(scores, every, usual=256).tolist() == pytest.approx([1.0, 0.0])


def test_fewer_patches_than_usual_are_a_hundredth_of_their_own() -> None:
    scores = torch.arange(200.0)[None]
    assert worst(scores, usual=1000)[0].tolist() == [[199.0, 198.0]]
