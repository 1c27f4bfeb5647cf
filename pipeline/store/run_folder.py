"""The folder of a run: what readers see is written last.

<output>/work/run_id=<id>/     what a run leaves behind while it works, removed when it is published
<output>/runs/run_id=<id>/     results; whole as soon as run.json is there
<output>/latest.json           names the newest whole run
"""

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import ObjectChanged, StorageError, StoreUnavailable
from pipeline.io.names import partition
from pipeline.io.parquet import read_parquet
from pipeline.io.storage import Location
from pipeline.schema.record import NewerVersion, RunRecord
from pipeline.schema.scores import upgrade_scores


@dataclass(frozen=True)
class RunFolder:
    """The places of one run below an output location."""

    output: Location
    run_id: str

    @property
    def name(self) -> str:
        """The results' path below the output."""
        return f"runs/run_id={self.run_id}"

    @property
    def results(self) -> Location:
        return self.output / self.name

    @property
    def work(self) -> Location:
        return self.output / "work" / f"run_id={self.run_id}"

    @property
    def features(self) -> Location:
        return self.output / "features"

    def index(self, category: str) -> Location:
        """Where the encoded images of a category are listed, in the order of the units' positions."""
        return self.work / "index" / f"{partition('category', category)}.parquet"

    def references(self, category: str) -> Location:
        """Where the images that a category is compared with are listed."""
        return self.work / "references" / f"{partition('category', category)}.parquet"

    def near_duplicates(self, category: str) -> Location:
        """Where the pairs (position, reference) of a category stand that are not compared."""
        return self.work / "near_duplicates" / f"{partition('category', category)}.parquet"

    def units(self, category: str, of_pass: int) -> Location:
        """Where the units of a category are listed, of each pass of scoring."""
        return self.work / "units" / str(of_pass) / f"{partition('category', category)}.parquet"

    def unit_results(self, of_pass: int) -> Location:
        """Where `<unit>.npy` lies, the result of a unit of a pass: its presence says that the unit is done."""
        return self.work / "unit_results" / str(of_pass)

    def finished(self) -> RunRecord | None:
        """Return run.json of a published run, or None; raises `StorageError` where it cannot be read."""
        location = self.results / "run.json"
        if not location.exists():
            return None
        try:
            return RunRecord.read(location.read_bytes())
        except NewerVersion as error:
            said = f"{location} was written by a newer version of LakeScore: {error}"
            raise StorageError(f"{said}; read it with that version, or choose another output.run_id") from error
        except ValueError as error:
            raise StorageError(f"{location} is damaged: {error}; choose another output.run_id") from error

    def publish(self, run: RunRecord) -> None:
        """Make the results readable: run.json, then latest.json. Nothing of the run is written afterwards."""
        if not (self.results / "run.json").create(_json(run.told())):
            raise StorageError(f"run {self.run_id} was published by another process meanwhile; nothing was changed")
        self.point_at_it()

    def point_at_it(self) -> None:
        """Do what comes after run.json, which may have been cut short: name the run in latest.json, remove its work.

        A run that was published later stays the newest, whoever writes last; by the storage's clock, not by ours.
        """
        latest = self.output / "latest.json"
        content = _json({"run_id": self.run_id, "run": self.name})
        while not latest.create(content):
            with contextlib.suppress(ObjectChanged):  # another run was quicker: look again
                found = latest.entry().etag
                if self._published_of(latest.read_bytes(found)) <= self._published:
                    latest.write_bytes(content, over=found)
                break
        self.work.remove()

    @property
    def _published(self) -> float:
        return (self.results / "run.json").entry().modified

    def _published_of(self, latest: bytes) -> float:
        """Return when the run was published that a latest.json names: before all others if there is no such run."""
        try:
            return RunFolder(self.output, json.loads(latest)["run_id"])._published
        except (ValueError, KeyError, TypeError, StorageError):
            return 0.0


def latest_run(output: Location) -> str:
    """Return the id of the newest whole run below an output location; raises `StorageError` when there is none."""
    latest = output / "latest.json"
    try:
        return str(json.loads(latest.read_bytes())["run_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{latest} is damaged: {error!r}; name a run of {output}/runs with --run_id") from error
    except StoreUnavailable:
        raise
    except StorageError as error:
        raise StorageError(f"{error}; no run was published below {output}, or it is no output.uri") from error


def write_json(location: Location, value: object) -> None:
    """Write a value as readable JSON, never with NaN, which JSON does not have."""
    location.write_bytes(_json(value))


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_table(location: Location, table: pa.Table) -> None:
    """Write a table as one Parquet file; the same table gives the same bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    location.write_bytes(sink.getvalue())


def read_table(location: Location) -> pa.Table:
    """Read one Parquet file; raises `StorageError`."""
    try:
        return read_parquet(location.read_bytes())
    except pa.ArrowException as error:
        raise StorageError(f"cannot read {location}: {error}") from error


def read_scores(run: RunFolder) -> pa.Table:
    """Read the scores of a run of any version as SCORES, and what a manifest had beside; raises `StorageError`."""
    return upgrade_scores(read_table(run.results / "scores" / "part-00000.parquet"))


def write_array(location: Location, array: NDArray[Any]) -> None:
    """Write an array as .npy."""
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    location.write_bytes(sink.getvalue())


def read_array(location: Location) -> NDArray[Any]:
    """Read an array from .npy; pickled objects are refused."""
    array: NDArray[Any] = np.load(io.BytesIO(location.read_bytes()), allow_pickle=False)
    return array
