"""One path type for a folder and a bucket of any store, so that no other room knows which it is reading."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError

from pipeline.errors import ConfigError, ObjectChanged, StorageError, StoreUnavailable
from pipeline.io import bucket, folder, other, traffic
from pipeline.io.entry import Changed, Entry, Unavailable

__all__ = ["Entry", "Location"]

SCHEMES = ("s3", *other.KINDS)


class Store(Protocol):
    """What a kind of storage can do: `folder`, `bucket`, and what `other.store` returns."""

    def read(self, path: str, etag: str | None) -> bytes: ...
    def open_(self, path: str) -> io.RawIOBase: ...
    def write(self, path: str, content: bytes, over: str | None) -> None: ...
    def create(self, path: str, content: bytes) -> bool: ...
    def exists(self, path: str) -> bool: ...
    def is_file(self, path: str) -> bool: ...
    def entry(self, path: str) -> Entry: ...
    def files(self, path: str) -> Iterator[Entry]: ...
    def folders(self, path: str) -> list[str]: ...
    def remove(self, path: str) -> None: ...


@dataclass(frozen=True)
class Location:
    """A file, folder, object or prefix.

        Location.parse("s3://lake/scores") / "runs"   ->   s3://lake/scores/runs
        Location.parse("out")                         ->   /home/me/out

    Paths are taken literally: nothing is globbed or chained, whatever a file may be called, and only in file://
    addresses %20 is a space.
    """

    protocol: str
    path: str

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """Read a local path, a file:// address, or one of `SCHEMES`; raises `ConfigError` for any other scheme."""
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
        if not uri or match is None:
            if not uri:
                raise ConfigError("an empty path was given where a folder, file or s3:// address is needed")
            return cls("file", os.path.abspath(os.path.expanduser(uri)))
        scheme, rest = match.group(1).lower(), uri[match.end() :]
        if scheme == "file":
            return cls("file", os.path.abspath("/" + unquote(rest).lstrip("/")))
        if scheme not in SCHEMES:
            usual = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise ConfigError(f"{_without_secrets(uri)}: {scheme}:// is not supported; use a local path or {usual}")
        if not re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*(/|$)", rest):
            raise ConfigError(f"{_without_secrets(uri)} names no bucket; use {scheme}://bucket/prefix")
        return cls(scheme, rest.rstrip("/"))

    @property
    def uri(self) -> str:
        """The address as written in results: an absolute path, or as s3://bucket/key."""
        return self.path if self.protocol == "file" else f"{self.protocol}://{self.path}"

    def __truediv__(self, name: str) -> "Location":
        return Location(self.protocol, f"{self.path.rstrip('/')}/{name}")

    def is_below(self, root: "Location") -> bool:
        """Tell whether this lies below a folder or prefix, wherever links and `..` lead; not whether it is there."""
        if self.protocol != root.protocol:
            return False
        if self.protocol == "file":
            path, above = os.path.realpath(self.path), os.path.realpath(root.path)
            return path.startswith(above.rstrip("/") + "/")
        # keys are literal, but not every store and proxy thinks so
        return self.path.startswith(f"{root.path}/") and ".." not in self.path.split("/")

    def __str__(self) -> str:
        return self.uri

    @property
    def _store(self) -> Store:
        if self.protocol == "file":
            return folder
        return bucket if self.protocol == "s3" else other.store(self.protocol)

    def read_bytes(self, etag: str | None = None) -> bytes:
        """Return the content; raises `StorageError`, and `ObjectChanged` when it has not the tag that is given."""
        with _storage_errors("read", self):
            content = self._store.read(self.path, etag)
        traffic.moved("read", len(content))
        return content

    def open(self) -> io.RawIOBase:
        """Open for reading at any position; the caller closes it. Raises `StorageError`."""
        with _storage_errors("read", self):
            return self._store.open_(self.path)

    def write_bytes(self, content: bytes, over: str | None = None) -> None:
        """Write the whole content or nothing, replacing what was there; raises `StorageError`.

        `over` is the tag of what may be replaced: `ObjectChanged` is raised where the store finds another one. Not all
        stores look: folders and some imitations of S3 replace what is there.
        """
        with _storage_errors("write", self):
            self._store.write(self.path, content, over)
        traffic.moved("written", len(content))

    def create(self, content: bytes) -> bool:
        """Write the whole content where nothing is yet; return false, and write nothing, where something is.

        Of several that do it at a time, one is told true. Raises `StorageError`.
        """
        with _storage_errors("write", self):
            return self._store.create(self.path, content)

    def exists(self) -> bool:
        """Tell whether a file, an object, or anything below this prefix is there."""
        with _storage_errors("read", self):
            return self._store.exists(self.path)

    def is_file(self) -> bool:
        """Tell whether this is one file or object."""
        with _storage_errors("read", self):
            return self._store.is_file(self.path)

    def entry(self) -> Entry:
        """Describe this one file; raises `StorageError` when it is not there."""
        with _storage_errors("read", self):
            return self._store.entry(self.path)

    def files(self) -> Iterator[Entry]:
        """Yield every file below, hidden ones left out, in no promised order; nothing when there is no such folder."""
        with _storage_errors("list", self):
            for found in self._store.files(self.path):
                if not any(part.startswith(".") for part in found.path.split("/")):
                    yield found

    def unfinished(self) -> Iterator[Entry]:
        """Yield what a process was writing when it was killed, below this folder; buckets keep no such thing."""
        with _storage_errors("list", self):
            for found in self._store.files(self.path):
                if folder.PARTIAL.fullmatch(found.path.rpartition("/")[2]):
                    yield found

    def folders(self) -> list[str]:
        """Return the names of the folders right below, hidden ones left out, without looking into them."""
        with _storage_errors("list", self):
            return sorted(name for name in self._store.folders(self.path) if not name.startswith("."))

    def remove(self) -> None:
        """Delete this file or everything below this folder; nothing happens when it is not there."""
        with _storage_errors("delete", self):
            self._store.remove(self.path)


def _without_secrets(uri: str) -> str:
    """Return an address without what may stand before its host or behind its path; secrets may hold a slash or an @."""
    return re.sub(r"//.*@", "//...@", uri, flags=re.DOTALL).partition("?")[0]


@contextmanager
def _storage_errors(action: str, location: Location) -> Iterator[None]:
    try:
        yield
    except Changed as error:
        raise ObjectChanged(f"cannot {action} {location}: it changed since it was listed") from error
    except Unavailable as error:
        raise StoreUnavailable(f"cannot {action} {location}: {error}") from error
    except (OSError, ValueError, BotoCoreError) as error:  # ValueError: a name with a NUL byte
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, FileNotFoundError):
            # stores put their own path here, or nothing
            reason = "no folder can be made there" if action == "write" else "there is no such file or object"
        raise StorageError(f"cannot {action} {location}: {reason}") from error
