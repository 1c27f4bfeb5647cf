"""A published run as readers see it: the files that run.json lists, held to what it says of them."""

import hashlib
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import DamagedFile
from pipeline.io.parquet import read_parquet
from pipeline.io.storage import Location
from pipeline.schema.record import FileRecord, RunRecord
from pipeline.schema.scores import upgrade_scores
from pipeline.schema.tables import FAMILIES, PARTS, REGIONS
from pipeline.store.checks import held_to
from pipeline.store.run_folder import RunFolder


@dataclass(frozen=True)
class Published:
    """A run's folder, and its run.json."""

    folder: RunFolder
    run: RunRecord

    def location(self, what: str) -> Location:
        """Return where a file lies: scores, regions, families, parts, catalog, ...; raises `DamagedFile`."""
        return self.folder.results / self._listed(what).path

    def table(self, what: str) -> pa.Table:
        """Read a table; raises `DamagedFile` where it is not what was published, and `StorageError`."""
        listed, location = self._listed(what), self.location(what)
        with held_to(location):
            content = location.read_bytes()
            if listed.sha256 not in (None, hashlib.sha256(content).hexdigest()):
                raise ValueError("it is not what run.json says; restore it, or remove the run")
            return read_parquet(content)

    def scores(self) -> pa.Table:
        """Read the scores of a run of any version as SCORES, and what a manifest had beside; raises `StorageError`."""
        return upgrade_scores(self.table("scores"))

    def regions(self) -> pa.Table:
        """Read the regions of a run as REGIONS: none where its version found none; raises `StorageError`."""
        return REGIONS.completed(self.table("regions")) if "regions" in self.run.files else REGIONS.empty()

    def families(self) -> pa.Table:
        """Read the families of a run as FAMILIES: none where its version found none; raises `StorageError`."""
        return FAMILIES.completed(self.table("families")) if "families" in self.run.files else FAMILIES.empty()

    def parts(self) -> pa.Table:
        """Read the parts of a run as PARTS: none where its version knew none; raises `StorageError`."""
        return PARTS.completed(self.table("parts")) if "parts" in self.run.files else PARTS.empty()

    def _listed(self, what: str) -> FileRecord:
        if what not in self.run.files:
            raise DamagedFile(f"{self.folder.results / 'run.json'} lists no {what}")
        return self.run.files[what]


def file_record(path: str, content: bytes) -> FileRecord:
    """Return what run.json says of a file of this content."""
    return FileRecord(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
