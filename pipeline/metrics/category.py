"""The metrics of a category, each a value or the reason why there is none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.curves import ranking, ranking_metrics
from pipeline.metrics.overlap import Region, normal_scores, overlap_200, overlap_area, region_scores, regions_of
from pipeline.metrics.stream import Histogram, streamed_overlap, streamed_ranking

Array = NDArray[Any]

IMAGE = ("image_auroc", "image_f1_max", "image_ap")
VERDICT = ("verdict_f1", "verdict_recall", "verdict_false_alarms")
PART = ("part_auroc", "part_f1_max", "part_ap", *(f"part_{name}" for name in VERDICT))
PIXEL = ("pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro")
PRO, SPRO = "pixel_pro_200", "pixel_spro_005"
AUPRO_LIMIT, SPRO_LIMIT = 0.3, 0.05


@dataclass(frozen=True)
class Metric:
    """A figure from 0 to 1, or None and the reason; where it was streamed, `error` bounds how far off it may be."""

    value: float | None
    reason: str | None = None
    error: float | None = None


@dataclass(frozen=True)
class PixelTruth:
    """Masks (N, H, W), bool, for images that have them, and what is needed beyond them.

    `regions` are the defects with their saturation where a data set defines one (MVTec LOCO), and ask for sPRO.
    """

    masks: Array
    regions: Sequence[Region] | None = None


def image_metrics(labels: Array, scores: Array) -> dict[str, Metric]:
    """Return AUROC, F1-max and AP of image scores (N,) against labels (N,), true for anomalous."""
    return _ranked(IMAGE, labels, scores, "images")


def verdict_metrics(labels: Array, flagged: Array, what: str = "images") -> dict[str, Metric]:
    """Return F1, the share of defects that are flagged, and that of normal images; both arguments (N,), bool."""
    defects, normal = int(labels.sum()), int((~labels).sum())
    found, wrong = int((labels & flagged).sum()), int((~labels & flagged).sum())
    nothing = Metric(None, "no labels" if not len(labels) else f"no defects among the labelled {what}")
    return {
        "verdict_f1": Metric(2 * found / (found + wrong + defects)) if defects else nothing,
        "verdict_recall": Metric(found / defects) if defects else nothing,
        "verdict_false_alarms": Metric(wrong / normal) if normal else Metric(None, f"no normal labelled {what}"),
    }


def part_metrics(labels: Array, scores: Array, flagged: Array) -> dict[str, Metric]:
    """Return the metrics of images for parts: their labels, scores and verdicts, each (N,)."""
    verdict = verdict_metrics(labels, flagged, "parts")
    return _ranked(PART[:3], labels, scores, "parts") | {f"part_{name}": metric for name, metric in verdict.items()}


def _ranked(names: Sequence[str], labels: Array, scores: Array, what: str) -> dict[str, Metric]:
    if not len(labels):
        return _absent(names, "no labels")
    if labels.all() or not labels.any():
        return _absent(names, f"all {len(labels)} labelled {what} are {'anomalous' if labels[0] else 'normal'}")
    return _values(names, ranking_metrics(labels, scores))


def pixel_metrics(maps: Array, truth: PixelTruth, variant: Literal["exact", "musc"]) -> dict[str, Metric]:
    """Return AUROC, F1-max, AP and AUPRO of maps (N, H, W) against masks.

    The variant musc adds `pixel_pro_200`; masks with saturation add `pixel_spro_005`.
    """
    names = _pixel_names(variant, truth.regions is not None)
    if reason := _one_class(int(np.count_nonzero(truth.masks)), truth.masks.size):
        return _absent(names, reason)
    normal, regions = normal_scores(maps, truth.masks), regions_of(truth.masks)
    scores, gains = region_scores(maps, regions)  # every anomalous pixel is in one of them
    figures = [*ranking(normal, scores), overlap_area(normal, scores, gains, len(regions), AUPRO_LIMIT)]
    metrics = _values(PIXEL, figures)
    if variant == "musc":
        try:
            metrics |= _values((PRO,), [overlap_200(normal, scores, gains, len(regions), AUPRO_LIMIT)])
        except ValueError as error:
            metrics |= _absent((PRO,), str(error))
    if truth.regions is not None:
        saturated = region_scores(maps, truth.regions)
        metrics |= _values((SPRO,), [overlap_area(normal, *saturated, len(truth.regions), SPRO_LIMIT)])
    return metrics


def streamed_pixel_metrics(histogram: Histogram, variant: Literal["exact", "musc"]) -> dict[str, Metric]:
    """Return what `pixel_metrics` returns, each with its error bound, from the sum of the histograms of all images.

    The figures are those of the maps as they are written, rounded to the histogram's levels; the bounds hold for the
    maps before that. `pixel_pro_200` has no such bound and is left out, with the reason.
    """
    saturated = len(histogram.regions) > 1
    names, anomalous = _pixel_names(variant, saturated), int(histogram.anomalous.sum())
    if reason := _one_class(anomalous, anomalous + int(histogram.normal.sum())):
        return _absent(names, reason)
    figures = dict(zip(PIXEL, [*streamed_ranking(histogram), streamed_overlap(histogram, 0, AUPRO_LIMIT)], strict=True))
    if saturated:
        figures[SPRO] = streamed_overlap(histogram, 1, SPRO_LIMIT)
    metrics = _absent((PRO,), "its 200 thresholds need all maps at once") if variant == "musc" else {}
    return {name: Metric(figure.value, error=figure.error) for name, figure in figures.items()} | metrics


def no_pixel_metrics(reason: str) -> dict[str, Metric]:
    """Return the pixel metrics of a category that has none, with the reason."""
    return _absent(PIXEL, reason)


def mean_metrics(categories: Iterable[Mapping[str, Metric]]) -> dict[str, Metric]:
    """Average each metric, and its error bounds, over the categories that have it."""
    found: dict[str, list[Metric]] = {}
    for metrics in categories:
        for name, metric in metrics.items():
            found.setdefault(name, []).extend([] if metric.value is None else [metric])
    return {name: _mean(metrics) if metrics else Metric(None, "in no category") for name, metrics in found.items()}


def _mean(metrics: Sequence[Metric]) -> Metric:
    errors = [metric.error for metric in metrics]
    bounded = any(error is not None for error in errors)
    value = float(np.mean([metric.value for metric in metrics]))
    return Metric(value, error=float(np.mean([error or 0.0 for error in errors])) if bounded else None)


def _pixel_names(variant: Literal["exact", "musc"], saturated: bool) -> tuple[str, ...]:
    return PIXEL + ((PRO,) if variant == "musc" else ()) + ((SPRO,) if saturated else ())


def _one_class(anomalous: int, pixels: int) -> str | None:
    """Return why there are no pixel metrics, where only one class of pixels is there."""
    if not anomalous:
        return "no anomalous pixel in any mask"
    return "no normal pixel in any mask" if anomalous == pixels else None


def _absent(names: Sequence[str], reason: str) -> dict[str, Metric]:
    return {name: Metric(None, reason) for name in names}


def _values(names: Sequence[str], values: Sequence[float]) -> dict[str, Metric]:
    return {name: Metric(value) for name, value in zip(names, values, strict=True)}
