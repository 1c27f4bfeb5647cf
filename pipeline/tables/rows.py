"""The rows of a run: one for each input, with what was decided about it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.boxes import FRAGMENT, split_box
from pipeline.catalog import Catalog
from pipeline.config import DriftConfig
from pipeline.errors import IncompleteRun
from pipeline.schema.scores import times_threshold, with_manifest
from pipeline.schema.table import set_columns
from pipeline.schema.tables import BOX, DECIDED, EXPLAINED, IMAGE_STATS, SCORES
from pipeline.tables.drift import Drift, distribution_drift, share_drift

# the other columns of scores are found out
OF_CATALOG = ("category", "uri", "etag", "label", "group", "region_uri", "region_etag")


def check_rows(stage: str, expected: Iterable[int], found: Iterable[int]) -> None:
    """Raise `IncompleteRun` unless each expected id was found exactly once."""
    wanted, got = sorted(expected), sorted(found)
    if wanted != got:
        lost, more = set(wanted) - set(got), len(got) - len(set(got))
        raise IncompleteRun(f"{stage}: {len(lost)} rows lost, {more} rows twice; nothing was published, run it again")


def with_references(encoded: pa.Table, compared: pa.Table) -> pa.Table:
    """Return what is known of each image before it is scored.

    Args:
        encoded: what `with_catalog` returned.
        compared: the number of others that an image is compared with, or the reason why with none.
    """
    images = encoded.drop_columns("masks")  # Arrow joins no lists
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


def with_catalog(extracted: pa.Table, todo: pa.Table) -> pa.Table:
    """Return what extracting found out of images, with what the catalog says of them; both in the same order."""
    for name in (*OF_CATALOG, "reviewed", "masks", "pinned", "input"):
        extracted = extracted.append_column(name, todo[name])
    return extracted


def decided_now(
    images: pa.Table,
    reduced: pa.Table,
    pixel_thresholds: Mapping[str, float | None],
    run_id: str,
    now: datetime,
) -> pa.Table:
    """Return rows of DECIDED for the images of this run.

    Args:
        images: what extracting and choosing references said of each input.
        reduced: rows of REDUCED, of those that were scored.
        pixel_thresholds: by category.
        run_id: this run's.
        now: its start.
    """
    table = images.join(reduced.drop_columns("category"), "image").sort_by("image").combine_chunks()
    table = with_boxes(table)
    scored = pc.is_null(table["reason"])
    if unscored := pc.sum(pc.and_(scored, pc.is_null(table["score_raw"]))).as_py():
        raise IncompleteRun(f"{unscored} images have neither a score nor a reason; nothing was published")
    categories: list[str] = table["category"].to_pylist()
    of_pixels = pa.array([pixel_thresholds.get(category) for category in categories], pa.float64())
    moment = DECIDED["scored_at"].type
    return DECIDED.cast(
        set_columns(
            table,
            {
                "status": pc.if_else(scored, "scored", "quarantined"),
                "score": times_threshold(table["score_raw"], table["threshold"]),
                "anomalous": pc.greater(table["score_raw"], table["threshold"]),
                "pixel_threshold": pc.if_else(scored, of_pixels, pa.scalar(None, pa.float64())),
                **{name: pa.nulls(table.num_rows, DECIDED[name].type) for name in ("regions", "area_share", "family")},
                "scored_by": pc.if_else(scored, run_id, pa.scalar(None, pa.string())),
                "scored_at": pc.if_else(scored, pa.scalar(now, moment), pa.scalar(None, moment)),
            },
        )
    )


def with_boxes(images: pa.Table) -> pa.Table:
    """Return images with BOXED: where boxes lie, and their own width and height in place of their photographs'."""
    boxes = boxes_of(images)
    left, top, right, bottom = boxes.values()
    found: dict[str, pa.Array | pa.ChunkedArray] = dict(boxes)
    is_box, nothing = pc.is_valid(left), pa.scalar(None, pa.int32())
    for name, own in (("width", _lengths(left, right)), ("height", _lengths(top, bottom))):
        found[name] = pc.if_else(pc.and_(is_box, pc.is_valid(images[name])), own, images[name])
        found[f"original_{name}"] = pc.if_else(is_box, images[name], nothing)
    return set_columns(images, found)


