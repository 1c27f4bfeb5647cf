"""The columns of scores that reports use, for runs of any age."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = {
    "category": pa.string(),
    "uri": pa.string(),
    "etag": pa.string(),
    "status": pa.string(),
    "reason": pa.string(),
    "score": pa.float64(),
    "score_raw": pa.float64(),
    "stderr": pa.float64(),
    "references": pa.int64(),
    "anomalous": pa.bool_(),
}


def known_columns(scores: pa.Table, columns: Mapping[str, pa.DataType] = COLUMNS) -> pa.Table:
    """Return the scores with exactly these columns: null where a run lacks one, and where a number is not finite.

    A column of another type is a manifest's own, which a run of before ours could have by the same name.
    """
    found = {}
    for name, kind in columns.items():
        ours = name in scores.column_names and scores.schema.field(name).type == kind
        values = scores[name].combine_chunks() if ours else pa.nulls(scores.num_rows, kind)
        if kind == pa.float64():
            values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, kind))
        found[name] = values
    return pa.table(found)
