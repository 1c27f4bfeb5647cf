"""A published run as the jobs see it; reading one back needs neither Ray nor torch."""

from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import ConfigError, StorageError, StoreUnavailable
from pipeline.metrics.category import Metric
from pipeline.schema.record import RunRecord
from pipeline.schema.table import records
from pipeline.schema.tables import METRICS
from pipeline.store.published import Published
from pipeline.store.run_folder import RunFolder

ANOTHER = "give the id of another one (--run_id)"


@dataclass(frozen=True)
class Result:
    """What a run did: where it lies, its scores (SCORES, a row for each input), metrics by category, and run.json."""

    folder: RunFolder
    scores: pa.Table
    metrics: dict[str, dict[str, Metric]]
    run: RunRecord

    @property
    def published(self) -> Published:
        """The files that the run published."""
        return Published(self.folder, self.run)


def read_result(folder: RunFolder) -> Result:
    """Read a published run back; raises `ConfigError` when there is none, and `StorageError`."""
    run = folder.finished(otherwise=ANOTHER)
    if run is None:
        raise ConfigError(f"there is no finished run at {folder.results}; {ANOTHER}")
    published, metrics = Published(folder, run), dict[str, dict[str, Metric]]()
    try:
        for of in records(METRICS.completed(published.table("metrics")), _Measured):
            if of.category is not None:
                metrics.setdefault(of.category, {})[of.name] = Metric(of.value, of.reason, of.error)
        return Result(folder, published.scores(), metrics, run)
    except StoreUnavailable:
        raise
    except (StorageError, pa.ArrowException, KeyError) as error:
        raise StorageError(f"the run {folder.run_id} cannot be read: {error}; or {ANOTHER}") from error


@dataclass(frozen=True)
class _Measured:
    """A row of METRICS."""

    category: str | None
    name: str
    value: float | None
    reason: str | None
    error: float | None
