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

from pipeline.errors import StorageError
from pipeline.lake.run import RunFolder, read_table
from pipeline.lake.storage import Location

READERS = 16  # runs read at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class History:
    """Rows of earlier runs' scores, the newest for each content of each uri, and their images' pixels.

    `rows` has the columns of scores and `same`: whether the run had the settings of this one. `pixels` counts, for each
    category, the values of the anomaly maps that those runs made, by `metrics.thresholds.PIXEL_BINS`.
    """

    rows: pa.Table | None
    pixels: Mapping[str, NDArray[np.int64]]

    def scored(self) -> pa.Table | None:
        """Return the rows of images that have a score."""
        return None if self.rows is None else self.rows.filter(pc.equal(self.rows["status"], "scored"))


def read_history(output: Location, since: datetime, fingerprint: str, settings: Mapping[str, Any]) -> History:
    """Read the whole runs that ended since a time, and scored by the same encoder and method.

    Args:
        output: where the runs are.
        since: with a time zone.
        fingerprint: the encoder's.
        settings: of this run, as run.json holds them.
    """
    ids = [name.removeprefix("run_id=") for name in (output / "runs").folders() if name.startswith("run_id=")]
    with ThreadPoolExecutor(READERS) as readers:
        runs = list(readers.map(lambda run_id: RunFolder(output, run_id).finished(), ids))
    tables, pixels = [], dict[str, NDArray[np.int64]]()
    for run_id, run in zip(ids, runs, strict=True):
        if run is None or datetime.fromisoformat(run["finished"]) < since:
            continue
        if run["encoder"]["fingerprint"] != fingerprint or run["settings"]["method"] != settings["method"]:
            continue
        folder = RunFolder(output, run_id)
        try:
            table = read_table(folder.results / "scores" / "part-00000.parquet")
            counted = read_table(folder.results / "pixels.parquet").to_pylist()
        except StorageError as error:  # somebody deletes old runs
            log.warning("run %s is left out of the window: %s", run_id, error)
            continue
        same = all(run["settings"][group] == settings[group] for group in ("encoder", "references", "search"))
        tables.append(table.append_column("same", pa.array([same] * table.num_rows)))
        for row in counted:
            pixels[row["category"]] = pixels.get(row["category"], 0) + np.array(row["counts"], np.int64)
    if not tables:
        return History(None, pixels)
    return History(_newest(pa.concat_tables(tables, promote_options="default")), pixels)


def _newest(rows: pa.Table) -> pa.Table:
    """Keep of several rows of one content of one uri that which was scored last."""
    frame = rows.select(["uri", "etag", "scored_at"]).to_pandas()
    kept = frame.sort_values("scored_at", kind="stable").drop_duplicates(["uri", "etag"], keep="last").index
    return rows.take(pa.array(np.sort(kept.to_numpy())))
