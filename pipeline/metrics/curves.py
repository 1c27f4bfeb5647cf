"""Ranking metrics from places: how many normal and anomalous pixels (or images) a threshold at a score finds.

A threshold matters only where it finds something anomalous: recall, overlap and with them every curve rise there and
nowhere else. So normal scores are sorted by themselves, as bare values, and only the few anomalous ones are looked up
among them. Equal scores share one threshold.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def ranking_metrics(labels: Array, scores: Array) -> tuple[float, float, float]:
    """Return AUROC, F1-max and AP, as fractions, of scores (n,) against binary labels (n,) of both classes.

    AP is the step-wise sum, not the trapezoid; F1-max is taken over every threshold.
    """
    anomalous = labels.astype(bool)
    return ranking(np.sort(scores[~anomalous]), np.sort(scores[anomalous]))


def ranking(normal: Array, anomalous: Array) -> tuple[float, float, float]:
    """Return AUROC, F1-max and AP of normal (n,) and anomalous scores (a,), both rising."""
    above, upto = places(normal, anomalous)
    found = places(anomalous, anomalous)[1]
    share = 1 / anomalous.size
    return (
        area(above / normal.size, upto / normal.size, share),
        f1_max(found, upto, anomalous.size),
        average_precision(found, upto, share),
    )


def places(normal: Array, scores: Array) -> tuple[Array, Array]:
    """Count, for each of scores (k,), the normal scores (n,), rising, above it, and those at least as high: (k,) each.

    Rising `scores` are found fastest, as neighbours are near in memory.
    """
    return normal.size - np.searchsorted(normal, scores, "right"), normal.size - np.searchsorted(normal, scores)


def area(above: Array, upto: Array, gains: Array | float, limit: float = 1.0) -> float:
    """Return the area under a curve that gains (k,) lift, up to a false positive rate, divided by that rate.

    Each gain comes while the rate goes from `above` to `upto` (k,), evenly, and then counts up to the limit; so the
    curve is interpolated at the limit. With gains that are shares of recall and no limit it is AUROC.
    """
    start, end, width = np.minimum(above, limit), np.minimum(upto, limit), upto - above
    coming = np.divide((end - start) ** 2, 2 * width, out=np.zeros_like(width), where=width > 0)
    return float(np.sum(gains * (coming + limit - end)) / limit)


def f1_max(found: Array, wrong: Array, total: int) -> float:
    """Return the largest F1 of thresholds (k,) that find so many of all `total` anomalous scores, and so many wrongly.

    Thresholds that find nothing more than the one above them may be left out: their F1 is lower.
    """
    return float(np.max(2 * found / (found + wrong + total)))


def average_precision(found: Array, wrong: Array, gains: Array | float) -> float:
    """Return the sum of the precisions of thresholds (k,), each weighed by the recall that it gains."""
    return float(np.sum(gains * found / np.maximum(found + wrong, 1)))
