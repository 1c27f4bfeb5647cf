"""A folder, a bucket and another store behave alike: every test here runs on all of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import ObjectChanged, StorageError
from pipeline.io.storage import Location
from tests.corpus import HOSTILE_NAMES
from tests.io.memory import memory_at


@pytest.fixture(params=["folder", "s3", "other"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """Yield an empty folder, bucket, or store behind fsspec."""
    if request.param == "folder":
        yield Location.parse(str(tmp_path))
    elif request.param == "s3":
        yield Location.parse(request.getfixturevalue("bucket"))
    else:
        with memory_at("gs"):
            yield Location.parse("gs://lake")


NAMES = [*HOSTILE_NAMES, "a.png?versionId=1.png", "d/e/[f]*.png"]


def test_files_of_any_name_are_written_listed_and_read_literally(place: Location) -> None:
    folder = place / "lake"
    for name in NAMES:
        (folder / name).write_bytes(name.encode())
    entries = {entry.path: entry for entry in folder.files()}
    assert sorted(entries) == sorted(NAMES)
    for name in NAMES:
        assert (folder / name).read_bytes() == name.encode()
        assert (folder / name).is_file() and (folder / name).exists()
        assert Location.parse((folder / name).uri).read_bytes() == name.encode()
        assert entries[name].size == len(name.encode()) and entries[name].etag and entries[name].problem is None


def test_a_listed_entry_is_that_of_the_file_itself(place: Location) -> None:
    (place / "a").write_bytes(b"12345")
    [listed] = place.files()
    itself = (place / "a").entry()
    assert (listed.path, listed.size, listed.etag) == (itself.path, itself.size, itself.etag)
    assert abs(listed.modified - itself.modified) < 2  # headers leave out what is below a second


def test_content_is_read_whole_or_from_any_place(place: Location) -> None:
    (place / "a").write_bytes(b"0123456789")
    assert (place / "a").read_bytes() == b"0123456789"
    with (place / "a").open() as file:
        file.seek(7)
        assert file.read() == b"789" and file.read() == b""
        file.seek(-8, 2)
        assert file.read(3) == b"234" and file.tell() == 5


def test_content_that_is_not_the_listed_one_is_not_read(place: Location) -> None:
    location = place / "a"
    location.write_bytes(b"one")
    before = location.entry().etag
    assert location.read_bytes(before) == b"one"
    location.write_bytes(b"other")
    assert location.entry().etag != before
    with pytest.raises(ObjectChanged, match="a: it changed since it was listed"):
        location.read_bytes(before)


def test_what_is_there_is_not_created_again(place: Location) -> None:
    location = place / "locks" / "a"
    assert location.create(b"first")
    assert not location.create(b"second")
    assert location.read_bytes() == b"first"
    assert [entry.path for entry in place.files()] == ["locks/a"]


def test_a_file_in_the_way_of_a_folder_is_an_error_and_not_what_is_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        Location.parse(str(tmp_path / "file" / "locks" / "1.json")).create(b"mine")


def test_of_many_that_create_one_file_one_does(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path))  # S3 does it as well, its imitation in these tests does not
    contents = [str(number).encode() for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map((place / "a").create, contents))
    assert sum(made) == 1
    assert (place / "a").read_bytes() == contents[made.index(True)]


def test_what_is_not_there_is_an_error_that_names_it(place: Location) -> None:
    missing = place / "no" / "thing.png"
    assert not missing.exists() and not missing.is_file() and list(missing.files()) == []
    for read in (missing.read_bytes, missing.open, missing.entry):
        with pytest.raises(StorageError, match="no/thing.png: there is no such file or object"):
            read()


def test_removing_takes_a_file_or_all_below_and_nothing_else(place: Location) -> None:
    for name in ("a", "ab", "b/c", "b/d/e", "bc/f"):
        (place / name).write_bytes(b"x")
    for name in ("a", "b", "b", "absent"):
        (place / name).remove()
    assert sorted(entry.path for entry in place.files()) == ["ab", "bc/f"]


def test_hidden_files_are_not_listed(place: Location) -> None:
    for name in ("a", "b/c", ".h", "b/.h", ".i/j", "b/.i/j/k"):
        (place / name).write_bytes(b"x")
    assert sorted(entry.path for entry in place.files()) == ["a", "b/c"]
    assert [entry.path for entry in (place / ".i").files()] == ["j"]


def test_folders_are_named_without_looking_into_them(place: Location) -> None:
    for name in ("a", "b/c", "b/d/e", ".h/i", "f g=#1/x"):
        (place / name).write_bytes(b"x")
    assert place.folders() == ["b", "f g=#1"]
    assert (place / "b").folders() == ["d"] and (place / "absent").folders() == []
