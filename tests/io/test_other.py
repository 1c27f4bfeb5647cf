"""Other stores through fsspec: what is asked of them, in which words they refuse, and what is tried again."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.catalog import build_catalog
from pipeline.config import InputConfig
from pipeline.errors import ConfigError, RunLocked, StorageError, StoreUnavailable
from pipeline.io import retry, traffic
from pipeline.io.lock import RunLock, runs_at_work
from pipeline.io.storage import Location
from tests.io.memory import Memory, memory_at


@pytest.fixture
def store() -> Iterator[type[Memory]]:
    """What gs:// leads to."""
    with memory_at("gs") as found:
        yield found


class ClientConnectionError(Exception):
    """As aiohttp calls it."""


class GoogleAuthError(Exception):
    """As Google calls it."""


class OfflineModeIsEnabled(ConnectionError):
    """As the hub calls what HF_HUB_OFFLINE asks for."""


class Answer(Exception):
    """An error that tells its status, as gcsfs has it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"answered https://me:Hush@host/a?sig=Hush with {code}\nand more")
        self.code = code


@pytest.mark.parametrize("uri", ["gs://lake/parts", "abfs://lake/parts", "hf://datasets/me/parts"])
def test_an_address_is_parsed_and_written_as_it_was(uri: str) -> None:
    assert Location.parse(uri).uri == uri and Location.parse(f"{uri}/").uri == uri
    assert (Location.parse(uri) / "a::b*").uri == f"{uri}/a::b*"


@pytest.mark.parametrize(
    "uri",
    [
        "gs://",
        "gs:///a",
        "gs://key:secret@lake/a",
        "abfs://secret@account.dfs.core.windows.net/a",
        "simplecache::gs://lake/a",
        "gs::http://169.254.169.254/a",
        "http://169.254.169.254/latest",
        "memory://lake/a",
    ],
)
def test_an_address_leads_to_no_host_and_through_no_chain(uri: str, store: type[Memory]) -> None:
    try:
        location = Location.parse(uri)
    except ConfigError as error:
        assert "secret" not in str(error)
    else:
        assert location.protocol == "file"  # a file of that odd name
    assert store.asked == []


def test_a_manifest_leads_to_no_other_store_but_where_it_is_allowed(store: type[Memory], tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(image)
    for name in ("lake/a.png", "other/a.png"):
        Location.parse(f"gs://{name}").write_bytes(image.read_bytes())
    uris = ["gs://lake/a.png", "gs://lake/../other/a.png", "gs://other/a.png", "abfs://lake/a.png", "a.png"]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("uri,category\n" + "".join(f"{uri},nuts\n" for uri in uris))
    store.asked.clear()
    config = InputConfig(uri=str(manifest), roots=("gs://lake",), layout="manifest")
    found = build_catalog(config).table
    reasons = dict(zip(found["uri"].to_pylist(), found["reason"].to_pylist(), strict=True))
    assert [reasons[uri] for uri in (uris[0], str(image))] == [None, None]
    assert [reasons[uri] for uri in uris[1:4]] == ["forbidden"] * 3
    assert {path for _, path in store.asked} == {"lake/a.png"}


def test_a_lake_in_a_store_is_listed_by_its_categories(store: type[Memory], tmp_path: Path) -> None:
    for name in ("nuts/a.png", "nuts/b/c.png", "bolts/a.png"):
        (Location.parse("gs://lake") / name).write_bytes(b"x")
    found = build_catalog(InputConfig(uri="gs://lake")).table
    assert sorted(zip(found["uri"].to_pylist(), found["category"].to_pylist(), strict=True)) == [
        ("gs://lake/bolts/a.png", "bolts"),
        ("gs://lake/nuts/a.png", "nuts"),
        ("gs://lake/nuts/b/c.png", "nuts"),
    ]
    assert all(found["etag"].to_pylist())


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(StoreUnavailable, match="cannot read abfs://lake/a: .*pip install adlfs, on every node"):
        Location.parse("abfs://lake/a").read_bytes()


def test_a_store_that_creates_nothing_exclusively_is_not_written_to() -> None:
    with memory_at("hf") as store:
        location = Location.parse("hf://datasets/me/scores/a")
        for write in (lambda: location.write_bytes(b"x"), lambda: location.create(b"x"), location.remove):
            with pytest.raises(StorageError, match="hf:// can only be read"):
                write()
        assert store.asked == []


@pytest.mark.parametrize("name", ["a?versionid=1", "gs://a"])
def test_a_name_that_a_package_takes_for_another_is_refused(name: str, store: type[Memory]) -> None:
    location = Location("gs", name)
    with pytest.raises(StorageError, match="gcsfs does not take this name as it is"):
        location.read_bytes()
    assert store.asked == []


@pytest.mark.parametrize("error", [Answer(503), Answer(429), ClientConnectionError("closed"), ConnectionError("reset")])
def test_what_passes_is_asked_again(error: Exception, store: type[Memory], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LONGEST_WAIT", 0.1)
    location = Location.parse("gs://lake/a")
    location.write_bytes(b"x")
    traffic.take()
    store.failing += [error] * 3
    assert location.read_bytes() == b"x" and sum(traffic.take()[1].values()) == 3


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (Answer(403), StorageError, "access denied .*may not do this"),
        (PermissionError("no"), StorageError, "access denied"),
        (OSError("Forbidden: https://host/a"), StorageError, "access denied"),
        (Answer(401), StoreUnavailable, "the credentials are refused"),
        (GoogleAuthError("no credentials"), StoreUnavailable, "the credentials are refused: no credentials"),
        (Answer(404), StorageError, "there is no such file or object"),
        (Answer(400), StorageError, "answered https://...@host/a.... with 400"),
        (ValueError("bad"), StorageError, "bad"),
        (OfflineModeIsEnabled("offline"), StorageError, "offline"),
    ],
)
def test_what_will_not_pass_is_said_once_and_without_secrets(
    error: Exception, kind: type[Exception], said: str, store: type[Memory]
) -> None:
    store.failing += [error]
    with pytest.raises(kind, match=f"cannot read gs://lake/a: {said}") as raised:
        Location.parse("gs://lake/a").read_bytes()
    assert "Hush" not in str(raised.value) and "more" not in str(raised.value) and len(store.asked) == 1


def test_a_store_that_stays_away_is_an_error_of_the_store(store: type[Memory], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PATIENCE", 0.2)
    store.failing += [Answer(503)] * 1000
    with pytest.raises(StoreUnavailable, match="tried for 0 s"):
        Location.parse("gs://lake/a").read_bytes()


def test_a_file_is_created_once_though_the_answer_was_lost(
    store: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Memory.pipe_file

    def lost(self: Memory, path: str, value: bytes, mode: str = "overwrite") -> None:
        monkeypatch.setattr(store, "pipe_file", written)
        written(self, path, value, mode)
        raise ConnectionError("lost")

    monkeypatch.setattr(store, "pipe_file", lost)
    lock = Location.parse("gs://lake/lock")
    assert lock.create(b"mine") and not lock.create(b"yours")
    assert lock.read_bytes() == b"mine"


def test_a_run_is_locked_by_one(store: type[Memory]) -> None:
    output = Location.parse("gs://lake/scores")
    with RunLock(output, "night"):
        with pytest.raises(RunLocked), RunLock(output, "night"):
            pass
        assert runs_at_work(output) == {"night"}
    assert list(output.files()) == []


def test_what_may_be_replaced_is_looked_at(store: type[Memory]) -> None:
    location = Location.parse("gs://lake/a")
    location.write_bytes(b"one")
    tag = location.entry().etag
    location.write_bytes(b"two", over=tag)
    with pytest.raises(StorageError, match="it changed since it was listed"):
        location.write_bytes(b"three", over=tag)
    assert location.read_bytes() == b"two"
