"""The folder of a run: what readers see is written last.

<output>/work/run_id=<id>/     what a run leaves behind while it works, removed when it is published
<output>/runs/run_id=<id>/     results; whole as soon as run.json is there, which lists them
<output>/latest.json           names the newest whole run

A run may be tried several times, and who was taken for dead may wake up and go on writing. So each attempt has names of
its own for all that it writes for readers: catalog.parquet, that of the second catalog-1.parquet. The one that creates
run.json has published; what others wrote is removed, and nothing that is listed is ever written again.
"""

import contextlib
import io
import json
import logging
import secrets
import zlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from pipeline.errors import DamagedFile, ObjectChanged, StorageError, StoreUnavailable
from pipeline.io.json_file import parse_json, read_json
from pipeline.io.names import partition
from pipeline.io.parquet import read_parquet, write_parquet
from pipeline.io.storage import Location
from pipeline.schema.record import NewerVersion, RunRecord
from pipeline.schema.tables import SCORES
from pipeline.store.checks import held_to

CRC_BYTES = 4  # behind an array

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """The places of one run below an output location; those of its results are an attempt's own."""

    output: Location
    run_id: str
    attempt: int = 0

    @property
    def name(self) -> str:
        """The results' path below the output."""
        return f"runs/run_id={self.run_id}"

    @property
    def maps(self) -> str:
        """The path of the maps' folder below the output."""
        return f"{self.name}/{self._own('maps')}"

    @property
    def report(self) -> Location:
        """The folder of the report."""
        return self.results / self._own("report")

    def part(self, what: str) -> str:
        """Return the path below the results of what readers read.

        That is scores, regions, families, parts, catalog, pixels, metrics, metrics_json.
        """
        if what == "scores":
            return f"scores/part-{self.attempt:05d}.parquet"
        return f"{self._own('metrics')}.json" if what == "metrics_json" else f"{self._own(what)}.parquet"

    def _own(self, name: str) -> str:
        return f"{name}-{self.attempt}" if self.attempt else name

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

    def near_duplicates(self, category: str, start: int) -> Location:
        """Where the pairs (position, reference) of a range of a category's images stand that are not compared."""
        return self.work / "near_duplicates" / partition("category", category) / f"{start:07d}.parquet"

    def nearest(self, category: str, start: int) -> Location:
        """Where the nearest references (n, K) of each of a range of a category's images stand."""
        return self.work / "nearest" / partition("category", category) / f"{start:07d}.npy"

    def nearest_of_references(self, category: str) -> Location:
        """Where the nearest references (R, K) of each of a category's references stand."""
        return self.work / "nearest" / partition("category", category) / "references.npy"

    def raw_scores(self, category: str) -> Location:
        """Where the raw scores (N,) of a category's images stand, in the order of positions."""
        return self.work / "raw_scores" / f"{partition('category', category)}.npy"

    def units(self, category: str, of_pass: int) -> Location:
        """Where the units of a category are listed, of each pass of scoring."""
        return self.work / "units" / str(of_pass) / f"{partition('category', category)}.parquet"

    def unit_results(self, of_pass: int) -> Location:
        """Where `<unit>.npy` lies, the result of a unit of a pass: its presence says that the unit is done."""
        return self.work / "unit_results" / str(of_pass)

    def differences(self, category: str) -> Location:
        """Where arrays lie of how regions of a category differ from its references, one for each block of images."""
        return self.work / "differences" / partition("category", category)

    def finished(self, otherwise: str = "choose another output.run_id") -> RunRecord | None:
        """Return run.json of a published run, or None; raises `StorageError`, with what to do, where it is damaged."""
        location = self.results / "run.json"
        if not location.exists():
            return None
        try:
            return RunRecord.read(location.read_bytes())
        except NewerVersion as error:
            said = f"{location} was written by a newer version of LakeScore: {error}"
            raise StorageError(f"{said}; read it with that version, or {otherwise}") from error
        except ValueError as error:
            raise DamagedFile(f"{location} is damaged: {error}; remove its run, or {otherwise}") from error

    def begin_attempt(self) -> "RunFolder":
        """Return the places of an attempt that nobody has made yet."""
        numbers = [int(entry.path) for entry in self._attempts.files() if entry.path.isdecimal()]
        number = max(numbers, default=-1) + 1
        while not (self._attempts / str(number)).create(secrets.token_bytes(8)):  # else a lost answer looks like ours
            number += 1
        return replace(self, attempt=number)

    @property
    def _attempts(self) -> Location:
        return self.work / "attempts"

    def publish(self, run: RunRecord) -> None:
        """Make the results readable: run.json, then latest.json. Nothing of the run is written afterwards."""
        if not (self.results / "run.json").create(to_json(run.written())):
            published = self.finished()
            if published is not None and published.attempt != self.attempt:
                self._remove_results()
            raise StorageError(f"run {self.run_id} was published by another process meanwhile, and stays as it is")
        self.point_at_it()

    def point_at_it(self) -> None:
        """Do what comes after run.json, which may have been cut short: name the run in latest.json, remove the rest.

        A run that was published later stays the newest, whoever writes last; by the storage's clock, not by ours.
        """
        latest = self.output / "latest.json"
        content = to_json(asdict(Latest(self.run_id, self.name)))
        while not latest.create(content):
            with contextlib.suppress(ObjectChanged):  # another run was quicker: look again
                found = latest.entry().etag
                if self._published_of(latest.read_bytes(found), latest) <= self._published:
                    latest.write_bytes(content, over=found)
                break
        for entry in self._attempts.files():
            if entry.path.isdecimal() and int(entry.path) != self.attempt:
                replace(self, attempt=int(entry.path))._remove_results()
        _remove(self.work)

    def _remove_results(self) -> None:
        """Remove what an attempt that did not publish wrote for readers; no reader is led to what may not be."""
        parts = ("scores", "regions", "families", "parts", "catalog", "pixels", "metrics", "metrics_json")
        for location in (*(self.results / self.part(what) for what in parts), self.output / self.maps, self.report):
            _remove(location)
        scores = self.results / self.part("scores")
        if scores.exists():  # may not be removed, and would be read by who reads all that lies in scores/
            write_table(scores, SCORES.empty())

    @property
    def _published(self) -> float:
        return (self.results / "run.json").entry().modified

    def _published_of(self, content: bytes, latest: Location) -> float:
        """Return when the run was published that a latest.json names: before all others if there is no such run."""
        named = parse_json(content, _LATEST, latest, "it is written anew")
        try:
            return 0.0 if named is None else RunFolder(self.output, named.run_id)._published
        except StoreUnavailable:
            raise
        except StorageError:
            return 0.0


