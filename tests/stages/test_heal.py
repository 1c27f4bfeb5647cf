"""Healing: what is damaged is dropped and made again, and what only one node cannot see is not."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import DamagedFile
from pipeline.io.storage import Location
from pipeline.stage import Here
from pipeline.stages.heal import MADE, TRIES, CheckFiles, healing
from pipeline.store.run_folder import RunFolder
from tests.store.test_features import LAYERS, block, new_store


@pytest.fixture
def check(tmp_path: Path) -> CheckFiles:
    return CheckFiles(new_store(tmp_path / "features"), RunFolder(Location.parse(str(tmp_path)), "night"))


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def test_all_damaged_files_of_the_category_are_dropped_at_once(check: CheckFiles, tmp_path: Path) -> None:
    store = check.store
    files = [store.write("bottle", *block(seed)) for seed in range(4)]
    other = store.write("nut", *block(9))
    for file in (files[1], files[3], other):
        zero(tmp_path / "features" / "tokens" / file)
    tries = []

    def work() -> str:
        tries.append(sorted(store.find("bottle").images))
        for stored in store.find("bottle").images.values():
            store.tokens([(stored.file, stored.row)], LAYERS[0])
        return "done"

    assert healing(work, check, Here()) == "done"
    assert [len(keys) for keys in tries] == [12, 6]
    assert len(store.find("nut").images) == 3  # nobody read it, and it is found by who does


def test_a_file_that_only_a_worker_cannot_see_is_not_dropped(
    check: CheckFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = check.store.write("bottle", *block(0))
    work = [0]

    def fail() -> None:
        work[0] += 1
        raise DamagedFile(f"{check.store.root}/tokens/{file} is gone")

    def blind(self: CheckFiles, block: pa.Table) -> pa.Table:
        return MADE.rows({**row, "detail": "gone", "count": 1} for row in block.to_pylist())

    monkeypatch.setattr(CheckFiles, "__call__", blind)
    with pytest.raises(DamagedFile, match="is gone"):
        healing(fail, check, Here())
    assert work == [TRIES + 1] and len(check.store.find("bottle").images) == 3


def test_damage_that_nothing_can_mend_ends_after_some_tries(check: CheckFiles) -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        raise DamagedFile("work/index/category=a.parquet is damaged")

    with pytest.raises(DamagedFile, match="is damaged"):
        healing(work, check, Here())
    assert len(tries) == TRIES + 1
