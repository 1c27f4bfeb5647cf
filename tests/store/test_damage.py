"""Damage to stored features: found on reading, named, and nothing that is whole is called damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DamagedFile, StorageError
from pipeline.io.names import partition
from pipeline.store.features import FeatureStore, Found, check_block
from tests.store.test_features import LAYERS, block, new_store

Damage = Callable[[Path, Path], None]  # of a file; the second is the same file of another category


def cut(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path, other: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(100) + content[300:])


def all_zero(path: Path, other: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def another_category(path: Path, other: Path) -> None:
    shutil.copy(other, path)


def turned(path: Path, other: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.take(pa.array(range(table.num_rows))[::-1]), path, row_group_size=1)


def fewer(path: Path, other: Path) -> None:
    pq.write_table(pq.read_table(path).slice(1), path, row_group_size=1)


def one_group(path: Path, other: Path) -> None:
    table = pq.read_table(path).replace_schema_metadata({})
    pq.write_table(table, path)


def text(path: Path, other: Path) -> None:
    path.write_text("<html>503 Slow Down</html>")


def gone(path: Path, other: Path) -> None:
    path.unlink()


DAMAGES: list[Damage] = [cut, empty, zeroed, all_zero, another_category, turned, fewer, one_group, text, gone]


def read_all(store: FeatureStore, file: str) -> None:
    refs = [(file, row) for row in range(3)]
    store.embeddings(refs)
    for layer in LAYERS:
        store.tokens(refs, layer)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_tokens_are_never_read(tmp_path: Path, damage: Damage, dtype: str) -> None:
    store = new_store(tmp_path, dtype)
    file, other = store.write("bottle", *block(0)), store.write("nut", *block(1))
    damage(tmp_path / "tokens" / file, tmp_path / "tokens" / other)
    with pytest.raises(DamagedFile, match=file):
        read_all(store, file)
    with pytest.raises(DamagedFile, match=file):
        check_block(store.root, file)
    read_all(store, other)


@pytest.mark.parametrize("damage", DAMAGES)
def test_images_of_a_damaged_file_are_not_found_and_their_file_is_named(
    tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    store = new_store(tmp_path)
    file, kept, other = (store.write(*of) for of in [("bottle", *block(0)), ("bottle", *block(2)), ("nut", *block(1))])
    damage(tmp_path / "images" / file, tmp_path / "images" / other)
    found = store.find("bottle")
    assert sorted(found.images) == ["key20", "key21", "key22"]
    if damage in (gone, empty):
        assert found.damaged == [] and caplog.text == ""
    else:
        assert found.damaged == [file] and caplog.text.count(file) == 1
    store.drop(file)
    assert store.find("bottle") == Found(found.images, []) and len(store.find("nut").images) == 3
    assert store.write("bottle", *block(0)) == file and len(store.find("bottle").images) == 6
    assert (tmp_path / "images" / kept).stat().st_size


def test_embeddings_and_stats_that_changed_places_are_found(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    file = store.write("bottle", *block(0))
    path = tmp_path / "images" / file
    table = pq.read_table(path)
    back = pa.array([2, 1, 0])

    def write(column: str) -> None:
        place = table.schema.get_field_index(column)
        pq.write_table(table.set_column(place, column, table[column].take(back)), path)

    write("embedding")
    with pytest.raises(DamagedFile, match="checksum of its embeddings"):
        store.embeddings([(file, 0)])
    write("width")
    assert store.find("bottle").damaged == [file]


@pytest.mark.parametrize("part", ["images", "tokens"])
def test_a_flipped_bit_is_found_wherever_it_is_or_does_no_harm(tmp_path: Path, part: str) -> None:
    store = new_store(tmp_path, "float16")
    rows, tokens, embeddings = block(0)
    file = store.write("bottle", rows, tokens, embeddings)
    path = tmp_path / part / file
    content, before = path.read_bytes(), store.find("bottle").images
    refs = [(file, row) for row in range(3)]
    for place in np.random.default_rng(0).choice(len(content), 300, replace=False):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(place) % 8
        path.write_bytes(flipped)
        found = store.find("bottle")
        if not found.damaged:
            assert found.images == before
            try:
                np.testing.assert_array_equal(store.embeddings(refs), embeddings)
                for index, layer in enumerate(LAYERS):
                    np.testing.assert_array_equal(store.tokens(refs, layer), tokens[:, index].astype(np.float16))
            except DamagedFile:
                pass


def test_a_file_of_another_encoder_is_damage(tmp_path: Path) -> None:
    store, other = new_store(tmp_path / "one"), new_store(tmp_path / "two")
    file = store.write("bottle", *block(0))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with pytest.raises(DamagedFile, match="belongs to category 'bottle' of the encoder one"):
        read_all(other, file)
    moved = file.replace(partition("category", "bottle"), partition("category", "nut"))
    for part in ("images", "tokens"):
        (tmp_path / "one" / part / moved).parent.mkdir()
        (tmp_path / "one" / part / file).rename(tmp_path / "one" / part / moved)
    assert store.find("nut").damaged == [moved]


def test_a_store_that_may_not_be_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store(tmp_path)
    file = store.write("bottle", *block(0))

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.io.folder.open_", refused)
    for read in (lambda: store.embeddings([(file, 0)]), lambda: store.tokens([(file, 0)], LAYERS[0])):
        with pytest.raises(StorageError, match="Permission denied") as raised:
            read()
        assert not isinstance(raised.value, DamagedFile)
