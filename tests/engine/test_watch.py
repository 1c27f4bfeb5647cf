"""A Ray that does not answer any more is noticed; tests/cluster/test_gone.py kills real ones."""

import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from ray.exceptions import RayError

from pipeline.engine import watch
from pipeline.engine.watch import watched
from pipeline.errors import LakeScoreError


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Something that listens where the head is thought to be, asked often."""
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_LOOKS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        monkeypatch.setattr(watch, "_addresses", lambda: {"the head": address})
        yield server


def test_a_block_that_waits_is_ended_when_nobody_answers(head: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "GONE_AFTER", 0.2)
    before, threads = signal.getsignal(signal.SIGUSR1), threading.active_count()
    with pytest.raises(LakeScoreError, match=r"Ray is gone: the head \(127.0.0.1:\d+: .*output.run_id"), watched():
        head.close()
        threading.Event().wait(60)
    assert signal.getsignal(signal.SIGUSR1) == before and threading.active_count() == threads


def test_this_machines_ray_is_not_waited_for_when_nobody_listens(
    head: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = head.getsockname()
    monkeypatch.setattr(watch, "LOST_AFTER", 0.1)
    monkeypatch.setattr(watch, "GONE_AFTER", 1e9)
    monkeypatch.setattr(watch, "_addresses", lambda: {watch.OWN: address})
    with pytest.raises(LakeScoreError, match="Ray is gone: the Ray of this machine"), watched():
        head.close()
        threading.Event().wait(60)


def test_what_ray_says_of_a_ray_that_is_gone_is_said_in_our_words(head: socket.socket) -> None:
    with pytest.raises(LakeScoreError, match="Ray is gone"), watched():
        head.close()
        raise RayError("its raylet died")
    with pytest.raises(LakeScoreError, match="Ray is gone"), watched():
        raise LakeScoreError("a worker failed") from RayError("its raylet died")


def test_of_a_ray_that_answers_errors_stay_as_they_are(head: socket.socket) -> None:
    for error in (RayError("a worker died"), ValueError("another"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as found, watched():
            raise error
        assert found.value is error


def test_a_head_that_is_back_in_time_was_not_gone(head: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = threading.Semaphore(0)
    answers = iter(["silent", "silent", ""] * 2 + [""] * 10_000)

    def look(_: object) -> str:
        looks.release()
        return next(answers)

    monkeypatch.setattr(watch, "_silent", look)
    with watched():
        for _ in range(8):
            assert looks.acquire(timeout=60)
