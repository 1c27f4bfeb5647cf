"""Where the line between normal and anomalous lies, on scores and on pixels of maps: functions of arrays."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RuleConfig, ScoreConfig
from pipeline.tables.known import Known
from pipeline.tables.verdict import Threshold, automatic, of_labels

PIXEL_BINS = 4096  # of the distances 0..2: a threshold on pixels is found to 0.0005
LARGEST = 2.0


def threshold(rule: RuleConfig, category: str, known: Known) -> Threshold:
    """Return the value above which a category's scores are anomalous.

    Rule auto decides where a rule has no value for the category, or needs labels that are not of both kinds.
    """
    kind, value = rule.of(category), rule.value_of(category, "image")
    if kind == "auto":
        return automatic(known, value)
    if rule.fitted:
        labelled = known.labelled()
        if not labelled.has(1):
            return automatic(known, RuleConfig().value_of(category, "image"))
        recall = value if kind == "recall" else None
        return of_labels("best_f1" if recall is None else f"recall {value:g}", labelled, recall)
    said = f"{kind} {value:g}"
    if kind == "fixed":
        return Threshold(value, said)
    values = known.references if kind == "quantile" else known.own
    values = values[np.isfinite(values)]
    if not len(values):
        return Threshold(None, said)
    if kind == "quantile":
        return Threshold(float(np.quantile(values, value)), said)
    # One of the values: one between two of them would leave too many above
    return Threshold(float(np.quantile(values, 1 - value, method="inverted_cdf")), said)


def count_pixels(maps: NDArray[np.floating]) -> NDArray[np.int64]:
    """Count the values of maps, of any shape, in PIXEL_BINS equal bins of 0..2."""
    bins = np.clip(maps.ravel() * (PIXEL_BINS / LARGEST), 0, PIXEL_BINS - 1).astype(np.int64)
    return np.bincount(bins, minlength=PIXEL_BINS)


def pixel_threshold(
    rule: RuleConfig, category: str, counts: NDArray[np.int64], of_images: float | None
) -> float | None:
    """Return the value above which a category's pixels are anomalous.

    Rule auto takes that of images: a map of an image that is not flagged is empty, but for single peaks. The others
    take the upper edge of a bin.

    Args:
        rule: settings.
        category: its name, for which the rule may have another value.
        counts: (PIXEL_BINS,) of the references' maps, or of this run's for rule share.
        of_images: the threshold on images' scores.
    """
    kind, value = rule.of(category), rule.value_of(category, "pixel")
    if kind == "auto":
        return of_images
    if kind == "fixed":
        return value
    if not counts.sum():
        return None
    below = value if kind == "quantile" else 1 - value
    place = int(np.searchsorted(np.cumsum(counts), below * counts.sum()))
    return (min(place, PIXEL_BINS - 1) + 1) * LARGEST / PIXEL_BINS


def pixel_thresholds(
    config: ScoreConfig,
    window: Mapping[str, NDArray[np.int64]],
    counts: Mapping[str, NDArray[np.int64]],
    of_images: Mapping[str, float | None],
) -> dict[str, float | None]:
    """Return each category's threshold on pixels; the window's maps count where its images are the references.

    Args:
        config: settings.
        window: counts of the values of maps of earlier runs, by category.
        counts: of this run.
        of_images: thresholds on images' scores, by category.
    """
    rule, found = config.decision.pixel, {}
    for category, pixels in counts.items():
        if config.references.source == "window" and rule.of(category) == "quantile" and category in window:
            pixels = pixels + window[category]
        found[category] = pixel_threshold(rule, category, pixels, of_images.get(category))
    return found
