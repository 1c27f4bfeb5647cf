"""A published run as the jobs see it; reading one back needs neither Ray nor torch."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.metrics.category import Metric
from pipeline.store.run_folder import RunFolder, read_table


@dataclass(frozen=True)
class Result:
    """What a run did: where it lies, its scores (a row for each input), metrics by category, and run.json."""

    folder: RunFolder
    scores: pa.Table
    metrics: dict[str, dict[str, Metric]]
    run: dict[str, Any]


def read_result(folder: RunFolder) -> Result:
    """Read a published run back; raises `ConfigError` when there is none, and `StorageError`."""
    run = folder.finished()
    if run is None:
        raise ConfigError(f"there is no finished run at {folder.results}; give the id of another one")
    metrics: dict[str, dict[str, Metric]] = {}
    for row in read_table(folder.results / "metrics.parquet").to_pylist():
        if row["category"] is not None:
            found = Metric(row["value"], row["reason"], row.get("error"))  # runs of before errors were told lack them
            metrics.setdefault(row["category"], {})[row["name"]] = found
    return Result(folder, read_table(folder.results / "scores" / "part-00000.parquet"), metrics, run)
