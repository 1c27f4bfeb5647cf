"""Scores of any version, and the columns of a manifest behind them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline.schema.table import set_columns
from pipeline.schema.tables import BOXED, SCORES

LATER = ("regions", "area_share", "family")  # before version 4 a column of such a name is a manifest's
# likewise before version 5, where it stands behind ours
LATER_5 = ("group", "region_uri", "region_etag", *BOXED.names)
LEAST = 1e-9  # distance: a threshold of 0 is one of images that are all the same


def with_manifest(scores: pa.Table, kept: Mapping[str, pa.ChunkedArray]) -> pa.Table:
    """Return scores with a manifest's own columns behind: one called as ours is called manifest_<name>."""
    for name, values in kept.items():
        new = name
        while new in scores.column_names:
            new = f"manifest_{new}"
        scores = scores.append_column(new, values)
    return scores


def times_threshold(raw: pa.ChunkedArray, threshold: pa.ChunkedArray) -> pa.Array:
    """Return `score`, of `score_raw` and the threshold; null where one of them is."""
    values = raw.to_numpy() / np.maximum(threshold.to_numpy(), LEAST)
    return pa.array(values, SCORES["score"].type, from_pandas=True)


def upgrade_scores(table: pa.Table) -> pa.Table:
    """Return a run's scores with the columns of SCORES, null where its version had them not, then a manifest's own.

    Before version 4 `score` was what `score_final` is now.

    A column of another type is a manifest's, from before the name was ours. Times are of whole seconds, whatever unit
    Parquet has kept them in.
    """
    older = "score_final" not in table.column_names
    if older:
        table = _as_multiples(table)
    theirs = {*(LATER if older else ()), *_behind(table, LATER_5)}
    ours, clashing, others = {}, {}, {}
    for field in table.schema:
        if field.name not in SCORES.names:
            others[field.name] = table[field.name]
        elif field.name not in theirs and _is(field.type, SCORES[field.name].type):
            ours[field.name] = table[field.name].cast(SCORES[field.name].type, safe=False)
        else:
            clashing[field.name] = table[field.name]
    columns = {of.name: ours.get(of.name, pa.nulls(table.num_rows, of.type)) for of in SCORES.columns}
    return with_manifest(SCORES.of(columns), others | clashing)


def _behind(table: pa.Table, names: Sequence[str]) -> list[str]:
    """Return which columns of some names are a manifest's where they are there: those that stand behind all of ours."""
    last = table.schema.get_field_index(SCORES.names[-1])
    return [name for name in names if table.schema.get_field_index(name) > last]


def _as_multiples(table: pa.Table) -> pa.Table:
    there = {field.name for field in table.schema if field.type == pa.float64()}
    if not {"score", "score_raw"} <= there:
        return table
    unknown = pa.nulls(table.num_rows, pa.float64())
    threshold = table["threshold"] if "threshold" in there else pa.chunked_array([unknown])
    multiples = times_threshold(table["score_raw"], threshold)
    return set_columns(table, {"score_final": table["score"], "score": multiples})


def _is(found: pa.DataType, ours: pa.DataType) -> bool:
    if pa.types.is_timestamp(found) and pa.types.is_timestamp(ours):
        return found.tz == ours.tz
    return found == ours
