"""Summaries and comparisons as text for a terminal of some width, and as JSON."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from pipeline.report.compare import Comparison, Uris
from pipeline.report.summary import Summary
from pipeline.report.table import HEADINGS, counts_table, decisions_table, metrics_table, products_table
from pipeline.report.terminal import aligned, ruled, shortened
from pipeline.report.values import finite
from pipeline.screen import printable


def json_text(facts: Summary | Comparison) -> str:
    """Return facts as one JSON object, in ASCII; figures that are not finite, which JSON does not have, are null."""
    return json.dumps(finite(asdict(facts)), indent=2, allow_nan=False)


def headline(summary: Summary, width: int) -> str:
    """Return a run in one sentence of counts that add up."""
    counts, reasons = summary.counts, ", ".join(f"{count} {reason}" for reason, count in summary.reasons.items())
    said = (
        f"{counts['images']} images: {counts['scored']} scored, {counts['quarantined']} quarantined"
        f"{f' ({reasons})' if reasons else ''}; {_count(summary.anomalous)} anomalous"
    )
    return textwrap.fill(printable(said), width)


def outcome_text(summary: Summary, width: int) -> str:
    """Return what a run prints at its end, below its headline: what became of each category, and where it lies."""
    parts = [counts_table(summary, width), decisions_table(summary, width), metrics_table(summary, width)]
    parts.append(products_table(summary, width))
    parts.append([f"results: {printable(summary.results)}"])
    return "\n\n".join("\n".join(part) for part in parts if part)


def summary_text(summary: Summary, width: int) -> str:
    """Return a run's facts, its tables of categories and products, and its worst parts and images."""
    worst = [
        [of.category, "-" if of.score is None else f"{of.score:.3f}", _raw(of.score_raw), _raw(of.stderr), of.uri]
        for of in summary.worst
    ]
    parts = [
        aligned(_facts(summary), left=(0, 1), width=width),
        counts_table(summary, width),
        decisions_table(summary, width),
        metrics_table(summary, width),
        products_table(summary, width),
    ]
    if summary.worst_parts:
        listed = [
            [of.group, "-" if of.score is None else f"{of.score:.3f}", f"{of.scored} of {of.views}", of.worst_category]
            + [of.worst_uri]
            for of in summary.worst_parts
        ]
        headings = ["score", "views scored", "of the worst view: category", "uri"]
        parts.append(_table("worst parts", headings, listed, (0, 3, 4), width))
    if worst:
        parts.append(_table("worst images", ["score", "score_raw", "stderr", "uri"], worst, (0, 4), width))
    return "\n\n".join("\n".join(part) for part in parts if part)


def comparison_text(comparison: Comparison, width: int) -> str:
    """Return what differs between two runs: settings, counts, images, scores and metrics."""
    sides = [comparison.before, comparison.after]
    parts = [[printable(f"from {comparison.before} to {comparison.after}")]]
    settings = [[name, *map(_value, pair)] for name, pair in comparison.settings.items()]
    if settings:
        parts.append(_table("settings that differ", sides, settings, (0, 1, 2), width))
    else:
        parts.append(["no setting differs"])
    counts = [[name.replace("_", " "), *map(_count, pair)] for name, pair in comparison.counts.items()]
    parts.append(_table("counts", sides, counts, (0,), width))
    parts.append(
        [
            *_listed(f"images only in {comparison.before}", comparison.only_before, width),
            *_listed(f"images only in {comparison.after}", comparison.only_after, width),
            *_listed("images in both, with other content or in another category", comparison.changed, width),
        ]
    )
    if comparison.status.count:
        status = [[of.category, of.before, of.after, of.uri] for of in comparison.status.first]
        parts.append(_table(f"status changed: {comparison.status.count}", [*sides, "uri"], status, (0, 1, 2, 3), width))
    agreement = [
        [of.category, str(of.images), _raw(of.spearman), "-" if of.largest is None else f"{of.largest:.2g}"]
        for of in comparison.agreement
    ]
    parts.append(_table("score_raw", ["in both", "Spearman", "largest change"], agreement, (0,), width))
    if comparison.moved:
        moved = [
            [of.category, f"{of.rank_before}", f"{of.rank_after}"]
            + [_raw(of.score_raw_before), _raw(of.score_raw_after), of.uri]
            for of in comparison.moved
        ]
        headings = ["rank before", "after", "score_raw before", "after", "uri"]
        parts.append(_table("moved most", headings, moved, (0, 5), width))
    if comparison.metrics:
        parts.append(_metrics(comparison, width))
    return "\n\n".join("\n".join(part) for part in parts)


def _facts(summary: Summary) -> list[list[str]]:
    counts, encoder, references, search = summary.counts, summary.encoder, summary.references, summary.search
    seconds = ", ".join(f"{stage} {of:.1f}" for stage, of in summary.seconds.items())
    facts = {
        "run": summary.run_id,
        "results": summary.results,
        "started": _when(summary.started),
        "finished": _when(summary.finished),
        "seconds": f"{sum(summary.seconds.values()):.1f}: {seconds}" if seconds else "-",
        "layout": summary.layout,
        "images": f"{counts['images']} = {counts['scored']} scored + {counts['quarantined']} quarantined",
        "anomalous": _count(summary.anomalous),
        "quarantined": ", ".join(f"{count} {reason}" for reason, count in summary.reasons.items()) or "none",
        "other files": str(summary.other_files),
        "features": f"{summary.features_reused} reused",
        "carried": f"{_count(summary.carried)} rows of earlier runs",
        "drifted": "-" if summary.drifted is None else ", ".join(summary.drifted) or "nothing",
        "encoder": f"{encoder.name}, fingerprint {encoder.fingerprint}",
        "references": f"{_value(references.source)}, {_value(references.mode)}: "
        + _span(references.fewest, references.most),
        "search": f"{search.kind}, {_value(search.dtype)}, tile {_count(search.tile)}",
    }
    return [[name, value] for name, value in facts.items()]


def _table(
    title: str, headings: Sequence[str], lines: Sequence[Sequence[str]], left: Sequence[int], width: int
) -> list[str]:
    return ruled(aligned([[title, *headings], *lines], left, width))


def _metrics(comparison: Comparison, width: int) -> list[str]:
    """Show the change of each metric in percent points, categories down and metrics across."""
    names = list(dict.fromkeys(of.name for of in comparison.metrics))
    found: dict[str | None, dict[str, float | None]] = {}
    for of in comparison.metrics:
        found.setdefault(of.category, {})[of.name] = of.points
    means = found.pop(None, {})
    rows = [(str(category), of) for category, of in found.items()] + ([("mean", means)] if len(found) > 1 else [])
    lines = [[category, *(_points(of.get(name)) for name in names)] for category, of in rows]
    return _table("change in points", [HEADINGS.get(name, name) for name in names], lines, (0,), width)


def _listed(what: str, uris: Uris, width: int) -> list[str]:
    more = [f"  and {uris.count - len(uris.first)} more"] if uris.first and uris.count > len(uris.first) else []
    return [f"{what}: {uris.count}", *(f"  {shortened(printable(uri), width - 2)}" for uri in uris.first), *more]


def _value(value: object) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _raw(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 1) + 0.0:+.1f}"  # not -0.0


def _span(fewest: int | None, most: int | None) -> str:
    return "-" if fewest is None else f"{fewest}" if fewest == most else f"{fewest} to {most}"


def _when(moment: str) -> str:
    """Return a moment without the T, in UTC as it is kept."""
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M:%S %Z")
