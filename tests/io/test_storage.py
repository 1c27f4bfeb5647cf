"""Locations: addresses, literal names, and files that are written whole or not at all."""

import os
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, ObjectChanged, StorageError
from pipeline.io.storage import Location
from tests.corpus import HOSTILE_NAMES, write_files


def at(path: Path) -> Location:
    return Location.parse(str(path))


@pytest.mark.parametrize(
    ("written", "protocol", "path"),
    [
        ("/lake/parts", "file", "/lake/parts"),
        ("/lake/parts/", "file", "/lake/parts"),
        ("/lake//parts/./x/../y", "file", "/lake/parts/y"),
        ("/", "file", "/"),
        ("file:///lake/parts", "file", "/lake/parts"),
        ("FILE:///lake/parts/", "file", "/lake/parts"),
        ("file:///lake/a%20b%C3%A4%zz", "file", "/lake/a bä%zz"),
        ("/lake/s3://x", "file", "/lake/s3:/x"),
        ("s3://bucket", "s3", "bucket"),
        ("s3://bucket/", "s3", "bucket"),
        ("S3://Bucket/Key", "s3", "Bucket/Key"),
        ("s3://bucket/a/b.png", "s3", "bucket/a/b.png"),
        ("s3://bucket/a//b/../c", "s3", "bucket/a//b/../c"),
        ("s3://bucket/a%20b#c?d=e", "s3", "bucket/a%20b#c?d=e"),
    ],
)
def test_address_is_parsed(written: str, protocol: str, path: str) -> None:
    assert Location.parse(written) == Location(protocol, path)


@pytest.mark.parametrize("uri", ["/lake/parts", "/", "s3://bucket", "s3://bucket/a//b.png"])
def test_address_is_written_as_it_was_parsed(uri: str) -> None:
    assert Location.parse(uri).uri == uri
    assert str(Location.parse(uri)) == uri


def test_relative_path_is_taken_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location.parse("out/scores").uri == f"{tmp_path}/out/scores"
    assert Location.parse(".").uri == str(tmp_path)


def test_tilde_at_the_start_is_the_home_folder_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    assert Location.parse("~/lake").uri == "/home/somebody/lake"
    assert Location.parse("lake/~").uri == f"{tmp_path}/lake/~"
    assert (Location.parse("/lake") / "~").uri == "/lake/~"
    assert Location.parse("s3://bucket/~").uri == "s3://bucket/~"


@pytest.mark.parametrize(
    "uri",
    [
        "https://me:secret@host/lake?key=secret",
        "http://169.254.169.254/latest/meta-data",
        "gcs://bucket/a",
        "hdfs://x",
        "s3a://bucket",
        "zip://a::file://b",
    ],
)
def test_other_schemes_are_refused_and_named(uri: str) -> None:
    with pytest.raises(ConfigError, match=f"{uri.partition(':')[0]}://") as raised:
        Location.parse(uri)
    assert "secret" not in str(raised.value)


# Secret keys of AWS have slashes
SLASHED = (
    "s3://key:a/secret@bucket/a",
    "s3://key:a@secret@bucket/a",
    "s3://key:a?secret@bucket/a",
)


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///key", "s3://key:secret@bucket/a", *SLASHED, "s3://../a"])
def test_address_without_a_place_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Location.parse(uri)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("start", "name", "uri"),
    [
        ("/lake", "a", "/lake/a"),
        ("/", "a", "/a"),
        ("/lake", "a/b.png", "/lake/a/b.png"),
        ("s3://bucket", "a", "s3://bucket/a"),
        ("s3://bucket/p/", "a b#?.png", "s3://bucket/p/a b#?.png"),
    ],
)
def test_name_is_joined_by_one_slash(start: str, name: str, uri: str) -> None:
    assert (Location.parse(start) / name).uri == uri


paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(paths)
def test_address_in_results_is_parsed_back_to_its_location(name: str) -> None:
    local = Location.parse("/" + name)
    assert Location.parse(local.uri) == local
    key = Location("s3", "bucket/" + name.rstrip("/"))
    assert Location.parse(key.uri) == Location("s3", key.path.rstrip("/"))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_name_is_written_and_read_back_literally(name: str, tmp_path: Path) -> None:
    location = at(tmp_path) / "lake" / Path(name).stem / name
    location.write_bytes(name.encode())
    assert os.listdir(tmp_path / "lake") == [Path(name).stem]
    assert os.listdir(tmp_path / "lake" / Path(name).stem) == [name]
    assert location.read_bytes() == name.encode()
    assert Location.parse(location.uri).read_bytes() == name.encode()
    assert location.is_file()
    assert location.exists()
    assert location.entry().path == name
    assert [entry.path for entry in (at(tmp_path) / "lake").files()] == [f"{Path(name).stem}/{name}"]


@pytest.mark.parametrize(("pattern", "neighbour"), [("a*", "ab"), ("[ab]", "a"), ("a?", "ab"), ("{a,b}", "a")])
def test_pattern_is_a_name_and_touches_no_other_file(pattern: str, neighbour: str, tmp_path: Path) -> None:
    write_files(tmp_path, neighbour)
    location = at(tmp_path) / pattern
    assert not location.exists()
    with pytest.raises(StorageError):
        location.read_bytes()
    location.remove()
    write_files(tmp_path, pattern)
    location.remove()
    assert os.listdir(tmp_path) == [neighbour]


def test_writing_makes_the_folders_it_needs_and_replaces_what_was_there(tmp_path: Path) -> None:
    location = at(tmp_path) / "a" / "b" / "c"
    location.write_bytes(b"old and long")
    location.write_bytes(b"new")
    assert location.read_bytes() == b"new"
    assert os.listdir(tmp_path / "a" / "b") == ["c"]


