"""Ranking metrics against the official code, cases worked by hand, and plain versions."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from pipeline.metrics.curves import ranking_metrics

Array = NDArray[Any]
Golden = Callable[[str], Mapping[str, Array]]


def plain_metrics(labels: Array, scores: Array) -> tuple[float, float, float]:
    """AUROC by counting pairs, F1-max and step-wise AP by trying every score as the threshold."""
    wins = [(a > b) + (a == b) / 2 for a in scores[labels] for b in scores[~labels]]
    f1, precision_sum, last_recall = [], 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        precision, recall = labels[found].mean(), labels[found].sum() / labels.sum()
        precision_sum += precision * (recall - last_recall)
        last_recall = recall
        f1.append(2 * labels[found].sum() / (found.sum() + labels.sum()))
    return float(np.mean(wins)), max(f1), precision_sum


def test_image_metrics_equal_the_official_code(golden: Golden) -> None:
    arrays = golden("metrics.npz")
    found = ranking_metrics(arrays["labels"], arrays["scores"])
    np.testing.assert_allclose(found, arrays["musc_image"], rtol=0, atol=1e-6)


def test_pixel_metrics_equal_the_official_code(golden: Golden) -> None:
    arrays = golden("metrics.npz")
    found = ranking_metrics(arrays["masks"].ravel(), arrays["maps"].ravel())
    np.testing.assert_allclose(found, arrays["musc_pixel"][:3], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "labels, scores, expected",
    [
        pytest.param([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], (1, 1, 1), id="perfect"),
        pytest.param([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], (0, 2 / 3, (1 / 3 + 2 / 4) / 2), id="inverted"),
        pytest.param([0, 0, 0, 1], [5, 5, 5, 5], (0.5, 0.4, 0.25), id="all equal"),
        # A trapezoid would give AP 0.79 here.
        pytest.param([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], (0.75, 0.8, (1 + 2 / 3) / 2), id="one pair swapped"),
        # The tied pair shares one threshold: precision 2/3 at recall 1, whatever the order of the rows.
        pytest.param([0, 1, 1, 0], [0.4, 0.4, 0.8, 0.1], (0.875, 0.8, (1 + 2 / 3) / 2), id="tie across classes"),
    ],
)
def test_cases_worked_by_hand(labels: list[int], scores: list[float], expected: tuple[float, float, float]) -> None:
    found = ranking_metrics(np.array(labels, bool), np.array(scores))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30))
def test_metrics_equal_a_plain_version_with_ties(rows: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([label for label, _ in rows]), np.array([score / 7 for _, score in rows])
    assume(0 < labels.sum() < len(labels))
    np.testing.assert_allclose(ranking_metrics(labels, scores), plain_metrics(labels, scores), rtol=0, atol=1e-12)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [1, 3, 9])
def test_metrics_equal_those_of_scikit_learn(share: float, dtype: Any, decimals: int) -> None:
    generator = np.random.default_rng(0)
    labels = generator.random(20_000) < share
    scores = (generator.normal(size=labels.size) + labels).round(decimals).astype(dtype)
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max()
    expected = (roc_auc_score(labels, scores), f1, average_precision_score(labels, scores))
    np.testing.assert_allclose(ranking_metrics(labels, scores), expected, rtol=0, atol=1e-9)
