"""One run for a run id at a time, on any store that can create a file where there is none.

    <output>/locks/<run id>.000001.json     the holder's; it writes it again and again as a sign of life

Whoever wants the lock creates the next number, which one of several does. The highest number holds. A holder that was
taken for dead finds a higher one than its own, and stops; so does one that finds another's name in its file, since not
every imitation of S3 lets one only create it. No clock is compared with another: a lock is dead when its
file did not change for TAKEN_OVER_AFTER seconds of whoever looks, or at once when its process ran on this machine and
is gone. A file that names no process, damaged or another's, is taken over by the first of these rules.
"""

import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from pipeline.errors import RunLocked, StorageError
from pipeline.io.json_file import parse_json
from pipeline.io.storage import Entry, Location

RENEWED_EVERY = 5.0  # seconds
TAKEN_OVER_AFTER = 150.0  # longer than an outage that the storage waits out, so that it kills no lock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """What a lock's file says of who holds it; `sign` is counted up as a sign of life.

    `machine` names a boot of a machine and `started` the start of a process there: None where the system does not tell.
    """

    owner: str
    host: str
    pid: int
    since: str
    machine: str | None
    started: str | None
    sign: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def is_gone(self) -> bool:
        """Whether it ran on this machine, in this container, and does not any more."""
        return self._is_here and (self.started is None or _started(self.pid) != self.started)

    @property
    def is_alive(self) -> bool:
        """Whether it runs on this machine; of others nobody knows."""
        return self._is_here and not self.is_gone

    @property
    def _is_here(self) -> bool:
        return self.machine is not None and self.machine == _machine()


_HOLDER = TypeAdapter(Holder)


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
        self._holder = _this_process()

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
        if not location.exists():
            return False
        holder = parse_json(location.read_bytes(), _HOLDER, location, "this process stops")
        return holder is not None and holder.owner == self._holder.owner

    def _at(self, number: int) -> Location:
        return self._folder / f"{self._run_id}.{number:06d}.json"

    def _numbers(self) -> dict[int, Entry]:
        """Return this run id's locks by number."""
        return {number: entry for run_id, number, entry in _locks(self._folder.files()) if run_id == self._run_id}

    def _dead_one(self) -> int:
        """Return the number of a lock that nobody holds any more, 0 when there is none; raises `RunLocked`."""
        seen: bytes | None = None
        holder: Holder | None = None
        since = 0.0
        while locks := self._numbers():
            number = max(locks)
            content = _content(self._at(number), locks[number])
            if content is None:
                continue  # released between listing and reading
            if content != seen and seen is not None:
                raise RunLocked(
                    f"run {self._run_id} is being done by {_named(content, self._at(number))}; wait for it, or choose "
                    "another output.run_id"
                )
            if seen is None:
                seen, since = content, time.monotonic()
                holder = parse_json(content, _HOLDER, self._at(number), "looking whether somebody renews it")
                if holder is None or not holder.is_gone:
                    log.info("run %s is locked by %s; looking whether it lives", self._run_id, holder or "somebody")
            if holder is not None and holder.is_gone:
                log.info("taking over the lock of %s, which is gone", holder)
                return number
            if time.monotonic() - since >= TAKEN_OVER_AFTER:
                log.warning("taking over the lock %s: no sign of life for %.0f s", self._at(number), TAKEN_OVER_AFTER)
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
        return json.dumps(asdict(replace(self._holder, sign=number))).encode()


def runs_at_work(output: Location) -> set[str]:
    """Return the ids of the runs below an output that somebody is doing now.

    Where a lock's process may run on another machine, looks until it is renewed, or would be taken over; raises
    `StorageError`.
    """
    folder = output / "locks"
    alive, seen, unsure = set[str](), dict[str, bytes | None](), set[str]()
    for run_id, _, entry in _locks(folder.files()):
        location = folder / entry.path
        content = seen[entry.path] = _content(location, entry)
        holder = None if content is None else parse_json(content, _HOLDER, location, "looking whether it is renewed")
        if holder is not None and holder.is_alive:
            alive.add(run_id)
        elif holder is None or not holder.is_gone:
            unsure.add(run_id)
    since = time.monotonic()
    while unsure - alive and time.monotonic() - since < TAKEN_OVER_AFTER:
        time.sleep(RENEWED_EVERY)
        for run_id, _, entry in _locks(folder.files()):
            if entry.path not in seen or _content(folder / entry.path, entry) != seen[entry.path]:
                alive.add(run_id)
    return alive


def _locks(files: Iterable[Entry]) -> Iterable[tuple[str, int, Entry]]:
    """Yield run id, number and file of what is called as a lock is."""
    for entry in files:
        if named := re.fullmatch(r"([^/]+)\.([0-9]{6,})\.json", entry.path):
            run_id, number = named[1], int(named[2])
            if named[2] == f"{number:06d}":
                yield run_id, number, entry


def _content(location: Location, entry: Entry) -> bytes | None:
    """Return what a listed lock holds, nothing where it is no file; None where it was released since."""
    if entry.problem is not None:
        return b""
    try:
        return location.read_bytes()
    except StorageError:
        if location.exists():
            raise
        return None


def _named(content: bytes, location: Location) -> str:
    """Return who holds a lock that is renewed."""
    return str(parse_json(content, _HOLDER, location, "somebody renews it") or "another process")


def _this_process() -> Holder:
    return Holder(
        owner=secrets.token_hex(8),
        host=socket.gethostname(),
        pid=os.getpid(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=_machine(),
        started=_started(os.getpid()),
        sign=0,
    )


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
