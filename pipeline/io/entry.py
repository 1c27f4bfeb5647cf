"""What both kinds of storage tell about a file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One listed file: where it is, how large in bytes, and a tag that changes with its content.

    `path` is relative to the listed location. `modified` is in seconds since the epoch, by the storage's own clock.
    `problem` says why the file cannot be opened, if it is known already.
    """

    path: str
    size: int
    etag: str
    modified: float = 0.0
    problem: str | None = None


class Changed(Exception):
    """A file is not the one that was listed."""


class Unavailable(Exception):
    """A store does not answer, or not to us: what is true of one file now is true of all."""
