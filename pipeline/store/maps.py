"""Anomaly maps as a run keeps them: the patch scores that they are drawn from, those of many images in a file.

    runs/run_id=<id>/maps/category=<c>/<first position>.parquet    a row for each image

An address below the output names a map: the file, and behind a # the row. Who wants a picture draws it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.io.parquet import read_parquet, write_parquet
from pipeline.io.storage import Location
from pipeline.schema.tables import MAPS
from pipeline.store.checks import counted_in, held_to

BLOCK_BYTES = 4e6  # of the patch scores in a file: about what a store gives in one breath
ADDRESS = re.compile(r"(.+\.parquet)#(\d+)")


@dataclass(frozen=True)
class StoredMap:
    """A row of MAPS. Of patches that do not count, the score is that of the nearest that does."""

    uri: str
    rows: int
    columns: int
    map_height: int
    map_width: int
    counted: str | None
    patch_scores: NDArray[np.float32]

    @property
    def scores(self) -> NDArray[np.float32]:
        """The patch scores (rows, columns)."""
        return self.patch_scores.reshape(self.rows, self.columns)

    @property
    def counts(self) -> NDArray[np.bool_] | None:
        """Which patches count (rows * columns,); None: all."""
        return None if self.counted is None else counted_in(self.counted, self.rows * self.columns)


def images_of_a_file(patches: int, most: int) -> int:
    """Return how many images of so many patches share a file of maps: `most`, or fewer large ones."""
    return max(1, min(most, int(BLOCK_BYTES // (4 * patches))))


def map_address(file: str, row: int) -> str:
    """Return the address of a map, a row of a file."""
    return f"{file}#{row}"


def write_maps(location: Location, maps: Iterable[StoredMap]) -> None:
    """Write the maps of a file, those of its rows."""
    location.write_bytes(write_parquet(MAPS.rows(maps)))


def read_map(location: Location) -> StoredMap | None:
    """Read what an address names; None where it names no row of a file: the map is a picture, as runs wrote before.

    Raises `DamagedFile`, and `StorageError`.
    """
    named = ADDRESS.fullmatch(location.path)
    if named is None:
        return None
    file, row = Location(location.protocol, named[1]), int(named[2])
    with held_to(file):
        table = read_parquet(file.read_bytes(), MAPS.names)
        if row >= table.num_rows:
            raise ValueError(f"it has {table.num_rows} maps, and no number {row}")
        found = table.slice(row, 1)
        scores: NDArray[np.float32] = found["patch_scores"].combine_chunks().flatten().to_numpy()
        [rest] = found.drop_columns("patch_scores").to_pylist()
        stored = StoredMap(**rest, patch_scores=scores)
        if not (np.isfinite(scores).all() and scores.shape == (stored.rows * stored.columns,)):
            raise ValueError(f"map {row} holds {scores.size} values, and some may be no numbers")
        return stored
