"""Per-region overlap: AUPRO, its saturated form for MVTec LOCO, and the official code's 200 thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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
    for image, mask in enumerate(masks):
        labelled, count = ndimage.label(mask, structure=EIGHT)
        flat = labelled.ravel()
        order = np.argsort(flat, kind="stable")
        bounds = np.searchsorted(flat[order], np.arange(1, count + 2))
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
            found.append(Region(image, order[start:stop], float(stop - start)))
    return found


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
    anomalous = masks.astype(bool).reshape(len(masks), -1)  # (N, H * W)
    normal = int(anomalous.size - anomalous.sum())
    if not found or not normal:
        raise ValueError("AUPRO needs at least one anomalous region and one normal pixel")

    scores = maps.reshape(len(maps), -1)
    # What each pixel adds to the mean overlap once a threshold has passed it. A pixel may lie in several regions.
    gains = np.zeros(scores.shape)
    for region in found:
        best = np.argsort(-scores[region.image, region.pixels], kind="stable")
        counted = region.pixels[best][: int(np.ceil(region.saturation))]
        shares = np.ones(len(counted))
        shares[-1] -= max(0.0, len(counted) - region.saturation)  # saturation may be a fraction of a pixel
        gains[region.image, counted] += shares / region.saturation / len(found)

    order = np.argsort(-scores.ravel(), kind="stable")
    ranked = scores.ravel()[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)  # equal scores share one threshold
    false_positives = np.cumsum(~anomalous.ravel()[order])[last] / normal
    overlap = np.cumsum(gains.ravel()[order])[last]
    return _area(np.append(0.0, false_positives), np.append(0.0, overlap), limit) / limit


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
    scores, normal = maps.reshape(len(maps), -1), ~masks.astype(bool)
    low, high = maps.min(), maps.max()
    if low == high:
        raise ValueError("PRO over linear thresholds needs maps that are not constant")
    rates, overlaps = [], []
    for threshold in np.arange(low, high, (high - low) / 200):
        binary = scores > threshold
        overlaps.append(np.mean([binary[region.image, region.pixels].mean() for region in regions]))
        rates.append((binary.reshape(maps.shape) & normal).sum() / normal.sum())
    rate, overlap = np.array(rates), np.array(overlaps)
    kept = rate < limit
    rate, overlap = rate[kept], overlap[kept]
    if len(np.unique(rate)) < 2:
        raise ValueError(f"fewer than two of the 200 thresholds have a false positive rate below {limit:g}")
    rate = (rate - rate.min()) / (rate.max() - rate.min())
    return float(np.trapezoid(overlap[::-1], rate[::-1]))  # rates fall as thresholds rise


def _area(x: Array, y: Array, limit: float) -> float:
    """Integrate y over x from 0 to a limit, x rising, with y interpolated at the limit."""
    inside = x <= limit
    xs, ys = x[inside], y[inside]
    if len(xs) < len(x):
        xs, ys = np.append(xs, limit), np.append(ys, np.interp(limit, x, y))
    return float(np.trapezoid(ys, xs))
