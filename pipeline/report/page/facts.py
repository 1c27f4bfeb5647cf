"""What the page is told of a run: plain values, named as the scripts in `assets/js` read them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.metrics.category import PART, Metric, mean_metrics
from pipeline.report.columns import USED, finite_columns
from pipeline.report.parts import ProductParts, all_parts, products_of
from pipeline.report.summary import anomalous_in, categories_of, counts_of, reasons_of
from pipeline.report.table import HEADINGS
from pipeline.report.values import flat
from pipeline.schema.record import DecisionRecord, DriftRecord, RunRecord
from pipeline.tables.parts import parts_table

CHUNK = 1000  # rows of a file, and pictures of a folder
BINS = 60  # of a category's histogram

READ = (  # of scores
    *(*USED, "detail", "threshold", "pixel_threshold", "rule", "scored_by", "label", "width", "height"),
    *("group",),
)
TOLD = (
    *("uri", "status", "reason", "detail", "score_raw", "stderr", "references", "anomalous", "threshold"),
    *("scored_by", "label", "width", "height"),
    *("group",),
)


@dataclass(frozen=True)
class PageExtras:
    """What a run's tables do not hold, and only who draws its pictures knows.

    `drawn` are the row numbers that have pictures, `scales` the distances at the two ends of a category's heat maps,
    `colours` their colours from low to high, as evenly spaced `#rrggbb`, and `window` the `score_raw` of earlier runs
    by category, (N,).
    """

    drawn: Collection[int] = ()
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    colours: Sequence[str] = ()
    window: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)


def run_facts(
    run: RunRecord, scores: pa.Table, metrics: Mapping[str, Mapping[str, Metric]], extras: PageExtras
) -> dict[str, object]:
    """Return what the first screen shows.

    Names from the data stand in lists of pairs, never as keys: an object of JavaScript has keys of its own.

    Args:
        run: run.json.
        scores: a row for each input.
        metrics: by category, then name.
        extras: what the tables do not hold.
    """
    scores = finite_columns(scores, READ)
    names = [name for name in HEADINGS if name not in PART and any(name in of for of in metrics.values())]
    products = products_of(parts_table(scores), metrics)
    return {
        "run_id": run.run_id,
        "started": run.started.isoformat(),
        "finished": run.finished.isoformat(),
        "seconds": list(run.seconds.items()),
        "layout": run.layout,
        "encoder": run.encoder.name,
        "settings": list(flat(run.settings)),
        "versions": list(run.versions.items()),
        "counts": {**counts_of(scores), "anomalous": anomalous_in(scores) or 0, "carried": run.counts.carried},
        "reasons": list(reasons_of(scores).items()),
        "metrics": [[name, HEADINGS[name]] for name in names],
        "mean": _metrics(mean_metrics(metrics.values())) if metrics else None,
        "part_metrics": [[name, HEADINGS[name].removeprefix("part ")] for name in PART],
        "products": [_product(of) for of in products],
        "parts": _product(all_parts(products)) if products else None,
        "colours": list(extras.colours),
        "categories": [
            _category(
                name,
                run.run_id,
                scores,
                metrics.get(name),
                run.drift.get(name, {}),
                run.decisions.get(name),
                extras,
            )
            for name in categories_of(scores)
        ],
    }


def image_columns(scores: pa.Table, drawn: Collection[int], chunk: int) -> dict[str, list[object]]:
    """Return the columns of one file of CHUNK rows; `category` is a place in the sorted names of all."""
    place_of = {name: place for place, name in enumerate(categories_of(scores))}
    rows = finite_columns(scores, READ).slice(chunk * CHUNK, CHUNK)
    columns: dict[str, list[object]] = {name: rows[name].to_pylist() for name in TOLD}
    categories: list[str] = rows["category"].to_pylist()
    columns["category"] = [place_of[name] for name in categories]
    columns["drawn"] = [chunk * CHUNK + place in drawn for place in range(rows.num_rows)]
    return columns


def _category(
    name: str,
    run_id: str,
    scores: pa.Table,
    metrics: Mapping[str, Metric] | None,
    drift: Mapping[str, DriftRecord],
    decision: DecisionRecord | None,
    extras: PageExtras,
) -> dict[str, object]:
    of = scores.filter(pc.equal(scores["category"], name))
    # rows that were carried over keep the threshold of the run that scored them
    own = of.filter(pc.equal(of["scored_by"], run_id)) if of["scored_by"].null_count < of.num_rows else of
    deciding = own if own.num_rows else of
    threshold: float | None = _last(deciding["threshold"])
    return {
        "name": name,
        **counts_of(of),
        "anomalous": anomalous_in(of),
        "threshold": threshold,
        "pixel_threshold": _last(deciding["pixel_threshold"]),
        "rule": _last(deciding["rule"]),
        "decision": None if decision is None else decision.model_dump(),
        "histogram": _histogram(own["score_raw"].drop_null().to_numpy(), extras.window.get(name), threshold),
        "metrics": None if metrics is None else _metrics(metrics),
        "scale": list(extras.scales[name]) if name in extras.scales else None,
        "drift": [{"quantity": quantity, **found.model_dump()} for quantity, found in drift.items()],
    }


def _histogram(
    current: NDArray[np.floating], window: NDArray[np.floating] | None, threshold: float | None
) -> dict[str, object] | None:
    """Count scores in bins that hold both nights and the threshold; None where neither scored anything."""
    before = np.array([]) if window is None else window[np.isfinite(window)]
    if not len(current) + len(before):
        return None
    ends = np.concatenate([current, before, [] if threshold is None else [threshold]])
    edges = np.histogram_bin_edges(ends, BINS)
    return {
        "edges": edges.tolist(),
        "current": np.histogram(current, edges)[0].tolist(),
        "window": np.histogram(before, edges)[0].tolist() if len(before) else None,
    }


def _product(of: ProductParts) -> dict[str, object]:
    counts = {"parts": of.parts, "anomalous": of.anomalous, "incomplete": of.incomplete}
    return {"name": of.product, **counts, "metrics": _metrics(of.metrics)}


def _metrics(metrics: Mapping[str, Metric]) -> dict[str, object]:
    return {name: asdict(metric) for name, metric in metrics.items()}


def _last(column: pa.ChunkedArray) -> Any:
    values = column.drop_null()
    return values[-1].as_py() if len(values) else None
