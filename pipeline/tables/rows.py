"""The rows of a run: one for each input, with what was decided about it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import Catalog
from pipeline.config import DriftConfig
from pipeline.errors import IncompleteRun
from pipeline.store.features import IMAGE_STATS
from pipeline.tables.drift import Drift, distribution_drift, share_drift

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
        *((name, pa.float32()) for name in IMAGE_STATS),
        ("map_uri", pa.string()),
        ("scored_by", pa.string()),
        ("scored_at", pa.timestamp("s", "UTC")),
    ]
)
# Patches of reference images that come nearest to one patch, nearest first; x and y of their middles in shares of width
# and height
EVIDENCE = pa.list_(
    pa.struct(
        [
            ("uri", pa.string()),
            ("etag", pa.string()),
            ("x", pa.float32()),
            ("y", pa.float32()),
            ("distance", pa.float32()),
        ]
    )
)
# Of images that the report shows: evidence for their worst patch, and for their most normal one
EXPLAINED = pa.schema([("evidence", EVIDENCE), ("evidence_normal", EVIDENCE)])
LISTED = ("category", "uri", "etag")  # by the catalog
COLUMNS = (*LISTED, *(name for name in FOUND.names if name != "image"))  # of scores, before label and a manifest's own
# What later runs read of scores
KEPT = pa.schema([*((name, pa.string()) for name in LISTED), *list(FOUND)[1:], *EXPLAINED])


def check_rows(stage: str, expected: Iterable[int], found: Iterable[int]) -> None:
    """Raise `IncompleteRun` unless each expected id was found exactly once."""
    wanted, got = sorted(expected), sorted(found)
    if wanted != got:
        lost, more = set(wanted) - set(got), len(got) - len(set(got))
        raise IncompleteRun(f"{stage}: {len(lost)} rows lost, {more} rows twice; nothing was published, run it again")


def with_references(extracted: pa.Table, todo: pa.Table, compared: pa.Table) -> pa.Table:
    """Return what is known of each image of `todo` before it is scored.

    Args:
        extracted: what extracting found out, rising as `todo` is.
        todo: rows of the catalog.
        compared: the number of others that an image is compared with, or the reason why with none.
    """
    images = listed(extracted, todo).drop_columns("masks")  # Arrow joins no lists
    images = images.join(compared.rename_columns(["image", "references", "alone"]), "image").sort_by("image")
    alone = pc.is_valid(images["alone"])
    detail = "there is no other image of its category to compare it with"
    columns = {
        "reason": pc.coalesce(images["reason"], images["alone"]),
        "detail": pc.if_else(alone, detail, images["detail"]),
    }
    for name, values in columns.items():
        images = images.set_column(images.schema.get_field_index(name), name, values)
    return images


def listed(extracted: pa.Table, todo: pa.Table) -> pa.Table:
    """Return what extracting found out of images, with what the catalog says of them; both in the same order."""
    for name in ("uri", "etag", "category", "label", "masks", "pinned", "input"):
        extracted = extracted.append_column(name, todo[name])
    return extracted


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
    """Return one row for each image of the catalog, in its order, with a manifest's further columns behind ours.

    Of EXPLAINED it has what rows bring that are carried over.
    """
    explained = carried
    if carried is not None:
        found = pa.concat_tables([found, carried.select(FOUND.names).cast(FOUND)])
    found = found.sort_by("image").combine_chunks()
    check_rows("run", catalog.table["image"].to_pylist(), found["image"].to_pylist())
    columns = {name: (catalog.table if name in LISTED else found)[name] for name in COLUMNS}
    columns["label"] = catalog.table["label"]
    columns |= _explained(len(catalog), explained)
    for name in catalog.kept.column_names:
        columns[f"manifest_{name}" if name in columns else name] = catalog.kept[name]
    return pa.table(columns).combine_chunks()


def with_evidence(scores: pa.Table, found: pa.Table) -> pa.Table:
    """Return scores with the columns of EXPLAINED that were found for some rows: `found` has their numbers, n."""
    place = np.arange(scores.num_rows)
    place[found["n"].to_numpy()] = scores.num_rows + np.arange(found.num_rows)
    for field in EXPLAINED:
        values = pa.chunked_array([*scores[field.name].chunks, *found[field.name].chunks], field.type)
        at = scores.schema.get_field_index(field.name)
        scores = scores.set_column(at, field, values.combine_chunks().take(pa.array(place)))
    return scores


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


def _explained(total: int, carried: pa.Table | None) -> dict[str, pa.Array]:
    """Return the columns of EXPLAINED for so many images, null where no row is carried over that has them."""
    columns = {field.name: pa.nulls(total, field.type) for field in EXPLAINED}
    for name in columns:
        if carried is not None and name in carried.column_names:  # runs of before lack it
            place = np.full(total, -1)
            place[carried["image"].to_numpy()] = np.arange(carried.num_rows)
            values = carried[name].cast(EXPLAINED.field(name).type).combine_chunks()
            columns[name] = values.take(pa.array(place, mask=place < 0))
    return columns


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
            name: distribution_drift(config, _numbers(then, name), _numbers(now, name))
            for name in ("score_raw", *IMAGE_STATS)
        }
        compared["quarantined"] = share_drift(config, _quarantined(then), _quarantined(now))
        if kept := {name: drift for name, drift in compared.items() if drift is not None}:
            found[category] = kept
    return found


def _numbers(rows: pa.Table, name: str) -> Any:
    return rows[name].to_numpy().astype(np.float64)


def _quarantined(rows: pa.Table) -> tuple[int, int]:
    return pc.sum(pc.equal(rows["status"], "quarantined")).as_py() or 0, rows.num_rows
