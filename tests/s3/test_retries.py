"""Whatever a store does to a request, the storage seam asks again, and says so when it gives up."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.errors import StorageError, StoreUnavailable
from pipeline.io import bucket as storage
from pipeline.io import retry, traffic
from pipeline.io.storage import Location
from tests.s3.proxy import FaultyProxy

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def place(bucket: str, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Location]:
    """An empty bucket behind the proxy."""
    for name, value in faulty.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retry, "LONGEST_WAIT", 0.2)
    storage.client.cache_clear()
    traffic.take()
    yield Location.parse(bucket)
    storage.client.cache_clear()


FAULTS: dict[str, Callable[[FaultyProxy], None]] = {
    "slow down": lambda proxy: proxy.fail(0.4),
    "internal error": lambda proxy: proxy.fail(0.4, 500, "InternalError"),
    "resets": lambda proxy: proxy.reset(0.4),
    "lost answers": lambda proxy: proxy.lose(0.4),
    "cut uploads": lambda proxy: proxy.cut_uploads(4),
    "cut downloads": lambda proxy: proxy.cut_downloads(4),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_files_are_written_listed_read_and_removed_as_if_nothing_had_happened(
    fault: str, place: Location, faulty: FaultyProxy
) -> None:
    FAULTS[fault](faulty)
    names = [f"lake/{number}" for number in range(8)]
    for name in names:
        (place / name).write_bytes(CONTENT + name.encode())
    assert sorted(entry.path for entry in place.files()) == names
    for name in names:
        etag = (place / name).entry().etag
        assert (place / name).read_bytes(etag) == CONTENT + name.encode()
        with (place / name).open() as file:
            file.seek(1000)
            assert file.read(5) == CONTENT[1000:1005]
    assert sum(faulty.faults.values()) >= 4 and sum(traffic.take()[1].values()) >= 4
    place.remove()
    assert list(place.files()) == []


def test_a_file_is_created_once_though_the_answer_was_lost(place: Location, faulty: FaultyProxy) -> None:
    def twice(method: str, path: str) -> None:
        if faulty.requests["PUT"] > 2:
            faulty.lose(0)

    faulty.on_request(twice)
    faulty.lose(1)
    assert (place / "lock").create(b"mine")
    assert not (place / "lock").create(b"yours")
    assert (place / "lock").read_bytes() == b"mine" and faulty.faults["lose"]


def test_an_outage_is_waited_for(place: Location, faulty: FaultyProxy) -> None:
    (place / "a").write_bytes(b"x")
    faulty.down()
    threading.Timer(2, faulty.up).start()
    start = time.monotonic()
    assert (place / "a").read_bytes() == b"x"
    assert time.monotonic() - start >= 1.9


def test_a_store_that_stays_away_is_an_error_of_the_store(
    place: Location, faulty: FaultyProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry, "PATIENCE", 3.0)
    faulty.down()
    with pytest.raises(StoreUnavailable, match=r"cannot read s3://.*/a: tried for 3 s: Could not connect"):
        (place / "a").read_bytes()
    assert "the store does not answer" in caplog.text


def test_what_will_not_pass_is_not_asked_again(place: Location, faulty: FaultyProxy) -> None:
    with pytest.raises(StorageError, match="no such file"):
        (place / "absent").read_bytes()
    faulty.fail(1, 403, "AccessDenied")
    with pytest.raises(StorageError, match="access denied .*may not do this"):
        (place / "a").read_bytes()
    assert faulty.requests["GET"] == 2
