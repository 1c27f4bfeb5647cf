"""The metrics of a category, each a value or the reason why there is none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.curves import ranking_metrics
from pipeline.metrics.overlap import Region, aupro, pro_200

Array = NDArray[Any]

IMAGE = ("image_auroc", "image_f1_max", "image_ap")
PIXEL = ("pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro")
AUPRO_LIMIT, SPRO_LIMIT = 0.3, 0.05


@dataclass(frozen=True)
class Metric:
    """A figure from 0 to 1, or None and the reason."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class PixelTruth:
    """Masks (N, H, W), bool, for images that have them, and what is needed beyond them.

    `regions` are the defects with their saturation where a data set defines one (MVTec LOCO), and ask for sPRO.
    """

    masks: Array
    regions: Sequence[Region] | None = None


def image_metrics(labels: Array, scores: Array) -> dict[str, Metric]:
    """Return AUROC, F1-max and AP of image scores (N,) against labels (N,), true for anomalous."""
    if not len(labels):
        return _absent(IMAGE, "no labels")
    if labels.all() or not labels.any():
        return _absent(IMAGE, f"all {len(labels)} labelled images are {'anomalous' if labels[0] else 'normal'}")
    return _values(IMAGE, ranking_metrics(labels, scores))


def pixel_metrics(maps: Array, truth: PixelTruth, variant: Literal["exact", "musc"]) -> dict[str, Metric]:
    """Return AUROC, F1-max, AP and AUPRO of maps (N, H, W) against masks.

    The variant musc adds `pixel_pro_200`; masks with saturation add `pixel_spro_005`.
    """
    names = PIXEL + (("pixel_pro_200",) if variant == "musc" else ())
    names += ("pixel_spro_005",) if truth.regions is not None else ()
    flat = truth.masks.ravel()
    if not flat.any() or flat.all():
        return _absent(names, "no anomalous pixel in any mask" if not flat.any() else "no normal pixel in any mask")
    figures = [*ranking_metrics(flat, maps.ravel()), aupro(maps, truth.masks, AUPRO_LIMIT)]
    metrics = _values(PIXEL, figures)
    if variant == "musc":
        try:
            metrics |= _values(("pixel_pro_200",), [pro_200(maps, truth.masks, AUPRO_LIMIT)])
        except ValueError as error:
            metrics |= _absent(("pixel_pro_200",), str(error))
    if truth.regions is not None:
        metrics |= _values(("pixel_spro_005",), [aupro(maps, truth.masks, SPRO_LIMIT, truth.regions)])
    return metrics


def no_pixel_metrics(reason: str) -> dict[str, Metric]:
    """Return the pixel metrics of a category that has none, with the reason."""
    return _absent(PIXEL, reason)


def mean_metrics(categories: Iterable[Mapping[str, Metric]]) -> dict[str, Metric]:
    """Average each metric over the categories that have it."""
    found: dict[str, list[float]] = {}
    for metrics in categories:
        for name, metric in metrics.items():
            found.setdefault(name, []).extend([] if metric.value is None else [metric.value])
    return {
        name: Metric(float(np.mean(values))) if values else Metric(None, "in no category")
        for name, values in found.items()
    }


def _absent(names: Sequence[str], reason: str) -> dict[str, Metric]:
    return {name: Metric(None, reason) for name in names}


def _values(names: Sequence[str], values: Sequence[float]) -> dict[str, Metric]:
    return {name: Metric(value) for name, value in zip(names, values, strict=True)}
