"""The tables of a run's categories: what became of their images, and the metrics."""

import textwrap
from collections.abc import Mapping, Sequence

from pipeline.metrics.category import IMAGE, PART, PIXEL, Metric
from pipeline.report.parts import all_parts
from pipeline.report.summary import Summary
from pipeline.report.terminal import stacked
from pipeline.screen import printable

HEADINGS = {
    "image_auroc": "I-AUROC",
    "image_f1_max": "I-F1",
    "image_ap": "I-AP",
    "raw_image_auroc": "raw I-AUROC",
    "raw_image_f1_max": "raw I-F1",
    "raw_image_ap": "raw I-AP",
    "verdict_f1": "V-F1",
    "verdict_recall": "recall",
    "verdict_false_alarms": "false alarms",
    "pixel_auroc": "P-AUROC",
    "pixel_f1_max": "P-F1",
    "pixel_ap": "P-AP",
    "pixel_aupro": "AUPRO",
    "pixel_pro_200": "PRO-200",
    "pixel_spro_005": "sPRO",
    "part_auroc": "part AUROC",
    "part_f1_max": "part F1",
    "part_ap": "part AP",
    "part_verdict_f1": "part V-F1",
    "part_verdict_recall": "part recall",
    "part_verdict_false_alarms": "part false alarms",
}


NAMED = 3  # categories that a note names before it only counts them


def counts_table(summary: Summary, width: int) -> list[str]:
    """Return lines: for each category its images, how many are quarantined and anomalous, and the raw scores' spread.

    Names of categories are cut, and tables split, to fit into `width` characters.
    """
    headings = ["category", "images", "quarantined", "anomalous", "score_raw: min", "median", "max"]
    lines = [
        [of.category, *map(_count, (of.images, of.images - of.scored, of.anomalous))]
        + [_raw(value) for value in (of.lowest, of.median, of.highest)]
        for of in summary.categories
    ]
    if len(lines) > 1:
        counts = summary.counts["images"], summary.counts["quarantined"], summary.anomalous
        lines.append(["all", *map(_count, counts), "", "", ""])
    return stacked([headings, *lines], width)


def decisions_table(summary: Summary, width: int) -> list[str]:
    """Return lines: how each category's threshold was found, the range that it may be in, and what is expected of it.

    `unsure` are the images in that range; where they are many, a line says to trust the order and not the threshold.
    """
    if not summary.decisions:
        return []
    headings = ["category", "rule", "threshold", "from", "to", "flagged", "unsure", "false alarms expected"]
    lines = [
        [of.category, of.rule, *map(_raw, (of.threshold, of.low, of.high)), str(of.flagged), str(of.unsure)]
        + ["-" if of.false_alarms is None else f"{100 * of.false_alarms:.1f} %"]
        for of in summary.decisions
    ]
    unclear = [of.category for of in summary.decisions if of.clear is False]
    note = f"{_some(unclear)}: no gap between normal and anomalous, trust the order of the images more than the line"
    return [
        *stacked([headings, *lines], width),
        *(textwrap.wrap(note, width, break_long_words=False) if unclear else []),
    ]


def products_table(summary: Summary, width: int) -> list[str]:
    """Return lines: the parts of each product, how many are anomalous or not all seen, and their metrics in percent."""
    products = summary.products
    if not products:
        return []
    lines = [*products, all_parts(products)] if len(products) > 1 else products
    known = any(metric.value is not None for of in products for metric in of.metrics.values())
    names = PART if known else ()
    measured = [HEADINGS[name].replace("AUROC", "AUROC in %").removeprefix("part ") for name in names]
    table = [
        ["product", "parts", "anomalous", "not all seen", *measured],
        *(
            [of.product, str(of.parts), _count(of.anomalous), str(of.incomplete)]
            + [_percent(of.metrics.get(name)) for name in names]
            for of in lines
        ),
    ]
    unseen = sum(of.incomplete for of in products)
    has = "has" if unseen == 1 else "have"
    note = f"{unseen} of the parts that are not anomalous {has} views that could not be scored"
    return [*stacked(table, width), *(textwrap.wrap(note, width) if unseen else [])]


def metrics_table(summary: Summary, width: int) -> list[str]:
    """Return lines: the metrics of each category in percent, where labels are known, and why some are missing.

    Names of categories are cut, and tables split, to fit into `width` characters.
    """
    metrics = {
        category: {name: metric for name, metric in of.items() if name not in PART}
        for category, of in summary.metrics.items()
        if not of or of.keys() - {*PART}  # others are products
    }
    there = {*IMAGE, *PIXEL, *(name for of in metrics.values() for name in of)}
    names = [*(name for name in HEADINGS if name in there), *sorted(there - HEADINGS.keys())]
    lines = [[category, *(_percent(of.get(name)) for name in names)] for category, of in sorted(metrics.items())]
    if len(lines) > 1:
        lines.append(["all", *(_percent(summary.mean.get(name)) for name in names)])
    known = any(metric.value is not None for of in metrics.values() for metric in of.values())
    headings = ["in percent", *(HEADINGS.get(name, name) for name in names)]
    notes = [*_reasons(metrics), *_streamed(metrics)]
    return [
        *(stacked([headings, *lines], width) if known else []),
        *(line for note in notes for line in textwrap.wrap(note, width, break_long_words=False)),
    ]


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _raw(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _percent(metric: Metric | None) -> str:
    return "-" if metric is None or metric.value is None else f"{100 * metric.value:.1f}"


def _reasons(metrics: Mapping[str, Mapping[str, Metric]]) -> list[str]:
    """Say once for each reason which metrics of which categories are missing."""
    missing: dict[str, tuple[dict[str, None], dict[str, None]]] = {}  # ordered sets
    for category, of in metrics.items():
        for name, metric in of.items():
            if metric.reason is not None and name.startswith(("image", "pixel")):  # the others lack the same
                categories, kinds = missing.setdefault(metric.reason, ({}, {}))
                categories[category] = kinds[name.partition("_")[0]] = None
    return [
        f"{_some(list(categories))}: no {' and '.join(kinds)} metrics: {printable(reason)}"
        for reason, (categories, kinds) in missing.items()
    ]


def _some(categories: Sequence[str]) -> str:
    more = [f"{len(categories) - NAMED} more"] if len(categories) > NAMED else []
    return ", ".join([*map(printable, categories[:NAMED]), *more])


def _streamed(metrics: Mapping[str, Mapping[str, Metric]]) -> list[str]:
    """Say how far the metrics of each streamed category may be off."""
    errors = {category: [m.error for m in of.values() if m.error is not None] for category, of in metrics.items()}
    return [
        f"{printable(category)}: pixel metrics streamed, at most {100 * max(found):.2g} percent points from exact ones"
        for category, found in errors.items()
        if found
    ]
