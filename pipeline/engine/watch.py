"""Noticing that the Ray under a run is gone, for which Ray itself waits for many minutes without a word."""

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from pipeline.errors import LakeScoreError

SECONDS_BETWEEN_LOOKS = 2.0
GONE_AFTER = 20.0  # seconds without an answer; a head that is started anew is back sooner
LOST_AFTER = 3.0  # of this machine's, when nobody listens: another one is none for this process, which Ray soon ends
LEFT_TO_END = 20.0  # seconds; Ray's C++ ends this process after 60 without a word, where it waits for the head
GONE = (
    "Ray is gone: {} does not answer any more; it was killed, or ran out of memory (`dmesg`). When it is up again, the "
    "same command with its output.run_id takes the run up"
)

OWN = "the Ray of this machine"
REFUSED = os.strerror(errno.ECONNREFUSED)

Addresses = dict[str, tuple[str, int]]

log = logging.getLogger(__name__)


@contextmanager
def watched() -> Iterator[None]:
    """End the block with a `LakeScoreError` when the head of this process's cluster, or its own node, is gone.

    Of nodes elsewhere Ray takes care. A block in the main thread is interrupted wherever it waits; where that does not
    help, as in Ray's C++, the process ends.
    """
    addresses, ended, gone = _addresses(), threading.Event(), list[str]()
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler) if in_main_thread else None

    def watch() -> None:
        heard = time.monotonic()
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            silent = _silent(addresses)
            if not silent:
                heard = time.monotonic()
            elif time.monotonic() - heard >= _patience(silent):
                gone.append(silent)
                if in_main_thread:  # wakes it from system calls, too
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                if not ended.wait(LEFT_TO_END):
                    log.error("error: %s", GONE.format(silent), extra={"exit_code": LakeScoreError.exit_code})
                    os._exit(LakeScoreError.exit_code)
                return

    watching = threading.Thread(target=watch, name="ray-watch", daemon=True)
    watching.start()
    try:
        yield
    except BaseException as error:
        if not gone and (isinstance(error, RayError) or isinstance(error.__cause__, RayError)):
            gone.extend(filter(None, [_silent(addresses)]))  # Ray noticed first, and has its own words for it
        if gone:
            raise LakeScoreError(GONE.format(gone[0])) from error
        raise
    finally:
        ended.set()
        watching.join()
        if in_main_thread:
            signal.signal(signal.SIGUSR1, before or signal.SIG_DFL)  # None: it was not set from Python


def _addresses() -> Addresses:
    """Return where the head and this process's node listen, by what they are called in a message."""
    here = ray.get_runtime_context()
    host, _, port = here.gcs_address.rpartition(":")
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray has no types here
    [node] = [node for node in nodes if node["NodeID"] == here.get_node_id()]
    return {
        OWN: (node["NodeManagerAddress"], node["NodeManagerPort"]),
        "the head of the cluster": (host.strip("[]"), int(port)),
    }


def _patience(silent: str) -> float:
    """Return for how many seconds what is silent may come back."""
    return LOST_AFTER if silent.startswith(OWN) and REFUSED in silent else GONE_AFTER


def _silent(addresses: Addresses) -> str:
    """Name the first that takes no connection; empty when all do, busy as they may be."""
    for name, address in addresses.items():
        try:
            socket.create_connection(address, timeout=SECONDS_BETWEEN_LOOKS).close()
        except OSError as error:
            return f"{name} ({address[0]}:{address[1]}: {error.strerror or error})"
    return ""
