"""The columns of scores that reports use."""

import pyarrow as pa
import pyarrow.compute as pc

USED = ("category", "uri", "etag", "status", "reason", "score", "score_raw", "stderr", "references", "anomalous")


def finite_columns(scores: pa.Table, names: tuple[str, ...] = USED) -> pa.Table:
    """Return some columns of scores, null where a number is not finite."""
    found = {}
    for name in names:
        values = scores[name]
        if values.type == pa.float64():
            values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
        found[name] = values
    return pa.table(found)
