"""One run for a run id at a time, on any store that can create a file where there is none.

    <output>/locks/<run id>.000001.json     the holder's; it writes it again and again as a sign of life

Whoever wants the lock creates the next number, which one of several does. The highest number holds. A holder that was
taken for dead finds a higher one than its own, and stops; so does one that finds another's name in its file, since not
every imitation of S3 lets one only create it. No clock is compared with another: a lock is dead when its
file did not change for TAKEN_OVER_AFTER seconds of whoever looks, or at once when its process ran on this machine and
is gone.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import RunLocked, StorageError
from pipeline.io.storage import Location

RENEWED_EVERY = 5.0  # seconds
TAKEN_OVER_AFTER = 150.0  # longer than an outage that the storage waits out, so that it kills no lock

log = logging.getLogger(__name__)


class RunLock:
    """Holds a run id of an output.

        with RunLock(output, "night") as lock:
            ...
            lock.check()

    Raises `RunLocked` when another process holds it.
    """

    def __init__(self, output: Location, run_id: str) -> None:
        self._folder, self._run_id = output / "locks", run_id
        self._number = 0
        self._lost = False
        self._released = threading.Event()
        self._content: dict[str, Any] = {"owner": secrets.token_hex(8), **_this_process()}

    def __enter__(self) -> Self:
        dead = self._dead_one()
        self._number = dead + 1
        if not self._at(self._number).create(self._sign(0)):
            raise RunLocked(f"run {self._run_id} was just started by another process; nothing was done here")
        for number in self._numbers():
            if number <= dead:
                self._at(number).remove()
        self._thread = threading.Thread(target=self._renew, name="run-lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._released.set()
        self._thread.join()
        if not self._lost:
            try:
                self._at(self._number).remove()
            except StorageError as problem:  # it dies of itself
                log.warning("the lock stays: %s", problem)

    def check(self) -> None:
        """Raise `RunLocked` when another process has taken this one for dead."""
        self._lost = self._lost or max(self._numbers(), default=0) != self._number or not self._is_mine()
        if self._lost:
            raise RunLocked(f"run {self._run_id} was taken over by another process; nothing more is done here")

    def _is_mine(self) -> bool:
        location = self._at(self._number)
        return location.exists() and json.loads(location.read_bytes())["owner"] == self._content["owner"]

    def _at(self, number: int) -> Location:
        return self._folder / f"{self._run_id}.{number:06d}.json"

    def _numbers(self) -> list[int]:
        names = [entry.path.removesuffix(".json").rpartition(".") for entry in self._folder.files()]
        return [int(number) for run_id, _, number in names if run_id == self._run_id and number.isdecimal()]

    def _dead_one(self) -> int:
        """Return the number of a lock that nobody holds any more, 0 when there is none; raises `RunLocked`."""
        seen, since = b"", 0.0
        while number := max(self._numbers(), default=0):
            try:
                content = self._at(number).read_bytes()
            except StorageError:
                if self._at(number).exists():
                    raise
                continue  # released between listing and reading
            holder = json.loads(content)
            who = f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
            if _is_gone(holder):
                log.info("taking over the lock of %s, which is gone", who)
                return number
            if seen and content != seen:
                raise RunLocked(
                    f"run {self._run_id} is being done by {who}; wait for it, or choose another output.run_id"
                )
            if not seen:
                seen, since = content, time.monotonic()
                log.info("run %s is locked by %s; looking whether it lives", self._run_id, who)
            if time.monotonic() - since >= TAKEN_OVER_AFTER:
                log.warning("taking over the lock of %s: no sign of life for %.0f s", who, TAKEN_OVER_AFTER)
                return number
            time.sleep(min(RENEWED_EVERY / 4, TAKEN_OVER_AFTER / 4))
        return 0

    def _renew(self) -> None:
        sign = 0
        while not self._released.wait(RENEWED_EVERY):
            sign += 1
            try:
                self.check()
                self._at(self._number).write_bytes(self._sign(sign))
            except RunLocked as error:
                log.error("%s", error)
                return
            except StorageError as error:
                log.warning("the lock cannot be renewed: %s", error)

    def _sign(self, number: int) -> bytes:
        return json.dumps(self._content | {"sign": number}).encode()


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "started": _started(os.getpid()),
    }


def _is_gone(holder: dict[str, Any]) -> bool:
    """Tell whether a process ran on this machine, in this container, and does not any more."""
    here = holder["machine"] is not None and holder["machine"] == _machine()
    return here and (holder["started"] is None or _started(holder["pid"]) != holder["started"])


def _machine() -> str | None:
    """Name this boot of this machine, and where its process ids count; None where the system does not tell."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """Return when a process started, in ticks since the boot; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
