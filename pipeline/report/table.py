"""The table that a run prints at its end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.metrics.category import IMAGE, PIXEL, Metric, mean_metrics
from pipeline.report.terminal import aligned, ruled
from pipeline.screen import printable

HEADINGS = {
    "image_auroc": "I-AUROC",
    "image_f1_max": "I-F1",
    "image_ap": "I-AP",
    "pixel_auroc": "P-AUROC",
    "pixel_f1_max": "P-F1",
    "pixel_ap": "P-AP",
    "pixel_aupro": "AUPRO",
    "pixel_pro_200": "PRO-200",
    "pixel_spro_005": "sPRO",
}


def summary_table(
    rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Mapping[str, Metric]], width: int | None = None
) -> str:
    """Return a table of categories: images, quarantined, metrics in percent, and why some are missing.

    Args:
        rows: category and status of each image.
        metrics: by category, then name.
        width: of the terminal, in characters; names of categories are cut to fit. Default: they are not.
    """
    columns = [*IMAGE, *PIXEL, *sorted({name for of in metrics.values() for name in of} - {*IMAGE, *PIXEL})]
    images = Counter(row["category"] for row in rows)
    bad = Counter(row["category"] for row in rows if row["status"] == "quarantined")
    lines = [["category", "images", "quarantined", *(HEADINGS[name] for name in columns)]]
    for category in sorted(images):
        lines.append(_line(category, images[category], bad[category], metrics.get(category, {}), columns))
    if len(images) > 1:
        lines.append(_line("all", images.total(), bad.total(), mean_metrics(metrics.values()), columns))

    return "\n".join([*ruled(aligned(lines, width=width)), *_reasons(metrics), *_streamed(metrics)])


def _line(name: str, images: int, quarantined: int, metrics: Mapping[str, Metric], columns: Sequence[str]) -> list[str]:
    return [name, str(images), str(quarantined), *(_percent(metrics.get(column)) for column in columns)]


def _percent(metric: Metric | None) -> str:
    return "-" if metric is None or metric.value is None else f"{100 * metric.value:.1f}"


def _reasons(metrics: Mapping[str, Mapping[str, Metric]]) -> list[str]:
    """Say once for each category and reason which metrics are missing."""
    missing: dict[tuple[str, str], list[str]] = {}
    for category, of in metrics.items():
        for name, metric in of.items():
            if metric.reason is not None:
                missing.setdefault((category, metric.reason), []).append(name)
    return [
        f"{printable(category)}: no {names[0].partition('_')[0]} metrics: {printable(reason)}"
        for (category, reason), names in missing.items()
    ]


def _streamed(metrics: Mapping[str, Mapping[str, Metric]]) -> list[str]:
    """Say how far the metrics of each streamed category may be off."""
    errors = {category: [m.error for m in of.values() if m.error is not None] for category, of in metrics.items()}
    return [
        f"{printable(category)}: pixel metrics streamed, at most {100 * max(found):.2g} percent points from exact ones"
        for category, found in errors.items()
        if found
    ]
