"""The rows of a run: one for each input, with what was decided about it."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import Catalog
from pipeline.config import DriftConfig
from pipeline.errors import IncompleteRun
from pipeline.lake.features import LOOK
from pipeline.metrics.drift import Drift, distribution_drift, share_drift
from pipeline.stages.progress import check_rows

# What is found out about each image, in this run or the one that its row is carried over from
FOUND = pa.schema(
    [
        ("image", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("score", pa.float64()),
        ("score_raw", pa.float64()),
        ("stderr", pa.float64()),
        ("references", pa.int64()),
        ("anomalous", pa.bool_()),
        ("rule", pa.string()),
        ("threshold", pa.float64()),
        ("pixel_threshold", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        *((name, pa.float32()) for name in LOOK),
        ("map_uri", pa.string()),
        ("scored_by", pa.string()),
        ("scored_at", pa.timestamp("s", "UTC")),
    ]
)
LISTED = ("category", "uri", "etag")  # by the catalog
COLUMNS = (*LISTED, *(name for name in FOUND.names if name != "image"))  # of scores, before label and a manifest's own


def found_now(
    images: pa.Table,
    reduced: pa.Table,
    pixel_thresholds: Mapping[str, float | None],
    run_id: str,
    now: datetime,
) -> pa.Table:
    """Return rows of FOUND for the images of this run.

    Args:
        images: what extracting and choosing references said of each input.
        reduced: score, score_raw, stderr, threshold, rule and map_uri of those that were scored.
        pixel_thresholds: by category.
        run_id: this run's.
        now: its start.
    """
    table = images.join(reduced.drop_columns("category"), "image").sort_by("image").combine_chunks()
    scored = pc.is_null(table["reason"])
    if unscored := pc.sum(pc.and_(scored, pc.is_null(table["score"]))).as_py():
        raise IncompleteRun(f"{unscored} images have neither a score nor a reason; nothing was published")
    categories = table["category"].to_pylist()
    nothing = pa.scalar(None, pa.string())
    columns = {
        "status": pc.if_else(scored, "scored", "quarantined"),
        "anomalous": pc.greater(table["score_raw"], table["threshold"]),
        "pixel_threshold": pc.if_else(
            scored, pa.array([pixel_thresholds.get(c) for c in categories], pa.float64()), pa.scalar(None, pa.float64())
        ),
        "scored_by": pc.if_else(scored, run_id, nothing),
        "scored_at": pc.if_else(
            scored, pa.scalar(now, pa.timestamp("s", "UTC")), pa.scalar(None, pa.timestamp("s", "UTC"))
        ),
    }
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table.select(FOUND.names).cast(FOUND)


def scores_table(catalog: Catalog, found: pa.Table, carried: pa.Table | None) -> pa.Table:
    """Return one row for each image of the catalog, in its order, with a manifest's further columns behind ours."""
    if carried is not None:
        found = pa.concat_tables([found, carried.select(FOUND.names).cast(FOUND)])
    found = found.sort_by("image").combine_chunks()
    check_rows("run", catalog.table["image"].to_pylist(), found["image"].to_pylist())
    columns = {name: (catalog.table if name in LISTED else found)[name] for name in COLUMNS}
    columns["label"] = catalog.table["label"]
    for name in catalog.kept.column_names:
        columns[f"manifest_{name}" if name in columns else name] = catalog.kept[name]
    return pa.table(columns).combine_chunks()


def counts(scores: pa.Table, run_id: str) -> dict[str, Any]:
    """Return how many rows there are of each kind."""
    reasons = Counter(reason for reason in scores["reason"].to_pylist() if reason is not None)
    quarantined = sum(reasons.values())
    by = scores["scored_by"].to_pylist()
    return {
        "images": scores.num_rows,
        "scored": scores.num_rows - quarantined,
        "carried": sum(name is not None and name != run_id for name in by),
        "quarantined": quarantined,
        "reasons": dict(sorted(reasons.items())),
        "anomalous": pc.sum(scores["anomalous"]).as_py() or 0,
    }


def drifts(config: DriftConfig, new: pa.Table, before: pa.Table | None) -> dict[str, dict[str, Drift]]:
    """Compare the new images of a run with those of its window: by category, then quantity.

    Both have the columns of scores. Images of the window that are listed again are not new, and are not in `new`.
    """
    if before is None:
        return {}
    found = {}
    for category in pc.unique(new["category"]).to_pylist():
        now = new.filter(pc.equal(new["category"], category))
        then = before.filter(pc.equal(before["category"], category))
        compared = {
            name: distribution_drift(config, _numbers(then, name), _numbers(now, name)) for name in ("score_raw", *LOOK)
        }
        compared["quarantined"] = share_drift(config, _quarantined(then), _quarantined(now))
        if kept := {name: drift for name, drift in compared.items() if drift is not None}:
            found[category] = kept
    return found


def _numbers(rows: pa.Table, name: str) -> Any:
    return rows[name].to_numpy().astype(np.float64)


def _quarantined(rows: pa.Table) -> tuple[int, int]:
    return pc.sum(pc.equal(rows["status"], "quarantined")).as_py() or 0, rows.num_rows
