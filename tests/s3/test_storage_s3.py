"""The storage seam over a real S3 server does what it does over a folder."""

import boto3
import pytest
import s3fs

from pipeline.errors import StorageError
from pipeline.lake.storage import Location

NAMES = ["plain.png", "a b.png", "é.png", "c#d%20.png", "line\nbreak.png", "q?x=1.png", "d/e/[f]*.png"]


def test_objects_of_any_name_are_written_listed_and_read_literally(bucket: str) -> None:
    folder = Location.parse(bucket) / "lake"
    for name in NAMES:
        (folder / name).write_bytes(name.encode())
    entries = {entry.path: entry for entry in folder.files()}
    assert sorted(entries) == sorted(NAMES)
    for name in NAMES:
        assert (folder / name).read_bytes() == name.encode()
        assert Location.parse((folder / name).uri).read_bytes() == name.encode()
        assert entries[name].size == len(name.encode()) and entries[name].etag and entries[name].problem is None


def test_a_key_that_s3fs_would_take_for_another_one_is_listed_with_the_reason(bucket: str) -> None:
    client = boto3.client("s3")
    client.put_object(Bucket=bucket.removeprefix("s3://"), Key="a.png?versionId=1.png", Body=b"x")
    client.close()
    [entry] = Location.parse(bucket).files()
    assert entry.path == "a.png?versionId=1.png" and "versionId" in (entry.problem or "")


def test_an_etag_changes_with_the_content(bucket: str) -> None:
    location = Location.parse(bucket) / "a.png"
    location.write_bytes(b"one")
    before = location.entry()
    location.write_bytes(b"two")
    assert location.entry().etag != before.etag


def test_what_is_not_there_is_an_error_that_names_it(bucket: str) -> None:
    missing = Location.parse(bucket) / "no" / "thing.png"
    assert not missing.exists() and list(missing.files()) == []
    with pytest.raises(StorageError, match="no/thing.png: there is no such file or object"):
        missing.read_bytes()


def test_wrong_credentials_are_an_error_that_does_not_show_them(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    s3fs.S3FileSystem.clear_instance_cache()
    location = Location.parse(bucket) / "a.png"
    with pytest.raises(StorageError, match="a.png") as raised:
        location.write_bytes(b"one")
    assert "a-wrong-secret" not in str(raised.value)
    s3fs.S3FileSystem.clear_instance_cache()


def test_removing_a_prefix_removes_all_below_it_and_nothing_else(bucket: str) -> None:
    folder = Location.parse(bucket)
    for name in ("work/a", "work/b/c", "works"):
        (folder / name).write_bytes(b"x")
    (folder / "work").remove()
    (folder / "work").remove()
    assert [entry.path for entry in folder.files()] == ["works"]


def test_the_empty_object_that_consoles_keep_for_a_folder_is_no_file(bucket: str) -> None:
    client = boto3.client("s3")
    for key in ("lake/", "lake/parts/", "lake/parts/a.png"):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"")
    client.close()
    assert [entry.path for entry in (Location.parse(bucket) / "lake").files()] == ["parts/a.png"]
