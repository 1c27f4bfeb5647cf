"""A store in memory that fsspec knows by an address of another: as gcsfs shows Google's, as far as storage asks."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import fsspec
from fsspec.registry import _registry as registered


@dataclass(frozen=True)
class Kept:
    """An object: its content, and the number and time of the write that made it."""

    content: bytes
    generation: int
    written: datetime


class Memory(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """All instances have the same objects, by bucket/key; buckets are there."""

    objects: dict[str, Kept] = {}
    asked: list[tuple[str, str]] = []  # methods and paths
    failing: list[Exception] = []  # what the next requests raise
    writes = itertools.count(1)

    def ls(self, path: str, detail: bool = True, refresh: bool = False, **_: Any) -> list[dict[str, Any]]:
        self._arrive("ls", path)
        names = [name for name in self.objects if name == path or name.startswith(f"{path}/")]
        if not names:
            raise FileNotFoundError(path)
        below = sorted({name[: f"{name}/".find("/", len(path) + 1)] for name in names if name != path})
        return [self._describe(name) if name in self.objects else _folder(name) for name in [path, *below]]

    def info(self, path: str, refresh: bool = False, **_: Any) -> dict[str, Any]:
        self._arrive("info", path)
        if path in self.objects:
            return self._describe(path)
        if "/" in path and not any(name.startswith(f"{path}/") for name in self.objects):
            raise FileNotFoundError(path)
        return _folder(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        self._arrive("cat_file", path)
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path].content[start:end]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self._arrive("pipe_file", path)
        if mode == "create" and path in self.objects:
            raise FileExistsError(path)
        self.objects[path] = Kept(value, next(self.writes), datetime.now(UTC))

    def rm_file(self, path: str) -> None:
        self._arrive("rm_file", path)
        if self.objects.pop(path, None) is None:
            raise FileNotFoundError(path)

    def _arrive(self, method: str, path: str) -> None:
        self.asked.append((method, path))
        if self.failing:
            raise self.failing.pop()

    def _describe(self, path: str) -> dict[str, Any]:
        kept = self.objects[path]
        told = {"generation": str(kept.generation), "etag": "changes with its metadata", "mtime": kept.written}
        return {"name": path, "type": "file", "size": len(kept.content), **told}


def _folder(path: str) -> dict[str, Any]:
    return {"name": path, "type": "directory", "size": 0}


@contextmanager
def memory_at(protocol: str) -> Iterator[type[Memory]]:
    """Let addresses of a protocol lead to an empty store in memory."""
    before = registered.get(protocol)
    store = type("Memory", (Memory,), {"protocol": protocol, "objects": {}, "asked": [], "failing": []})
    fsspec.register_implementation(protocol, store, clobber=True)
    try:
        yield store
    finally:
        registered.pop(protocol)
        if before is not None:
            registered[protocol] = before
