"""What earlier runs below an output said of images: for references of earlier nights, for thresholds, for drift."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import StorageError, StoreUnavailable
from pipeline.io.storage import Location
from pipeline.store.run_folder import RunFolder, read_table

READERS = 16  # runs read at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class History:
    """Rows of earlier runs' scores, that of the last run for each content of each uri, and their images' pixels.

    `rows` has columns of scores and `same`: whether the run had the settings of this one. `pixels` counts, for each
    category, the values of the anomaly maps that those runs made, by `metrics.thresholds.PIXEL_BINS`.
    """

    rows: pa.Table | None
    pixels: Mapping[str, NDArray[np.int64]]

    def scored(self) -> pa.Table | None:
        """Return the rows of images that have a score."""
        return None if self.rows is None else self.rows.filter(pc.equal(self.rows["status"], "scored"))

    def of_these_settings(self) -> pa.Table | None:
        """Return the rows of runs with the settings of this one: others' scores may differ for no other reason."""
        return None if self.rows is None else self.rows.filter(self.rows["same"])


def read_history(
    output: Location,
    since: datetime,
    fingerprint: str,
    settings: Mapping[str, Any],
    columns: pa.Schema,
    until: datetime | None = None,
) -> History:
    """Read the whole runs that ended since a time, and scored by the same encoder and method.

    A run that cannot be read is left out with a warning: somebody deletes old runs. Raises `StoreUnavailable`.

    Args:
        output: where the runs are.
        since: with a time zone.
        fingerprint: the encoder's.
        settings: of this run, as run.json holds them.
        columns: of scores, as far as a run has them. A manifest's further columns differ from run to run, and may be
            called anything: one of another type is none of these.
        until: the last moment at which a run may have ended. Default: now.
    """
    ids = [name.removeprefix("run_id=") for name in (output / "runs").folders() if name.startswith("run_id=")]

    def read(run_id: str) -> _Run | None:
        try:
            return _read(RunFolder(output, run_id), since, until, fingerprint, settings, columns)
        except StoreUnavailable:
            raise
        except (StorageError, pa.ArrowException, OSError) as error:  # damaged Parquet pages are OSErrors
            log.warning("run %s is left out of the window: %s", run_id, error)
            return None

    with ThreadPoolExecutor(READERS) as readers:
        runs = sorted((run for run in readers.map(read, ids) if run is not None), key=lambda run: run.finished)
    pixels = dict[str, NDArray[np.int64]]()
    for run in runs:
        for row in run.pixels:
            pixels[row["category"]] = pixels.get(row["category"], 0) + np.array(row["counts"], np.int64)
    if not runs:
        return History(None, pixels)
    return History(_newest(pa.concat_tables([run.rows for run in runs], promote_options="default")), pixels)


@dataclass(frozen=True)
class _Run:
    finished: datetime
    rows: pa.Table
    pixels: list[dict[str, Any]]


def _read(
    folder: RunFolder,
    since: datetime,
    until: datetime | None,
    fingerprint: str,
    settings: Mapping[str, Any],
    columns: pa.Schema,
) -> _Run | None:
    """Read a run; None where it is not whole, too old or too new, or scored by another encoder or method."""
    run = folder.finished()
    if run is None or (finished := datetime.fromisoformat(run["finished"])) < since:
        return None
    if until is not None and finished > until:
        return None
    if run["encoder"]["fingerprint"] != fingerprint or run["settings"]["method"] != settings["method"]:
        return None
    pixels = read_table(folder.results / "pixels.parquet").to_pylist()
    rows = read_table(folder.results / "scores" / "part-00000.parquet")
    rows = rows.select([field.name for field in columns if field.name in rows.column_names and _same(field, rows)])
    same = _decides(run["settings"]) == _decides(settings)
    return _Run(finished, rows.append_column("same", pa.array([same] * rows.num_rows, pa.bool_())), pixels)


def _same(field: pa.Field, rows: pa.Table) -> bool:
    """Tell whether a column is ours: Parquet keeps times in other units."""
    kind = rows.schema.field(field.name).type
    return bool(kind == field.type or (pa.types.is_timestamp(kind) and pa.types.is_timestamp(field.type)))


def _decides(settings: Mapping[str, Any]) -> list[Any]:
    """Return the settings that decide an image's row, wherever the image lies."""
    limits = [settings["input"][name] for name in ("max_pixels", "max_bytes")]
    return [limits, *(settings[group] for group in ("encoder", "method", "references", "search", "decision"))]


def _newest(rows: pa.Table) -> pa.Table:
    """Keep the last of several rows of one content of one uri; runs stand in the order of their ends.

    Not the last by `scored_at`, which quarantined rows lack.
    """
    frame = rows.select(["uri", "etag"]).to_pandas()
    return rows.filter(pa.array(~frame.duplicated(keep="last").to_numpy()))
