"""Ranking metrics of one set of scores: AUROC, F1-max and average precision."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

Array = NDArray[Any]


def ranking_metrics(labels: Array, scores: Array) -> tuple[float, float, float]:
    """Return AUROC, F1-max and AP, as fractions, of scores (n,) against binary labels (n,) of both classes.

    AP is the step-wise sum, not the trapezoid; F1-max is taken over every threshold (method, section 6).
    """
    precision, recall, _ = precision_recall_curve(labels, scores)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return float(roc_auc_score(labels, scores)), float(f1.max()), float(average_precision_score(labels, scores))
