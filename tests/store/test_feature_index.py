"""The index of stored features: it says what files of features say, saves requests, and is believed no further."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.io.storage import Location
from pipeline.schema.tables import INDEXED
from pipeline.store.feature_index import FEW, FeatureIndex
from pipeline.store.features import FeatureStore, Found
from tests.store.test_features import block, new_store


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths that are read, from now on."""
    found, read = list[str](), Location.read_bytes

    def counted(self: Location, etag: str | None = None) -> bytes:
        found.append(self.path)
        return read(self, etag)

    monkeypatch.setattr(Location, "read_bytes", counted)
    return found


def rows(found: Found) -> pa.Table:
    return INDEXED.rows({"key": key, **vars(stored)} for key, stored in found.images.items())


def written(folder: Path, blocks: int) -> FeatureStore:
    store = new_store(folder)
    for seed in range(blocks):
        store.write("nut", *block(seed))
    return store


def test_many_files_are_read_once_and_then_their_index(tmp_path: Path, reads: list[str]) -> None:
    store = written(tmp_path, FEW + 1)
    first = store.find("nut")
    assert len(reads) == FEW + 1 and len(first.images) == 3 * (FEW + 1) and not first.damaged
    reads.clear()
    store.write("nut", *block(99))
    again = store.find("nut")
    assert len(reads) == 2 and len(again.images) == len(first.images) + 3
    assert {key: again.images[key] for key in first.images} == first.images


def test_few_files_need_no_index(tmp_path: Path) -> None:
    written(tmp_path, FEW).find("nut")
    assert not (tmp_path / "index").exists()


def test_many_parts_become_one(tmp_path: Path, reads: list[str]) -> None:
    store, index = written(tmp_path, FEW + 1), FeatureIndex(Location.parse(str(tmp_path)), "nut")
    first = store.find("nut")
    every, parts = rows(first), index.parts()
    for at in range(FEW + 1):
        index.write(every.slice(3 * at, 3), instead_of=parts)
    assert len(index.parts()) == FEW + 1 and store.find("nut").images == first.images
    assert len(index.parts()) == 1
    reads.clear()
    assert store.find("nut").images == first.images and len(reads) == 1


def test_files_that_were_dropped_or_are_gone_are_not_believed(tmp_path: Path) -> None:
    store = written(tmp_path, FEW + 2)
    first = store.find("nut")
    files = sorted({stored.file for stored in first.images.values()})
    store.drop(files[0])
    (tmp_path / "images" / files[1]).unlink()
    left = store.find("nut")
    assert {stored.file for stored in left.images.values()} == set(files[2:]) and not left.damaged


@pytest.mark.parametrize("damage", [b"PAR1 no more", b"PAR1"])
def test_a_damaged_part_is_dropped_with_a_word_and_its_files_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    store, index = written(tmp_path, FEW + 1), FeatureIndex(Location.parse(str(tmp_path)), "nut")
    first = store.find("nut")
    [part] = index.parts()
    path = tmp_path / "index/category=nut" / part
    path.write_bytes(damage)
    assert store.find("nut").images == first.images and part in caplog.text
    # it is written again, by the same name, and not dropped after that
    assert index.parts() == [part] and rows(first).num_rows == index.read([part]).num_rows


def test_categories_do_not_see_each_other(tmp_path: Path) -> None:
    store = written(tmp_path, FEW + 1)
    store.find("nut")
    assert store.find("nu").images == {} and FeatureIndex(store.root, "nut2").parts() == []
