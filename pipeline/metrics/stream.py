"""Pixel metrics in memory that does not grow with the images: histograms that add up, figures with error bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.curves import area, average_precision, f1_max
from pipeline.metrics.overlap import Region, region_scores, regions_of

Array = NDArray[Any]
TOP = 2.0  # scores are distances of vectors of length 1
LEVELS = 65536  # of maps as they are written, in 16 bits
# With one scale for every map ever written, grey levels compare
MAP_SCALE = TOP / (LEVELS - 1)


class Bounded(NamedTuple):
    """A figure, and the largest distance that the exact one can have from it."""

    value: float
    error: float


@dataclass(frozen=True)
class Histogram:
    """Pixels by level of score, lowest first; the histogram of more images is the sum of theirs.

    An image's regions lie within it, so what each level finds of them adds up too.

    Attributes:
        normal: normal pixels of each level (L,).
        anomalous: anomalous pixels of each level (L,).
        gains: shares of regions that each level finds, added over the regions (K, L): those of the masks first, then,
            where a data set defines saturations, its defects.
        regions: how many regions of each kind (K,).
    """

    normal: Array
    anomalous: Array
    gains: Array
    regions: Array

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(
            self.normal + other.normal,
            self.anomalous + other.anomalous,
            self.gains + other.gains,
            self.regions + other.regions,
        )


def histogram(maps: Array, masks: Array, regions: Sequence[Region] | None = None, levels: int = LEVELS) -> Histogram:
    """Return the histogram of maps (N, H, W) and binary masks (N, H, W), and of defects with their saturations.

    Scores are rounded to evenly spaced levels from 0 to 2; those outside count at the ends.
    """
    counts = np.zeros(2 * levels, np.int64)
    for anomaly_map, mask in zip(maps, masks, strict=True):  # one by one: indices take eight bytes a pixel
        places = to_levels(anomaly_map, levels)
        places[mask.astype(bool, copy=False)] += levels
        counts += np.bincount(places.ravel(), minlength=2 * levels)
    kinds = [regions_of(masks)] + ([] if regions is None else [regions])
    gains = np.empty((len(kinds), levels))
    for kind, found in enumerate(kinds):
        scores, shares = region_scores(maps, found)
        gains[kind] = np.bincount(to_levels(scores, levels), shares, levels)
    return Histogram(counts[:levels], counts[levels:], gains, np.array([len(found) for found in kinds]))


def streamed_ranking(found: Histogram) -> tuple[Bounded, Bounded, Bounded]:
    """Return AUROC, F1-max and AP of pixels of both classes, as if the pixels of a level had equal scores.

    Rounding never swaps two levels, so a threshold within a level finds all pixels of the levels above it, and at most
    those of its own besides. Each metric rises with the anomalous pixels found and falls with the normal ones: the
    exact figure lies between those of the worst and the best order within each level. The thresholds between levels
    are the exact metric's too, so F1-max is no lower. In the worst order for AP, all normal pixels first, precision is
    concave in the number of anomalous pixels found: its mean over a level is at least that of its first and its last.
    """
    above, upto = _counts(found)
    anomalous = found.anomalous[::-1]
    recalled, total, normal = np.cumsum(anomalous), int(anomalous.sum()), int(upto[-1])
    shares = anomalous / total
    f1 = f1_max(recalled, upto, total)
    precision, best = average_precision(recalled, upto, shares), average_precision(recalled, above, shares)
    worst = (average_precision(recalled - anomalous + 1, upto, shares) + precision) / 2
    return (
        _area(above / normal, upto / normal, shares, 1.0),
        Bounded(f1, f1_max(recalled, above, total) - f1),
        Bounded(precision, max(best - precision, precision - worst)),
    )


def streamed_overlap(found: Histogram, kind: int, limit: float) -> Bounded:
    """Return AUPRO, or with the second kind of regions sPRO, up to a false positive rate, bounded as AUROC is.

    Raises:
        ValueError: when there is no region, or no normal pixel.
    """
    above, upto = _counts(found)
    if not found.regions[kind] or not upto[-1]:
        raise ValueError("AUPRO needs at least one anomalous region and one normal pixel")
    return _area(above / upto[-1], upto / upto[-1], found.gains[kind, ::-1] / found.regions[kind], limit)


def overlap_curve(found: Histogram, kind: int = 0) -> tuple[Array, Array]:
    """Return the false positive rates (L + 1,), rising from 0, and the per-region overlap (L + 1,) of all thresholds.

    Raises:
        ValueError: when there is no region, or no normal pixel.
    """
    _, upto = _counts(found)
    if not found.regions[kind] or not upto[-1]:
        raise ValueError("a PRO curve needs at least one anomalous region and one normal pixel")
    overlap = np.cumsum(found.gains[kind, ::-1]) / found.regions[kind]
    return np.append(0.0, upto / upto[-1]), np.append(0.0, overlap)


def to_levels(scores: Array, levels: int = LEVELS) -> Array:
    """Round scores, of any shape, to the nearest of even levels from 0 to TOP; those outside go to the ends."""
    return (scores / (TOP / (levels - 1))).round().clip(0, levels - 1).astype(np.intp)


def _counts(found: Histogram) -> tuple[Array, Array]:
    """Count the normal pixels of the levels above each level, without it and with it, highest level first."""
    upto = np.cumsum(found.normal[::-1])
    return upto - found.normal[::-1], upto


def _area(above: Array, upto: Array, gains: Array, limit: float) -> Bounded:
    """Bound an area by gains that all come first in their level: coming evenly, they count for half of that or less.

    So the gains that come last, and count for nothing in their level, are no further off.
    """
    value = area(above, upto, gains, limit)
    return Bounded(value, area(above, above, gains, limit) - value)
