"""The lock of a run id, on a folder and a bucket: one holds it, and nobody's death holds it for ever."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RunLocked, StorageError
from pipeline.io import lock
from pipeline.io.lock import RunLock, runs_at_work
from pipeline.io.storage import Location

HOLDER = """
import sys, time
from pipeline.io.lock import RunLock
from pipeline.io.storage import Location
with RunLock(Location.parse(sys.argv[1]), "night"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEWED_EVERY", 0.05)
    monkeypatch.setattr(lock, "TAKEN_OVER_AFTER", 4.0)  # a busy machine may show no life for a second


def files(place: Location) -> list[str]:
    return sorted(entry.path for entry in place.files())


def somebody(**more: Any) -> bytes:
    content = {"owner": "x", "host": "press-7", "pid": 11, "since": "now", "machine": "another", "started": "5"}
    content |= {"sign": 3}
    return json.dumps(content | more).encode()


def hold_and_die(place: Location) -> None:
    """Leave the lock of a process that was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, place.uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait()


def test_who_comes_second_is_told_who_holds_it(place: Location) -> None:
    with RunLock(place, "night") as held:
        with pytest.raises(RunLocked, match=rf"run night is being done by process {os.getpid()} on .*choose another"):
            RunLock(place, "night").__enter__()
        with RunLock(place, "another night"), RunLock(place, "night.000001"):  # names that look alike are others
            pass
        held.check()
    assert files(place) == []
    with RunLock(place, "night"):
        pass


def test_of_many_that_start_at_once_one_runs(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "TAKEN_OVER_AFTER", 1e9)

    def start(_: int) -> bool:
        try:
            with RunLock(place, "night") as held:
                done.wait(10)
                held.check()  # the test's server lets several create one object
                return True
        except RunLocked:
            return False

    done = threading.Event()
    with ThreadPoolExecutor(6) as pool:
        started = [pool.submit(start, number) for number in range(6)]
        threading.Event().wait(1)  # some signs of life
        done.set()
        assert sum(future.result() for future in started) == 1


def test_the_lock_of_a_killed_process_of_this_machine_is_taken_over_at_once(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "TAKEN_OVER_AFTER", 1e9)
    hold_and_die(place)
    assert len(files(place)) == 1
    with RunLock(place, "night") as taken:
        taken.check()
    assert files(place) == []


def test_the_lock_of_another_machine_is_taken_over_when_it_shows_no_life(place: Location) -> None:
    (place / "locks/night.000003.json").write_bytes(somebody())
    with RunLock(place, "night") as taken:
        taken.check()
        assert files(place) == ["locks/night.000004.json"]


def test_a_holder_that_slept_too_long_finds_that_it_was_replaced(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEWED_EVERY", 1e9)
    with RunLock(place, "night") as slept:
        monkeypatch.setattr(lock, "RENEWED_EVERY", 0.05)
        with RunLock(place, "night") as taken:
            with pytest.raises(RunLocked, match="taken over by another process"):
                slept.check()
            taken.check()
    assert files(place) == []


def test_clocks_that_jump_kill_no_lock(tmp_path: Path) -> None:
    with RunLock(Location.parse(str(tmp_path)), "night"):
        for jump in (-86400, 86400):
            [path] = (tmp_path / "locks").iterdir()
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime + jump))
            with pytest.raises(RunLocked):
                RunLock(Location.parse(str(tmp_path)), "night").__enter__()


def test_a_lock_that_cannot_be_removed_does_not_fail_the_run(
    place: Location, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: Location) -> None:
        raise StorageError(f"cannot delete {self}")

    with RunLock(place, "night"):
        monkeypatch.setattr(Location, "remove", refused)
    assert "the lock stays" in caplog.text


@pytest.mark.parametrize("name", ["night.7.json", "night.0000007.json", "night.json", "night.000001.json.bak"])
def test_what_is_not_called_as_a_lock_is_holds_nobody_up(place: Location, name: str) -> None:
    (place / "locks" / name).write_bytes(somebody())
    with RunLock(place, "night") as taken:
        taken.check()
    assert files(place) == [f"locks/{name}"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\0" * 200, b"\xff", b"[" * 100_000, b'{"pid": "x"}'])
def test_a_damaged_lock_is_taken_over_when_nobody_renews_it(
    place: Location, content: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "TAKEN_OVER_AFTER", 0.2)
    (place / "locks/night.000001.json").write_bytes(content)
    with RunLock(place, "night") as taken:
        taken.check()
    assert files(place) == []
    assert "night.000001.json is damaged" in caplog.text


def test_a_link_to_nowhere_in_place_of_a_lock_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "TAKEN_OVER_AFTER", 0.2)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/night.000001.json").symlink_to(tmp_path / "gone")
    with RunLock(Location.parse(str(tmp_path)), "night") as taken:
        taken.check()
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_damaged_lock_of_ones_own_ends_the_run(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEWED_EVERY", 1e9)
    with RunLock(place, "night") as held:
        (place / "locks/night.000001.json").write_bytes(b"{")
        with pytest.raises(RunLocked, match="nothing more is done here"):
            held.check()


def test_runs_at_work_are_those_whose_locks_live(place: Location) -> None:
    assert runs_at_work(place) == set()
    (place / "locks/dead.000003.json").write_bytes(somebody())
    (place / "locks/damaged.000001.json").write_bytes(b"")
    with RunLock(place, "night"):
        assert runs_at_work(place) == {"night"}
    hold_and_die(place)
    assert runs_at_work(place) == set()


def test_a_run_on_another_machine_is_at_work_when_it_renews_its_lock(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_machine", lambda: "elsewhere")
    with RunLock(place, "night"):
        monkeypatch.setattr(lock, "_machine", lambda: "here")
        assert runs_at_work(place) == {"night"}
