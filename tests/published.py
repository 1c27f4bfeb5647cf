"""Published runs made by hand, for tests of what reads them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.io.storage import Location
from pipeline.metrics.category import Metric
from pipeline.result import Result
from pipeline.schema.record import OLD_FILES, RunRecord
from pipeline.schema.scores import upgrade_scores
from pipeline.schema.table import TableSchema
from pipeline.schema.tables import SCORES, VERSION
from pipeline.store.run_folder import RunFolder, write_table

# Columns that runs have from the second version of scores on
EARLY = SCORES.only(
    "category", "uri", "etag", "status", "reason", "score", "score_raw", "score_final", "stderr", "references"
)
FINGERPRINT = "0123456789abcdef"
COUNTS: dict[str, Any] = {
    "images": 5,
    "scored": 4,
    "carried": 3,
    "quarantined": 1,
    "reasons": {"damaged": 1},
    "anomalous": 1,
    "features_reused": 2,
    "other_files": 1,
}
ENCODER: dict[str, Any] = {
    "name": "timm:some_vit",
    "grid": [3, 2],
    "width": 8,
    "embedding": 8,
    "layers": [2, 5],
    "fingerprint": FINGERPRINT,
    "patch": 14,
}


def row(category: str, uri: str, score_raw: float | None, **more: Any) -> dict[str, Any]:
    """Return a row of scores; an image with no score is quarantined as damaged."""
    bad = score_raw is None
    usual = {"etag": f"{uri}-1", "status": "quarantined" if bad else "scored", "reason": "damaged" if bad else None}
    score = None if score_raw is None else score_raw / 2
    return {"category": category, "uri": uri, "score_raw": score_raw, "score": score} | usual | more


def stored(rows: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> pa.Table:
    """Return scores as a run has stored them: EARLY columns `without` some, and what else the rows have."""
    early = TableSchema("Scores.", EARLY)
    found = early.rows([{name: value for name, value in of.items() if name in early.names} for of in rows])
    for name in dict.fromkeys(name for of in rows for name in of if name not in early.names):
        found = found.append_column(name, _column(name, [of.get(name) for of in rows]))
    return found.drop_columns(list(without))


def _column(name: str, values: list[Any]) -> pa.Array:
    """Return a column in the type of ours of that name; in another, a manifest's, where the values are no such."""
    try:
        return pa.array(values, SCORES[name].type if name in SCORES.names else None)
    except pa.ArrowException:
        return pa.array(values)


def table(rows: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> pa.Table:
    """Return such scores as they are read back."""
    return upgrade_scores(stored(rows, without))


def facts(run_id: str, **changed: Any) -> dict[str, Any]:
    """Return what a run.json holds; `changed` settings are given as references__count=8."""
    groups: dict[str, Any] = {
        "input": {"uri": "/lake", "layout": "auto"},
        "encoder": {"name": "timm:some_vit", "layers": None},
        "references": {"source": "window", "mode": "auto", "count": 256},
        "search": {"kind": "auto", "dtype": "fp32", "radius": "auto"},
        "metrics": "exact",
    }
    for name, value in changed.items():
        group, _, key = name.partition("__")
        groups[group] = {**groups.get(group, {}), key: value} if key else value
    return {
        "version": VERSION,
        "run_id": run_id,
        "attempt": 0,
        "files": {what: {"path": path, "size": None, "sha256": None} for what, path in OLD_FILES.items()},
        "started": "2030-01-01T10:00:00+00:00",
        "finished": "2030-01-01T10:01:05+00:00",
        "counts": COUNTS,
        "reaches": {},
        "decisions": {},
        "drifted": ["nut"],
        "drift": {},
        "layout": "folder",
        "search": {"kind": "gemm", "tile": 1024, "products": 5e10, "aggregated": 5e7, "dtype": None, "near_tile": None},
        "estimate": {"cost": {"products": 3e11, "aggregated": 2e6, "read": 4e6}, "seconds": 6.0, "workers": 1},
        "encoder": ENCODER,
        "map_scale": 3e-5,
        "nodes": {"images": {"head": 5}, "units": {"head": 2}},
        "seconds": {"catalog": 0.5, "extract": 40.25, "score": 20.0},
        "settings": groups,
        "config": {**groups, "output": {"uri": "/out", "run_id": run_id}},
        "versions": {"python": "3.11.7", "torch": "2.14.1"},
        "host": {"name": "factory", "machine": "x86_64", "cpus": 2},
    }


def first_facts(run_id: str) -> dict[str, Any]:
    """Return what the first version wrote into run.json."""
    told = facts(run_id) | {"search": "gemm", "counts": {"images": 1, "scored": 1, "quarantined": 0, "reasons": {}}}
    told["counts"] |= {"features_reused": 2, "other_files": 1}
    groups = {name: told["settings"][name] for name in ("input", "encoder", "metrics")}
    told |= {"settings": groups, "config": groups | {"output": {"uri": "/out", "run_id": run_id}}}
    later = ("version", "attempt", "files", "reaches", "decisions", "drifted", "drift", "estimate", "nodes")
    return {name: value for name, value in told.items() if name not in later}


def record(run_id: str, more: Mapping[str, Any] | None = None, **changed: Any) -> RunRecord:
    """Return a run.json as it is read back, with `more` in place of what `facts` says."""
    return RunRecord.read(json.dumps(facts(run_id, **changed) | dict(more or {})).encode())


def result(
    run_id: str,
    rows: Sequence[Mapping[str, Any]],
    metrics: dict[str, dict[str, Metric]] | None = None,
    without: Sequence[str] = (),
    **changed: Any,
) -> Result:
    """Return a run as it is read back."""
    folder = RunFolder(Location.parse("/out"), run_id)
    return Result(folder, table(rows, without), metrics or {}, record(run_id, **changed))


def first_result(run_id: str, rows: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> Result:
    """Return a run of the first version as it is read back."""
    run = RunRecord.read(json.dumps(first_facts(run_id)).encode())
    return Result(RunFolder(Location.parse("/out"), run_id), table(rows, [*without, "score_final"]), {}, run)


def publish(
    output: Path | str,
    run_id: str,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> RunFolder:
    """Write a run's folder below `output`, with `more` in place of what its run.json has."""
    folder = RunFolder(Location.parse(str(output)), run_id)
    write_table(folder.results / "scores" / "part-00000.parquet", stored(rows))
    columns = [("category", pa.string()), ("name", pa.string()), ("value", pa.float64()), ("reason", pa.string())]
    write_table(folder.results / "metrics.parquet", pa.Table.from_pylist(list(metrics), schema=pa.schema(columns)))
    folder.publish(record(run_id, more))
    return folder
