"""Work in another process, and the memory that it took there."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class Processes:
    """Calls functions in another process: each in a new one if `apart`, as peaks of memory must, or all in the same.

    with Processes(apart=True) as call:
        found = call(work, 3)
    """

    def __init__(self, apart: bool) -> None:
        self._apart, self._stack = apart, ExitStack()
        self._same: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if not self._apart:
            self._same = self._stack.enter_context(_pool())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        if self._same is not None:
            return self._same.submit(function, *arguments, **named).result()
        with _pool() as pool:
            return pool.submit(function, *arguments, **named).result()


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def peak_memory() -> int:
    """Return the most bytes that this process had in memory.

    From /proc: what getrusage says of a process begins with the peak of the one that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = (line.split()[1] for line in lines if line.startswith("VmHWM:"))  # kB
    return int(peak) * 1024