def _lengths(starts: pa.Array, stops: pa.Array) -> pa.Array:
    pairs = zip(starts.to_pylist(), stops.to_pylist(), strict=True)
    return pa.array([None if start is None else stop - start for start, stop in pairs], pa.int32())


def boxes_of(images: pa.Table) -> dict[str, pa.Array]:
    """Return the columns of the boxes of images, by their uris; null of whole images."""
    if not pc.any(pc.match_substring_regex(images["uri"], FRAGMENT)).as_py():  # as usual, and there are millions
        return {column.name: pa.nulls(images.num_rows, column.type) for column in BOX}
    found = [split_box(uri)[1] for uri in images["uri"].to_pylist()]
    return {
        column.name: pa.array([None if box is None else box[edge] for box in found], column.type)
        for edge, column in enumerate(BOX)
    }


def anomalous_images(decided: pa.Table) -> NDArray[np.int64]:
    """Return the numbers of the images, of rows of DECIDED, that are called anomalous, rising."""
    found: NDArray[np.int64] = np.sort(decided["image"].filter(decided["anomalous"]).to_numpy())
    return found


def scores_table(catalog: Catalog, found: pa.Table, carried: pa.Table | None) -> pa.Table:
    """Return one row for each image of the catalog, in its order, with a manifest's further columns behind ours.

    Of evidence it has what rows bring that are carried over.
    """
    if carried is not None:
        found = pa.concat_tables([found, DECIDED.cast(carried)])
    found = found.sort_by("image").combine_chunks()
    check_rows("run", catalog.table["image"].to_pylist(), found["image"].to_pylist())
    columns: dict[str, pa.Array | pa.ChunkedArray] = {**_explained(len(catalog), carried)}
    for name in SCORES.names:
        if name not in columns:
            columns[name] = (catalog.table if name in OF_CATALOG else found)[name]
    kept = {name: catalog.kept[name] for name in catalog.kept.column_names}
    return with_manifest(SCORES.of(columns), kept).combine_chunks()


def with_evidence(scores: pa.Table, found: pa.Table) -> pa.Table:
    """Return scores with the evidence that was found for some rows: `found` has their numbers, `image`."""
    place = np.arange(scores.num_rows)
    place[found["image"].to_numpy()] = scores.num_rows + np.arange(found.num_rows)
    evidence = {}
    for column in EXPLAINED.columns:
        values = pa.chunked_array([*scores[column.name].chunks, *found[column.name].chunks], column.type)
        evidence[column.name] = values.combine_chunks().take(pa.array(place))
    return set_columns(scores, evidence)


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
    """Return evidence for so many images, null where no row is carried over that has it."""
    columns = {column.name: pa.nulls(total, column.type) for column in EXPLAINED.columns}
    for column in EXPLAINED.columns:
        if carried is not None:
            place = np.full(total, -1)
            place[carried["image"].to_numpy()] = np.arange(carried.num_rows)
            values = carried[column.name].cast(column.type).combine_chunks()
            columns[column.name] = values.take(pa.array(place, mask=place < 0))
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
            for name in ("score_raw", *IMAGE_STATS.names)
        }
        compared["quarantined"] = share_drift(config, _quarantined(then), _quarantined(now))
        if kept := {name: drift for name, drift in compared.items() if drift is not None}:
            found[category] = kept
    return found


def _numbers(rows: pa.Table, name: str) -> NDArray[np.float64]:
    return rows[name].to_numpy().astype(np.float64)


def _quarantined(rows: pa.Table) -> tuple[int, int]:
    return pc.sum(pc.equal(rows["status"], "quarantined")).as_py() or 0, rows.num_rows
