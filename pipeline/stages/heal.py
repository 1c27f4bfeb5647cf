"""Heal: what is damaged among the stored features and the results of units is dropped, and made again."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DamagedFile
from pipeline.io.names import partition
from pipeline.schema.tables import CHECKED, with_count
from pipeline.stage import Runner
from pipeline.store.features import FeatureStore, check_block
from pipeline.store.run_folder import RunFolder, read_array

TRIES = 3  # after the first: what is damaged again and again has a cause that no run can mend
BLOCK = 32  # files of one task

T = TypeVar("T")
MADE = with_count(CHECKED)

log = logging.getLogger(__name__)


def healing(work: Callable[[], T], check: "CheckFiles", categories: Iterable[str], runner: Runner) -> T:
    """Do some work; where it finds a damaged file, drop all that are damaged and do it again, which makes them anew.

    `categories` are those whose features the work reads. Raises `DamagedFile` when that does not end.
    """
    for _ in range(TRIES):
        try:
            return work()
        except DamagedFile as error:
            log.warning("%s: looking for more, to make them anew", error)
        drop_damaged(check, categories, runner)
    return work()


def drop_damaged(check: "CheckFiles", categories: Iterable[str], runner: Runner) -> None:
    """Drop the damaged ones of the files of features of some categories, and of the results of a run's units."""
    store, results = check.store, check.run.work / "unit_results"
    folders = [partition("category", category) for category in categories]
    files = [
        {"features": f"{folder}/{entry.path}"}
        for folder in folders
        for entry in (store.root / "images" / folder).files()
        if entry.size
    ]
    files += [{"result": entry.path} for entry in results.files()]
    if not files:
        return
    blocks = [CHECKED.rows(files[start : start + BLOCK]) for start in range(0, len(files), BLOCK)]
    with runner.progress("check", "files", len(files)) as progress:
        checked = runner(check, blocks, progress)
    for row in checked.filter(pc.is_valid(checked["detail"])).to_pylist():
        log.warning("dropped  %s", row["detail"])
        if row["features"] is not None:
            store.drop(row["features"])
        else:
            (results / row["result"]).remove()


@dataclass
class CheckFiles:
    """A worker's part: reads files of features, and results of units."""

    store: FeatureStore
    run: RunFolder

    def setup(self, device: str, threads: int) -> None:
        """Nothing."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the rows of CHECKED, and what is wrong with each."""
        rows = block.to_pylist()
        return MADE.rows(row | {"detail": self._damage(row["features"], row["result"]), "count": 1} for row in rows)

    def _damage(self, features: str | None, result: str) -> str | None:
        try:
            if features is not None:
                check_block(self.store.root, features)
            else:
                read_array(self.run.work / "unit_results" / result)
        except DamagedFile as error:
            return str(error)
        return None
