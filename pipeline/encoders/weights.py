"""Weights on this machine's disk, whatever place the settings name."""

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import EncoderError, StorageError
from pipeline.io.storage import Location


@dataclass(frozen=True)
class Weights:
    """A file of weights on this machine, and the checksum of its content."""

    path: Path
    sha256: str


def local_weights(uri: str | None, sha256: str | None) -> Weights | None:
    """Return a local file with the weights at `uri`, fetched into the user's cache if it lies in a bucket.

    Returns None for the hub's weights. Raises `EncoderError` when the file is missing or its checksum is another one.
    """
    if uri is None:
        if sha256 is not None:
            raise EncoderError("encoder.weights_sha256 is the checksum of a file: give encoder.weights too")
        return None
    location = Location.parse(uri)
    try:
        path = Path(location.path) if location.protocol == "file" else _fetch(location)
        status = path.stat()
        found = _checksum(path, (status.st_ino, status.st_size, status.st_mtime_ns))
    except (StorageError, OSError) as error:
        raise EncoderError(f"encoder.weights {location} cannot be read: {error}") from error
    if sha256 is not None and found != sha256:
        raise EncoderError(f"encoder.weights {location} has sha256 {found}, the settings say {sha256}")
    return Weights(path, found)


@functools.lru_cache(maxsize=8)
def _checksum(path: Path, status: tuple[int, int, int]) -> str:
    """Return a file's checksum, read once as long as number, size and time of the file stay: weights have gigabytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return the folder for files that can be made or fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakescore"


def _fetch(location: Location) -> Path:
    """Copy an object into the cache under a name that changes with its content."""
    entry = location.entry()
    key = hashlib.sha256(f"{location} {entry.etag} {entry.size}".encode()).hexdigest()[:16]
    path = cache_folder() / f"{key}-{Path(location.path).name}"
    if not path.exists():
        Location("file", str(path)).write_bytes(location.read_bytes(entry.etag))
    return path