@dataclass(frozen=True)
class Latest:
    """latest.json: a run's id, and its path below the output."""

    run_id: str
    run: str


_LATEST = TypeAdapter(Latest)


def latest_run(output: Location) -> str:
    """Return the id of the newest whole run below an output location; raises `StorageError` when there is none."""
    named = read_json(output / "latest.json", _LATEST, "the run that was published last is taken")
    if named is not None and (RunFolder(output, named.run_id).results / "run.json").exists():
        return named.run_id
    published: list[tuple[float, str]] = []
    for name in (output / "runs").folders():
        location = output / "runs" / name / "run.json"
        if name.startswith("run_id=") and location.exists():
            published.append((location.entry().modified, name.removeprefix("run_id=")))
    if not published:
        raise StorageError(f"no run was published below {output}, or it is no output.uri")
    return max(published)[1]


def _remove(location: Location) -> None:
    """Remove what nobody needs; a run that is published has not failed for what stays."""
    try:
        location.remove()
    except StorageError as error:
        log.warning("left behind: %s", error)


def write_json(location: Location, value: object) -> None:
    """Write a value as `to_json` does."""
    location.write_bytes(to_json(value))


def to_json(value: object) -> bytes:
    """Return a value as readable JSON, never with NaN, which JSON does not have."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_table(location: Location, table: pa.Table) -> None:
    """Write a table as one Parquet file; the same table gives the same bytes."""
    location.write_bytes(write_parquet(table))


def read_table(location: Location) -> pa.Table:
    """Read one Parquet file; raises `DamagedFile`, and `StorageError`."""
    with held_to(location):
        return read_parquet(location.read_bytes())


def write_array(location: Location, array: NDArray[Any]) -> None:
    """Write an array as .npy, with a checksum of it and of the file's name behind."""
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    content = sink.getvalue()
    location.write_bytes(content + _crc(content, location))


def read_array(location: Location) -> NDArray[Any]:
    """Read an array that `write_array` wrote there; raises `DamagedFile`, and `StorageError`."""
    with held_to(location):
        content = location.read_bytes()
        if content[-CRC_BYTES:] != _crc(content[:-CRC_BYTES], location):
            raise ValueError("its checksum is another one")
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
        return array


def _crc(content: bytes, location: Location) -> bytes:
    name = location.path.rpartition("/")[2]
    return zlib.crc32(name.encode(), zlib.crc32(content)).to_bytes(CRC_BYTES, "little")
