"""Per-region overlap: AUPRO, its saturated form for MVTec LOCO, and the official code's 200 thresholds."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.metrics.curves import area, places

Array = NDArray[Any]
EIGHT = np.ones((3, 3), dtype=int)


@dataclass(frozen=True)
class Region:
    """One annotated defect: its `pixels`, flat indices into an image (H * W), full once `saturation` are found."""

    image: int
    pixels: Array
    saturation: float


def regions_of(masks: Array) -> list[Region]:
    """Return the 8-connected regions of binary masks (N, H, W), saturated by their whole area."""
    found = []
    for image in np.flatnonzero(masks.any(axis=(1, 2))):
        labelled = ndimage.label(masks[image], structure=EIGHT)[0].ravel()
        pixels = np.flatnonzero(labelled)
        pixels = pixels[np.argsort(labelled[pixels], kind="stable")]
        for region in np.split(pixels, np.flatnonzero(np.diff(labelled[pixels])) + 1):
            found.append(Region(int(image), region, float(len(region))))
    return found


def normal_scores(maps: Array, masks: Array) -> Array:
    """Return the scores of maps (N, H, W) outside binary masks, rising: the one sort that all pixel metrics share."""
    scores: Array = maps[~masks.astype(bool, copy=False)]
    scores.sort()
    return scores


def region_scores(maps: Array, regions: Sequence[Region]) -> tuple[Array, Array]:
    """Return the scores (k,), rising, of the pixels of all regions, and the share (k,) of its region that each finds.

    The best pixels fill a region up to its saturation, the others add nothing. A pixel may lie in several regions.
    """
    flat = maps.reshape(len(maps), -1)  # (N, H * W)
    scores, gains = [np.empty(0, maps.dtype)], [np.empty(0)]
    for region in regions:
        best = np.sort(flat[region.image, region.pixels])[-int(np.ceil(region.saturation)) :]
        shares = np.full(len(best), 1 / region.saturation)
        shares[0] -= max(0.0, len(best) / region.saturation - 1)  # saturation may end within the worst of them
        scores.append(best)
        gains.append(shares)
    every = np.concatenate(scores)
    order = np.argsort(every)
    return every[order], np.concatenate(gains)[order]


def aupro(maps: Array, masks: Array, limit: float = 0.3, regions: Sequence[Region] | None = None) -> float:
    """Return the area under the per-region overlap curve up to a false positive rate, divided by that rate.

    Every threshold is taken, and the curve is interpolated at the limit. Each region weighs the same, whatever its
    size (Bergmann et al., IJCV 2021). With `regions` that saturate below their area this is sPRO (Bergmann et al.,
    IJCV 2022).

    Args:
        maps: anomaly maps (N, H, W).
        masks: binary (N, H, W); a pixel outside them that is found is a false positive.
        limit: largest false positive rate, 0 < limit <= 1.
        regions: the defects; by default the 8-connected regions of the masks.

    Raises:
        ValueError: when there is no region, or no normal pixel.
    """
    found = regions_of(masks) if regions is None else regions
    return overlap_area(normal_scores(maps, masks), *region_scores(maps, found), len(found), limit)


def overlap_area(normal: Array, scores: Array, gains: Array, regions: int, limit: float) -> float:
    """Return `aupro` from what `normal_scores` and `region_scores` of so many regions gave; raises what it raises."""
    if not regions or not normal.size:
        raise ValueError("AUPRO needs at least one anomalous region and one normal pixel")
    above, upto = places(normal, scores)
    return area(above / normal.size, upto / normal.size, gains / regions, limit)


def pro_200(maps: Array, masks: Array, limit: float = 0.3) -> float:
    """Return PRO as MuSc's code computes it: 200 linear thresholds, rates above the limit dropped, then rescaled.

    For comparison with published tables only; `aupro` is the exact figure.

    Args:
        maps: anomaly maps (N, H, W).
        masks: binary (N, H, W).
        limit: largest false positive rate.

    Raises:
        ValueError: when the thresholds do not make a curve.
    """
    regions = regions_of(masks)
    return overlap_200(normal_scores(maps, masks), *region_scores(maps, regions), len(regions), limit)


def overlap_200(normal: Array, scores: Array, gains: Array, regions: int, limit: float) -> float:
    """Return `pro_200` from what `normal_scores` and `region_scores` of so many regions gave; raises what it raises."""
    low, high = min(normal[0], scores[0]), max(normal[-1], scores[-1])
    if low == high:
        raise ValueError("PRO over linear thresholds needs maps that are not constant")
    thresholds = np.arange(low, high, (high - low) / 200)
    # One by one: searchsorted would copy all scores to double precision, which the thresholds have
    below = np.array([bisect_right(normal, threshold) for threshold in thresholds])
    rate = (normal.size - below) / normal.size
    passed = np.append(np.cumsum(gains[::-1])[::-1], 0.0) / regions  # by scores[i:]
    overlap = passed[[bisect_right(scores, threshold) for threshold in thresholds]]
    kept = rate < limit
    rate, overlap = rate[kept], overlap[kept]
    if len(np.unique(rate)) < 2:
        raise ValueError(f"fewer than two of the 200 thresholds have a false positive rate below {limit:g}")
    rate = (rate - rate.min()) / (rate.max() - rate.min())
    return float(np.trapezoid(overlap[::-1], rate[::-1]))  # rates fall as thresholds rise
