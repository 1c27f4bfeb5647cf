"""Where the line between normal and anomalous lies, on scores and on pixels of maps: functions of arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import USUAL, RuleConfig, ScoreConfig

PIXEL_BINS = 4096  # of the distances 0..2: a threshold on pixels is found to 0.0005
LARGEST = 2.0


@dataclass(frozen=True)
class Threshold:
    """A threshold, None where there is nothing to find it from, and the rule that it was found by, as rows name it."""

    value: float | None
    rule: str


def threshold(
    rule: RuleConfig,
    category: str,
    references: NDArray[np.floating],
    own: NDArray[np.floating],
    labels: Sequence[bool | None] = (),
) -> Threshold:
    """Return the value above which a category's scores are anomalous.

    The usual quantile decides where a rule has no value for the category, or needs labels that are not of both kinds.

    Args:
        rule: settings.
        category: its name, for which the rule may have another value.
        references: scores of the reference images, (R,).
        own: scores of this run's images, (N,).
        labels: of this run's images, N of them: true for defects, None where unknown. Needed by fitted rules only.
    """
    kind, value = rule.of(category), _value(rule, category, USUAL["image"])
    if rule.fitted:
        known = np.array([label is not None for label in labels], bool) & np.isfinite(own)
        defects = np.array([bool(label) for label in labels], bool)[known]
        if defects.all() or not defects.any():
            return threshold(RuleConfig(), category, references, own)
        recall = value if kind == "recall" else None
        return Threshold(fitted(own[known], defects, recall), "best_f1" if recall is None else f"recall {value:g}")
    said = f"{kind} {value:g}"
    if kind == "fixed":
        return Threshold(value, said)
    values = references if kind == "quantile" else own
    values = values[np.isfinite(values)]
    if not len(values):
        return Threshold(None, said)
    if kind == "quantile":
        return Threshold(float(np.quantile(values, value)), said)
    # One of the values: one between two of them would leave too many above
    return Threshold(float(np.quantile(values, 1 - value, method="inverted_cdf")), said)


def fitted(scores: NDArray[np.floating], defects: NDArray[np.bool_], recall: float | None) -> float:
    """Return the highest threshold that finds a share of the defects, or with no recall that of the best F1.

    Thresholds lie in the middle between neighbouring scores, where they are as far as can be from both. `scores` (n,)
    from 0 up, `defects` (n,) with both kinds.
    """
    values = np.unique(scores)
    lines = (np.append(0.0, values[:-1]) + values) / 2  # rising; the first has all above it
    found = defects.sum() - np.searchsorted(np.sort(scores[defects]), lines, "right")
    wrong = (~defects).sum() - np.searchsorted(np.sort(scores[~defects]), lines, "right")
    if recall is not None:
        enough = np.flatnonzero(found >= recall * defects.sum() - 1e-9)
        return float(lines[enough[-1] if len(enough) else 0])
    f1 = 2 * found / (found + wrong + defects.sum())
    return float(lines[np.flatnonzero(f1 == f1.max())[-1]])  # of equals the highest: fewer to look at


def count_pixels(maps: NDArray[np.floating]) -> NDArray[np.int64]:
    """Count the values of maps, of any shape, in PIXEL_BINS equal bins of 0..2."""
    bins = np.clip(maps.ravel() * (PIXEL_BINS / LARGEST), 0, PIXEL_BINS - 1).astype(np.int64)
    return np.bincount(bins, minlength=PIXEL_BINS)


def pixel_threshold(rule: RuleConfig, category: str, counts: NDArray[np.int64]) -> float | None:
    """Return the value above which a category's pixels are anomalous: the upper edge of a bin.

    `counts` (PIXEL_BINS,) are of the references' maps, or of this run's for rule share.
    """
    kind, value = rule.of(category), _value(rule, category, USUAL["pixel"])
    if kind == "fixed":
        return value
    if not counts.sum():
        return None
    below = value if kind == "quantile" else 1 - value
    place = int(np.searchsorted(np.cumsum(counts), below * counts.sum()))
    return (min(place, PIXEL_BINS - 1) + 1) * LARGEST / PIXEL_BINS


def pixel_thresholds(
    config: ScoreConfig, window: Mapping[str, NDArray[np.int64]], counts: Mapping[str, NDArray[np.int64]]
) -> dict[str, float | None]:
    """Return each category's threshold on pixels; the window's maps count where its images are the references.

    Args:
        config: settings.
        window: counts of the values of maps of earlier runs, by category.
        counts: of this run.
    """
    rule, found = config.decision.pixel, {}
    for category, pixels in counts.items():
        if config.references.source == "window" and rule.of(category) == "quantile" and category in window:
            pixels = pixels + window[category]
        found[category] = pixel_threshold(rule, category, pixels)
    return found


def _value(rule: RuleConfig, category: str, usual: float) -> float:
    value = rule.categories.get(category, rule.value)
    return usual if value is None else value
