"""What earlier runs below an output said of images: for references of earlier nights, for thresholds, for drift."""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import StorageError, StoreUnavailable
from pipeline.geometry import LakeGeometry
from pipeline.io.parquet import DAMAGE
from pipeline.io.storage import Location
from pipeline.schema.record import Settings, setting
from pipeline.schema.table import records
from pipeline.schema.tables import FAMILIES, KEPT, REGIONS
from pipeline.store.published import Published
from pipeline.store.run_folder import RunFolder

READERS = 16  # runs read at a time
# What decides an image's row, wherever the image lies
DECIDE = ("input.max_pixels", "input.max_bytes", "encoder", "method", "references", "search", "decision")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class History:
    """Rows of earlier runs' scores, that of the last run for each content of each uri, and their images' pixels.

    `rows` has the columns of KEPT, and `same`: whether the run had the settings of this one. `pixels` counts, for each
    category, the values of the anomaly maps that those runs made, in the bins of PIXELS. `regions` has the columns of
    REGIONS, those of the images of `rows` by the same runs; `families` has FAMILIES as the last run of each category
    knew them.
    """

    rows: pa.Table | None
    pixels: Mapping[str, NDArray[np.int64]]
    regions: pa.Table = field(default_factory=REGIONS.empty)
    families: pa.Table = field(default_factory=FAMILIES.empty)

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
    settings: Settings,
    geometry: LakeGeometry,
    until: datetime | None = None,
) -> History:
    """Read the whole runs that ended since a time, and scored by the same encoder and method.

    Of a run that saw a category's images otherwise that category is left out: its scores do not compare. A run
    that cannot be read is left out with a warning: somebody deletes old runs. Raises `StoreUnavailable`.

    Args:
        output: where the runs are.
        since: with a time zone.
        fingerprint: the encoder's.
        settings: of this run, as run.json holds them, with the precision that is taken.
        geometry: how this run sees images.
        until: the last moment at which a run may have ended. Default: now.
    """
    ids = [name.removeprefix("run_id=") for name in (output / "runs").folders() if name.startswith("run_id=")]

    def read(run_id: str) -> _Run | None:
        try:
            return _read(RunFolder(output, run_id), since, until, fingerprint, settings, geometry)
        except StoreUnavailable:
            raise
        except (StorageError, *DAMAGE) as error:
            log.warning("run %s is left out of the window: %s", run_id, " ".join(str(error).split())[:300])
            return None

    with ThreadPoolExecutor(READERS) as readers:
        runs = sorted((run for run in readers.map(read, ids) if run is not None), key=lambda run: run.finished)
    pixels = dict[str, NDArray[np.int64]]()
    for run in runs:
        for of in run.pixels:
            pixels[of.category] = pixels.get(of.category, 0) + np.array(of.counts, np.int64)
    if not runs:
        return History(None, pixels)
    numbers = range(len(runs))
    rows = _newest(pa.concat_tables([_of_run(number, runs[number].rows) for number in numbers]))
    regions = pa.concat_tables([_of_run(number, runs[number].regions) for number in numbers])
    newest = set(_owners(rows))
    regions = regions.filter(pa.array([owner in newest for owner in _owners(regions)], pa.bool_()))
    families = pa.concat_tables([_of_run(number, runs[number].families) for number in numbers])
    last = dict(zip(families["category"].to_pylist(), families["run"].to_pylist(), strict=True))
    names = zip(families["category"].to_pylist(), families["run"].to_pylist(), strict=True)
    families = families.filter(pa.array([last[category] == run for category, run in names], pa.bool_()))
    return History(rows.drop_columns("run"), pixels, regions.select(REGIONS.names), families.select(FAMILIES.names))


@dataclass(frozen=True)
class PixelCounts:
    """A row of PIXELS."""

    category: str
    counts: list[int]


@dataclass(frozen=True)
class _Run:
    finished: datetime
    rows: pa.Table
    pixels: list[PixelCounts]
    regions: pa.Table
    families: pa.Table


def _read(
    folder: RunFolder,
    since: datetime,
    until: datetime | None,
    fingerprint: str,
    settings: Settings,
    geometry: LakeGeometry,
) -> _Run | None:
    """Read a run; None where it is not whole, too old or too new, or scored by another encoder or method."""
    run = folder.finished()
    if run is None or run.finished < since or (until is not None and run.finished > until):
        return None
    if run.encoder.fingerprint != fingerprint or run.settings.get("method") != settings.get("method"):
        return None
    published = Published(folder, run)
    pixels = records(published.table("pixels"), PixelCounts)
    rows = KEPT.cast(published.scores())
    categories = pc.unique(rows["category"]).to_pylist()
    before = run.geometry
    alike = [category for category in categories if before.key(category) == geometry.key(category)]
    rows = rows.filter(pc.is_in(rows["category"], value_set=pa.array(alike, pa.string())))
    pixels = [of for of in pixels if before.key(of.category) == geometry.key(of.category)]
    same = all(setting(run.taken, name) == setting(settings, name) for name in DECIDE)
    rows = rows.append_column("same", pa.array([same] * rows.num_rows, pa.bool_()))
    return _Run(run.finished, rows, pixels, published.regions(), published.families())


def _owners(table: pa.Table) -> Iterator[tuple[int, str, str]]:
    """Yield run, uri and etag of each row."""
    return zip(*(table[name].to_pylist() for name in ("run", "uri", "etag")), strict=True)


def _of_run(number: int, table: pa.Table) -> pa.Table:
    """Return a table with the number of its run behind."""
    return table.append_column("run", pa.array([number] * table.num_rows, pa.int64()))


def _newest(rows: pa.Table) -> pa.Table:
    """Keep the last of several rows of one content of one uri; runs stand in the order of their ends.

    Not the last by `scored_at`, which quarantined rows lack.
    """
    frame = rows.select(["uri", "etag"]).to_pandas()
    return rows.filter(pa.array(~frame.duplicated(keep="last").to_numpy()))
