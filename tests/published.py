"""Published runs made by hand, for tests of what reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.io.storage import Location
from pipeline.metrics.category import Metric
from pipeline.result import Result
from pipeline.store.run_folder import RunFolder, write_table

SCORES = pa.schema(
    [
        ("category", pa.string()),
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("score_raw", pa.float64()),
        ("stderr", pa.float64()),
        ("references", pa.int64()),
    ]
)
FINGERPRINT = "0123456789abcdef"


def row(category: str, uri: str, score_raw: float | None, **more: Any) -> dict[str, Any]:
    """Return a row of scores; an image with no score is quarantined as damaged."""
    bad = score_raw is None
    usual = {"etag": f"{uri}-1", "status": "quarantined" if bad else "scored", "reason": "damaged" if bad else None}
    score = None if score_raw is None else score_raw / 2
    return {"category": category, "uri": uri, "score_raw": score_raw, "score": score} | usual | more


def table(rows: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> pa.Table:
    """Return scores of rows, with the columns that a run has `without` some, and what else the rows have."""
    found = pa.Table.from_pylist(rows, schema=SCORES)
    for name in dict.fromkeys(name for of in rows for name in of if name not in SCORES.names):
        found = found.append_column(name, pa.array([of.get(name) for of in rows]))
    return found.drop_columns(list(without))


def facts(run_id: str, **changed: Any) -> dict[str, Any]:
    """Return a run.json; `changed` settings are given as references__count=8."""
    groups: dict[str, Any] = {
        "input": {"uri": "/lake", "layout": "auto"},
        "encoder": {"name": "timm:some_vit", "layers": None},
        "references": {"source": "window", "mode": "auto", "count": 256},
        "search": {"kind": "auto", "dtype": "fp32"},
        "metrics": "exact",
    }
    for name, value in changed.items():
        group, _, key = name.partition("__")
        groups[group] = {**groups.get(group, {}), key: value} if key else value
    return {
        "run_id": run_id,
        "started": "2030-01-01T10:00:00+00:00",
        "finished": "2030-01-01T10:01:05+00:00",
        "counts": {"features_reused": 2, "other_files": 1, "carried": 3},
        "drifted": ["nut"],
        "layout": "folder",
        "search": {"kind": "gemm", "tile": 1024, "products": 5e10, "aggregated": 5e7},
        "encoder": {"name": "timm:some_vit", "grid": [3, 2], "fingerprint": FINGERPRINT},
        "map_scale": 3e-5,
        "seconds": {"catalog": 0.5, "extract": 40.25, "score": 20.0},
        "settings": groups,
        "config": {**groups, "output": {"uri": "/out", "run_id": run_id}},
        "versions": {"python": "3.11.7", "torch": "2.14.1"},
    }


def result(
    run_id: str,
    rows: Sequence[Mapping[str, Any]],
    metrics: dict[str, dict[str, Metric]] | None = None,
    without: Sequence[str] = (),
    **changed: Any,
) -> Result:
    """Return a run as it is read back."""
    folder = RunFolder(Location.parse("/out"), run_id)
    return Result(folder, table(rows, without), metrics or {}, facts(run_id, **changed))


def publish(
    output: Path | str,
    run_id: str,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> RunFolder:
    """Write a run's folder below `output`, with `more` in place of what its run.json has."""
    folder = RunFolder(Location.parse(str(output)), run_id)
    write_table(folder.results / "scores" / "part-00000.parquet", table(rows))
    columns = [("category", pa.string()), ("name", pa.string()), ("value", pa.float64()), ("reason", pa.string())]
    write_table(folder.results / "metrics.parquet", pa.Table.from_pylist(list(metrics), schema=pa.schema(columns)))
    folder.publish(facts(run_id) | more)
    return folder
