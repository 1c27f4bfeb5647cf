"""What only a bucket does: pages, folders that are objects, credentials."""

from typing import Any

import pytest

from pipeline.errors import StorageError, StoreUnavailable
from pipeline.io import bucket as storage
from pipeline.io import retry
from pipeline.io.storage import Location
from tests.s3.proxy import FaultyProxy


def test_a_listing_of_several_pages_is_whole(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, names = Location.parse(bucket) / "lake", [f"{number:02d}" for number in range(25)]
    for name in names:
        (lake / name).write_bytes(b"x")
    pages, ask = [], storage.client().list_objects_v2

    def ask_for_ten(**request: Any) -> Any:
        pages.append(request)
        return ask(**request, MaxKeys=10)

    monkeypatch.setattr(storage.client(), "list_objects_v2", ask_for_ten)
    assert sorted(entry.path for entry in lake.files()) == names and len(pages) == 3


def test_the_empty_object_that_consoles_keep_for_a_folder_is_no_file(bucket: str) -> None:
    for key in ("lake/", "lake/parts/", "lake/parts/a.png"):
        storage.client().put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"")
    assert [entry.path for entry in (Location.parse(bucket) / "lake").files()] == ["parts/a.png"]


def test_more_objects_than_one_request_deletes_are_removed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "DELETED_AT_ONCE", 3)
    for number in range(8):
        (Location.parse(bucket) / f"work/{number}").write_bytes(b"x")
    (Location.parse(bucket) / "work").remove()
    assert list(Location.parse(bucket).files()) == []


def test_wrong_credentials_are_an_error_that_does_not_show_them(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    storage.client.cache_clear()
    location = Location.parse(bucket) / "a.png"
    with pytest.raises(StoreUnavailable, match="a.png: the credentials are refused") as raised:
        location.write_bytes(b"one")
    assert "a-wrong-secret" not in str(raised.value)


def test_without_credentials_nothing_waits(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    storage.client.cache_clear()
    with pytest.raises(StoreUnavailable, match="Unable to locate credentials"):
        (Location.parse(bucket) / "a.png").read_bytes()


def test_a_bucket_that_is_not_there_is_an_error(bucket: str) -> None:
    with pytest.raises(StorageError, match="no such file or object"):
        list(Location.parse("s3://not-there-at-all/lake").files())


def test_an_endpoint_that_does_not_answer_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "Hush", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:Hush@127.0.0.1:1")
    monkeypatch.setattr(retry, "PATIENCE", 0.1)
    storage.client.cache_clear()
    with pytest.raises(StoreUnavailable, match="Could not connect .*127.0.0.1:1/bucket/a.png") as raised:
        Location.parse("s3://bucket/a.png").read_bytes()
    storage.client.cache_clear()
    assert "Hush" not in str(raised.value)


def test_what_is_missing_is_so_for_a_key_that_is_denied_it(
    bucket: str, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (Location.parse(bucket) / "a/b").write_bytes(b"x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.environment["AWS_ENDPOINT_URL"])
    storage.client.cache_clear()
    faulty.conceal()
    place = Location.parse(bucket)
    assert (place / "a").exists() and not (place / "a").is_file()
    assert (place / "a/b").is_file() and not (place / "a/bc").exists() and not (place / "absent").exists()
    faulty.fail(1, 403, "AccessDenied")
    with pytest.raises(StorageError, match="a/b: access denied"):
        (place / "a/b").is_file()


@pytest.mark.parametrize(
    "name, kind", [("index.html", "text/html"), ("run.js", "text/javascript"), ("1.webp", "image/webp")]
)
def test_a_browser_is_told_what_a_file_of_a_report_is(bucket: str, name: str, kind: str) -> None:
    """It would offer to download an index.html of unknown content."""
    (Location.parse(bucket) / name).write_bytes(b"x")
    found = storage.client().head_object(Bucket=bucket.removeprefix("s3://"), Key=name)
    assert found["ContentType"].startswith(kind)


@pytest.mark.parametrize("payer", ["requester", ""])
def test_a_bucket_whose_requesters_pay_is_paid_where_the_setting_says_so(
    bucket: str, payer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REQUEST_PAYER", payer)
    storage.client.cache_clear()
    sent: list[Any] = []
    storage.client().meta.events.register("before-send.s3", lambda request, **_: sent.append(request.headers))
    location = Location.parse(bucket) / "lake/a.png"
    location.write_bytes(b"x")
    assert location.read_bytes() == b"x" and location.is_file() and location.entry().size == 1
    assert len(list((Location.parse(bucket) / "lake").files())) == 1
    location.remove()
    storage.client.cache_clear()
    said = {headers.get("x-amz-request-payer") for headers in sent}
    assert len(sent) >= 6 and said == ({b"requester"} if payer else {None})
