"""The index of stored features: what the files of a category's images hold, of many files in one.

    features/<fingerprint>/index/category=<c>/<part>.parquet    rows of INDEXED

It saves requests and nothing else: what it says of files that are gone is not believed, and files that it does not know
are read one by one. Parts are named by their content. Where they become many, one is written in their place, and they
are made empty, since who may write a store need not delete in it.
"""

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import DamagedFile
from pipeline.io.names import partition
from pipeline.io.parquet import read_parquet, write_parquet
from pipeline.io.storage import Location
from pipeline.schema.tables import INDEXED
from pipeline.store.checks import held_to

READERS = 8  # parts read at a time
FEW = 16  # files, or parts, that are read one by one each night rather than written into one part

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureIndex:
    """The index of a category in the feature store at `root`."""

    root: Location
    category: str

    def parts(self) -> list[str]:
        """Return the names of what there is to read, rising."""
        return sorted(entry.path for entry in self._folder.files() if entry.size)

    def read(self, parts: Sequence[str]) -> pa.Table:
        """Return the rows of some parts; one that is damaged is dropped with a warning."""
        with ThreadPoolExecutor(READERS) as readers:
            return pa.concat_tables([INDEXED.empty(), *readers.map(self._read, parts)])

    def write(self, images: pa.Table, instead_of: Sequence[str] = ()) -> None:
        """Write a part: rows of INDEXED, of images whose files are written. Other parts count no more."""
        content = write_parquet(INDEXED.cast(images))
        name = _name(content)
        (self._folder / name).write_bytes(content)
        for part in instead_of:
            if part != name:  # as where it was damaged
                self._drop(part)

    def _drop(self, part: str) -> None:
        (self._folder / part).write_bytes(b"")

    @property
    def _folder(self) -> Location:
        return self.root / "index" / partition("category", self.category)

    def _read(self, part: str) -> pa.Table:
        location = self._folder / part
        try:
            with held_to(location):
                content = location.read_bytes()
                if _name(content) != part:
                    raise ValueError("it is not what it is called")
                return INDEXED.cast(read_parquet(content))
        except DamagedFile as error:
            log.warning("%s; what it says is read from files of features, one by one", error)
            self._drop(part)
            return INDEXED.empty()


def _name(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:16]}.parquet"
