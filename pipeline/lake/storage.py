"""One path type for a folder and a bucket, so that no other room knows which it is reading."""

import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import fsspec
from botocore.exceptions import BotoCoreError

from pipeline.errors import ConfigError, StorageError


@dataclass(frozen=True)
class Entry:
    """One listed file: where it is, how large, and a tag that changes with its content.

    `path` is relative to the listed location. `problem` says why the file cannot be opened, if it is known already.
    """

    path: str
    size: int
    etag: str
    problem: str | None = None


@dataclass(frozen=True)
class Location:
    """A file, folder, object or prefix.

        Location.parse("s3://lake/scores") / "runs"   ->   s3://lake/scores/runs
        Location.parse("out")                         ->   /home/me/out

    Paths are taken literally: nothing is unquoted, globbed or chained, whatever a file may be called.
    """

    protocol: str
    path: str

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """Read a local path or an s3:// or file:// address; raises `ConfigError` for any other scheme."""
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
        if not uri or match is None:
            if not uri:
                raise ConfigError("an empty path was given where a folder, file or s3:// address is needed")
            return cls("file", os.path.abspath(os.path.expanduser(uri)))
        scheme, rest = match.group(1).lower(), uri[match.end() :]
        if scheme == "file":
            return cls("file", os.path.abspath("/" + rest.lstrip("/")))
        if scheme != "s3":
            raise ConfigError(f"{uri}: {scheme}:// is not supported; use a local path or s3://")
        if not rest.strip("/") or rest.startswith("/"):
            raise ConfigError(f"{uri} names no bucket; use s3://bucket/prefix")
        return cls("s3", rest.rstrip("/"))

    @property
    def uri(self) -> str:
        """The address as written in results: an absolute path, or s3://bucket/key."""
        return self.path if self.protocol == "file" else f"{self.protocol}://{self.path}"

    def __truediv__(self, name: str) -> "Location":
        return Location(self.protocol, f"{self.path.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.uri

    @property
    def _fs(self) -> Any:
        if self.protocol == "s3":
            return fsspec.filesystem("s3", use_listings_cache=False)
        return fsspec.filesystem("file")

    def read_bytes(self) -> bytes:
        """Return the content; raises `StorageError`."""
        with _storage_errors("read", self):
            content: bytes = self._fs.cat_file(self.path)
            return content

    def open(self) -> BinaryIO:
        """Open for reading at any position; the caller closes it. Raises `StorageError`."""
        # s3fs would read 50 MB ahead of every seek; whoever opens a file here knows the ranges it wants
        options = {"cache_type": "none"} if self.protocol == "s3" else {}
        with _storage_errors("read", self):
            file: BinaryIO = self._fs.open(self.path, "rb", **options)
            return file

    def write_bytes(self, content: bytes) -> None:
        """Write the whole content or nothing, replacing what was there; raises `StorageError`."""
        with _storage_errors("write", self):
            if self.protocol != "file":
                self._fs.pipe_file(self.path, content)
                return
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            partial = os.path.join(os.path.dirname(self.path), f".{uuid.uuid4().hex}.partial")
            try:
                with open(partial, "wb") as file:
                    file.write(content)
                os.replace(partial, self.path)
            finally:
                if os.path.lexists(partial):
                    os.unlink(partial)

    def exists(self) -> bool:
        """Tell whether a file, an object, or anything below this prefix is there."""
        with _storage_errors("read", self):
            return bool(self._fs.exists(self.path))

    def is_file(self) -> bool:
        """Tell whether this is one file or object."""
        with _storage_errors("read", self):
            return bool(self._fs.isfile(self.path))

    def entry(self) -> Entry:
        """Describe this one file; raises `StorageError` when it is not there."""
        with _storage_errors("read", self):
            info = self._fs.info(self.path)
        return _entry(self.path.rpartition("/")[2], info)

    def files(self) -> Iterator[Entry]:
        """Yield every file below, hidden ones left out, in no promised order; nothing when there is no such folder."""
        with _storage_errors("list", self):
            found = self._fs.find(self.path, detail=True) if self.protocol == "s3" else _walk(self.path)
        prefix = self.path.rstrip("/") + "/"
        for path, info in found.items():
            relative = path.removeprefix(prefix)
            if relative.endswith("/") or not relative:  # S3 consoles keep an empty object for a folder
                continue
            if any(part.startswith(".") for part in relative.split("/")):
                continue
            entry = _entry(relative, info)
            if self.protocol == "s3" and "?versionId=" in relative:
                entry = replace(entry, problem="s3fs takes ?versionId= in a key for a version of another object")
            yield entry

    def remove(self) -> None:
        """Delete this file or everything below this folder; nothing happens when it is not there."""
        with _storage_errors("delete", self):
            if self._fs.exists(self.path):
                self._fs.rm(self.path, recursive=True)


def _walk(folder: str, above: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """List a local folder: links are what they lead to, and a folder that cannot be listed is an error."""
    found: dict[str, dict[str, Any]] = {}
    if not os.path.isdir(folder) or os.path.realpath(folder) in above:  # a link back to where it came from
        return found
    above = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                info, is_folder = entry.stat(), entry.is_dir()
            except OSError:  # a link to nowhere, or to itself
                info, is_folder = entry.stat(follow_symlinks=False), False
            if is_folder:
                found |= _walk(entry.path, above)
                continue
            kind = "file" if stat.S_ISREG(info.st_mode) else "other"
            found[entry.path] = {"type": kind, "size": info.st_size, "mtime": info.st_mtime}
    return found


def _entry(path: str, info: dict[str, Any]) -> Entry:
    problem = None
    if info.get("type") != "file":
        problem = "not a regular file"
    try:
        path.encode()
    except UnicodeEncodeError:
        path, problem = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), "name is not UTF-8"
    etag = info.get("ETag") or f"{info.get('size') or 0}-{int((info.get('mtime') or 0) * 1e6)}"
    return Entry(path, int(info.get("size") or 0), str(etag).strip('"'), problem)


@contextmanager
def _storage_errors(action: str, location: Location) -> Iterator[None]:
    try:
        yield
    except (OSError, BotoCoreError, ValueError) as error:  # ValueError: a name with a NUL byte
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, FileNotFoundError):
            reason = "there is no such file or object"  # stores put their own path here, or nothing
        raise StorageError(f"cannot {action} {location}: {reason}") from error
