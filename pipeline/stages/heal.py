"""Heal: what is damaged among the stored features and the results of units is dropped, and made again."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DamagedFile
from pipeline.schema.tables import CHECKED, with_count
from pipeline.stage import Runner
from pipeline.store.features import FeatureStore, check_block
from pipeline.store.run_folder import RunFolder, read_array

TRIES = 3  # after the first: what is damaged again and again has a cause that no run can mend
BLOCK = 32  # files of one task

T = TypeVar("T")
MADE = with_count(CHECKED)

log = logging.getLogger(__name__)


def healing(work: Callable[[], T], check: "CheckFiles", runner: Runner) -> T:
    """Do some work; where it finds a damaged file, drop it and others that are, and do it again, which makes them anew.

    Images that are not listed today are not encoded again: as references of earlier nights they are lost. Raises
    `DamagedFile` when that does not end.
    """
    for _ in range(TRIES):
        try:
            return work()
        except DamagedFile as error:
            log.warning("%s: looking for more, to make them anew", error)
            files = _suspected(check, str(error))
        if files:
            _drop_damaged(files, check, runner)
    return work()


def _suspected(check: "CheckFiles", said: str) -> list[dict[str, str]]:
    """Return rows of CHECKED of the files among which there is the damaged one that an error names, and perhaps others.

    A category's features, or the run's results; the tables of a run at work are written anew by each try.
    """
    results = check.run.work / "unit_results"
    if f"{results}/" in said:
        return [{"result": entry.path} for entry in results.files()]
    named = re.search(rf"{re.escape(str(check.store.root))}/(?:images|tokens)/(category=[^/]+)/", said)
    if named is None:
        return []
    entries = (check.store.root / "images" / named[1]).files()
    return [{"features": f"{named[1]}/{entry.path}"} for entry in entries if entry.size]


def _drop_damaged(files: Sequence[dict[str, str]], check: "CheckFiles", runner: Runner) -> None:
    store, results = check.store, check.run.work / "unit_results"
    blocks = [CHECKED.rows(files[start : start + BLOCK]) for start in range(0, len(files), BLOCK)]
    with runner.progress("check", "files", len(files)) as progress:
        checked = runner(check, blocks, progress)
    for row in checked.filter(pc.is_valid(checked["detail"])).to_pylist():
        if check.damage(row["features"], row["result"]) is None:  # a node that does not see the store says so of all
            continue
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
        return MADE.rows(row | {"detail": self.damage(row["features"], row["result"]), "count": 1} for row in rows)

    def damage(self, features: str | None, result: str) -> str | None:
        """Say what is wrong with a file; None where nothing is."""
        try:
            if features is not None:
                check_block(self.store.root, features)
            else:
                read_array(self.run.work / "unit_results" / result)
        except DamagedFile as error:
            return str(error)
        return None
