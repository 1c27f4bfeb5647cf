"""Where the line between normal and anomalous lies, on scores and on pixels of maps: functions of arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RuleConfig

PIXEL_BINS = 4096  # of the distances 0..2: a threshold on pixels is found to 0.0005
LARGEST = 2.0


def threshold(
    rule: RuleConfig, category: str, references: NDArray[np.floating], own: NDArray[np.floating]
) -> float | None:
    """Return the value above which a category's scores are anomalous; None where there is nothing to find it from.

    Args:
        rule: settings.
        category: its name, for which the rule may have another value.
        references: scores of the reference images, (R,).
        own: scores of this run's images, (N,).
    """
    value = rule.categories.get(category, rule.value)
    if rule.rule == "fixed":
        return value
    values = references if rule.rule == "quantile" else own
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    if rule.rule == "quantile":
        return float(np.quantile(values, value))
    # One of the values: one between two of them would leave too many above
    return float(np.quantile(values, 1 - value, method="inverted_cdf"))


def count_pixels(maps: NDArray[np.floating]) -> NDArray[np.int64]:
    """Count the values of maps, of any shape, in PIXEL_BINS equal bins of 0..2."""
    bins = np.clip(maps.ravel() * (PIXEL_BINS / LARGEST), 0, PIXEL_BINS - 1).astype(np.int64)
    return np.bincount(bins, minlength=PIXEL_BINS)


def pixel_threshold(rule: RuleConfig, category: str, counts: NDArray[Any]) -> float | None:
    """Return the value above which a category's pixels are anomalous: the upper edge of a bin.

    `counts` (PIXEL_BINS,) are of the references' maps, or of this run's for rule share.
    """
    value = rule.categories.get(category, rule.value)
    if rule.rule == "fixed":
        return value
    if not counts.sum():
        return None
    below = value if rule.rule == "quantile" else 1 - value
    place = int(np.searchsorted(np.cumsum(counts), below * counts.sum()))
    return (min(place, PIXEL_BINS - 1) + 1) * LARGEST / PIXEL_BINS