@pytest.mark.parametrize("step", ["open", "write", "replace"])
def test_write_that_fails_leaves_the_old_content_and_no_part_of_the_new(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = at(write_files(tmp_path, "a", content=b"old")) / "a"

    really_open = open

    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    def made_and_then_full(path: str, mode: str) -> BinaryIO:
        really_open(path, mode).close()
        return cast(BinaryIO, really_open("/dev/full", mode))

    name, failing = {
        "open": ("builtins.open", full),
        "write": ("builtins.open", made_and_then_full),
        "replace": ("os.replace", full),
    }[step]
    monkeypatch.setattr(name, failing)
    with pytest.raises(StorageError, match="No space left") as caught:
        location.write_bytes(b"new")
    monkeypatch.undo()
    assert location.uri in str(caught.value)
    assert os.listdir(tmp_path) == ["a"]
    assert location.read_bytes() == b"old"


def test_write_below_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    location = at(write_files(tmp_path, "a")) / "a" / "b"
    with pytest.raises(StorageError, match=f"cannot write {location}"):
        location.write_bytes(b"")


def test_write_over_a_folder_is_an_error_and_leaves_no_part(tmp_path: Path) -> None:
    write_files(tmp_path, "a/b")
    with pytest.raises(StorageError, match=f"cannot write {tmp_path}/a"):
        (at(tmp_path) / "a").write_bytes(b"")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["absent", "absent/too", "x" * 300, "file/below", "nul\0byte"])
def test_missing_file_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    location = at(write_files(tmp_path, "file")) / name
    for read in (location.read_bytes, location.open, location.entry):
        with pytest.raises(StorageError) as caught:
            read()
        assert str(caught.value).startswith(f"cannot read {location}: ")
    assert not location.exists()
    assert not location.is_file()


def test_reading_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"cannot read {tmp_path}"):
        at(tmp_path).read_bytes()


def test_entry_has_size_and_a_tag_that_changes_with_the_content(tmp_path: Path) -> None:
    location = at(write_files(tmp_path, "a", content=b"12345")) / "a"
    os.utime(tmp_path / "a", ns=(10**18, 10**18))
    before = location.entry()
    assert (before.path, before.size, before.problem) == ("a", 5, None)
    assert location.entry() == before
    os.utime(tmp_path / "a", ns=(10**18, 10**18 + 5000))
    assert location.entry().etag != before.etag
    write_files(tmp_path, "a", content=b"123456")
    os.utime(tmp_path / "a", ns=(10**18, 10**18))
    assert location.entry().etag != before.etag


def test_files_are_listed_at_any_depth_without_hidden_ones(tmp_path: Path) -> None:
    write_files(tmp_path, "a", "b/c", "b/d/e/f", ".h", "b/.h", ".i/j", "b/.i/j/k", ".partial")
    (tmp_path / "empty").mkdir()
    assert sorted(entry.path for entry in at(tmp_path).files()) == ["a", "b/c", "b/d/e/f"]


def test_a_file_that_has_grown_since_it_was_listed_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    etag = at(tmp_path / "a").entry().etag
    os.truncate(tmp_path / "a", 1 << 43)  # more than any memory; not a byte of it on the disk
    with pytest.raises(ObjectChanged):
        at(tmp_path / "a").read_bytes(etag)


@pytest.mark.parametrize("how", ["replaced", "written over"])
def test_a_copy_of_the_same_size_and_time_has_another_tag(tmp_path: Path, how: str) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"before")
    os.utime(image, (1e9, 1e9))
    before = at(image).entry().etag
    other = tmp_path / "other.png"
    other.write_bytes(b"behind")
    if how == "replaced":  # as rsync -t does
        os.utime(other, (1e9, 1e9))
        other.rename(image)
    else:  # as cp -p does
        image.write_bytes(other.read_bytes())
        os.utime(image, (1e9, 1e9))
    assert (image.stat().st_size, image.stat().st_mtime) == (6, 1e9)
    assert at(image).entry().etag != before
    with pytest.raises(ObjectChanged):
        at(image).read_bytes(before)


def test_links_to_links_that_make_millions_of_paths_are_an_error_that_names_them(tmp_path: Path) -> None:
    for number in range(24):
        (tmp_path / f"{number:02d}").mkdir()
    (tmp_path / "23" / "a.png").write_bytes(b"x")
    for number in range(23):
        for name in ("left", "right"):
            (tmp_path / f"{number:02d}" / name).symlink_to(tmp_path / f"{number + 1:02d}")
    with pytest.raises(StorageError, match="links lead to .* on more than 100 ways.*remove some of them"):
        list(at(tmp_path).files())


def test_one_folder_that_many_links_lead_to_is_listed_by_each(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "a.png").write_bytes(b"x")
    (tmp_path / "lake").mkdir()
    for number in range(300):
        (tmp_path / "lake" / str(number)).symlink_to(tmp_path / "shared")
    assert len(list(at(tmp_path / "lake").files())) == 300


def test_what_is_no_regular_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (Location.read_bytes, Location.open):
        with pytest.raises(StorageError, match="pipe.png: not a regular file"):
            read(at(tmp_path / "pipe.png"))
    # files of the system have no size, and reading some of them never ends
    (tmp_path / "link.png").symlink_to("/proc/self/environ")
    assert at(tmp_path / "link.png").read_bytes() == b""


def test_what_is_written_is_synced_before_and_after_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append(f"sync {path.name if path.is_dir() else 'file'}")
        fsync(descriptor)

    def moved(source: str, target: str) -> None:
        done.append("move")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", moved)
    at(tmp_path / "a" / "b" / "c").write_bytes(b"x")
    assert done == [f"sync {tmp_path.name}", "sync a", "sync file", "move", "sync b"]
