"""Weights on this machine's disk, whatever place the settings name."""

import hashlib
import os
from pathlib import Path

from pipeline.errors import EncoderError, StorageError
from pipeline.io.storage import Location


def local_weights(uri: str | None, sha256: str | None) -> Path | None:
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
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (StorageError, OSError) as error:
        raise EncoderError(f"encoder.weights {location} cannot be read: {error}") from error
    if sha256 is not None and found != sha256:
        raise EncoderError(f"encoder.weights {location} has sha256 {found}, the settings say {sha256}")
    return path


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
