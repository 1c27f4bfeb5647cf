"""Decoding in a child process, so that an image that crashes, hangs or fills the memory costs a row and no worker.

The parent sends the bytes of a file through a socket and gets pixels or a reason back; nothing is pickled. The child
is this module run anew, not a fork of a worker with its threads, and imports only what decoding needs.
"""

import contextlib
import ctypes
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import LakeScoreError
from pipeline.geometry import Seen, parse_seen
from pipeline.images import Quarantine, Reason, decode

Decode = Callable[[bytes, Seen, int], tuple[NDArray[Any], tuple[int, int]]]

ROOT = Path(__file__).parents[2]  # on a cluster the package lies where Ray unpacked it
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Decoder:
    """`pipeline.images.decode` in a child process, which starts with the first image and again after a death.

        decoder = Decoder(seconds=60, memory=6 << 30)
        pixels, (width, height) = decoder(content, View((518, 518)), 100_000_000)

    It serves one thread at a time. Besides decode's own reasons an image is quarantined as crashed, timeout or
    out_of_memory. Raises `LakeScoreError` when the child does not start: that is no image's fault.

    Args:
        seconds: what one image may take.
        memory: address space of the child, in bytes.
        function: what decodes, at the top level of a module.
    """

    def __init__(self, seconds: float, memory: int, function: Decode = decode) -> None:
        self._seconds, self._memory, self._function = seconds, memory, function
        self._child: _Child | None = None

    def __call__(self, content: bytes, view: Seen, max_pixels: int) -> tuple[NDArray[Any], tuple[int, int]]:
        used = self._child is not None
        child = self._child or _Child(self._function, self._seconds, self._memory)
        self._child = None  # until it has answered: an interrupt would leave this answer to the next image
        try:
            answer, pixels = child.ask({"view": str(view), "max_pixels": max_pixels}, content)
        except (EOFError, OSError) as error:
            code, end = child.end()
            if code == -signal.SIGALRM:
                raise Quarantine(Reason.TIMEOUT, f"not decoded within {self._seconds:g} seconds") from error
            if used:  # it may have died of what an earlier image left behind
                return self(content, view, max_pixels)
            raise Quarantine(Reason.CRASHED, end) from error
        except BaseException:
            child.end(patience=0)
            raise
        self._child = child
        if "reason" in answer:
            raise Quarantine(Reason(answer["reason"]), answer["detail"])
        decoded = np.frombuffer(pixels, answer["dtype"]).reshape(answer["shape"])
        return decoded, (answer["width"], answer["height"])

    def close(self) -> None:
        """End the child, if there is one; another image would start a new one."""
        if self._child is not None:
            self._child.end(patience=0)
            self._child = None

    __del__ = close


class _Child:
    """The parent's side of one child."""

    def __init__(self, function: Decode, seconds: float, memory: int) -> None:
        name = f"{function.__module__}:{function.__qualname__}"
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._said = tempfile.TemporaryFile(buffering=0)  # a pipe that nobody reads would fill up, and hang the child
        self._channel, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                # -P: the working directory is anybody's, and may hold a numpy.py
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), name, str(seconds), str(memory)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "OPENBLAS_NUM_THREADS": "1"},
            )
        try:
            self._channel.recv_bytes()
        except (EOFError, OSError) as error:
            end = self.end()[1]
            raise LakeScoreError(f"the decoder cannot be started on this node, and no image decoded: {end}") from error

    def ask(self, request: dict[str, str | int], content: bytes) -> tuple[dict[str, Any], bytes]:
        """Return its answer about one image; raises `EOFError` or `OSError` when it died of it."""
        self._said.seek(0)
        self._said.truncate()
        self._channel.send_bytes(json.dumps(request).encode())
        self._channel.send_bytes(content)
        return json.loads(self._channel.recv_bytes()), self._channel.recv_bytes()

    def end(self, patience: float = 10) -> tuple[int, str]:
        """Leave nothing of it behind, and return its exit code and that in words.

        It has some seconds to end by itself: one that dies closes the channel first, and its exit code tells of what.
        """
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self._process.kill()
        code = self._process.wait()
        with self._said:
            self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 1000))
            said = self._said.read().decode(errors="replace").split("\n")
        last = next((line for line in map(_printable, reversed(said)) if line), "")
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return code, f"the decoder ended {how}" + f": {last[:150]}" * bool(last)


def _printable(line: str) -> str:
    return "".join(filter(str.isprintable, line)).strip()


def _serve(channel: Connection, function: Decode, seconds: float, memory: int) -> None:
    """Decode what comes, until the parent is gone; SIGALRM ends the process when an image takes too long."""
    channel.send_bytes(b"ready")
    while True:
        try:
            request, content = json.loads(channel.recv_bytes()), channel.recv_bytes()
        except (EOFError, OSError):
            return
        answer: dict[str, Any] = {}
        body = b""
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            view = parse_seen(request["view"])
            pixels, (answer["width"], answer["height"]) = function(content, view, request["max_pixels"])
            answer |= {"dtype": pixels.dtype.str, "shape": pixels.shape}
            body = pixels.tobytes()
        except Quarantine as error:
            answer = {"reason": error.reason, "detail": error.detail}
        except MemoryError:
            answer = {"reason": Reason.OUT_OF_MEMORY, "detail": f"decoding takes more than {memory:,} bytes"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        del content  # or it would be held while the next one comes
        channel.send_bytes(json.dumps(answer).encode())
        channel.send_bytes(body)


def _main(descriptor: str, name: str, seconds: str, memory: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # Without its parent a child ends at the next read; one that hangs would not
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard == resource.RLIM_INFINITY or int(memory) <= hard:
            resource.setrlimit(resource.RLIMIT_AS, (int(memory), hard))
    _serve(Connection(int(descriptor)), pkgutil.resolve_name(name), float(seconds), int(memory))


if __name__ == "__main__":
    _main(*sys.argv[1:])
