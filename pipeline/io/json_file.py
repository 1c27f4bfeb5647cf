"""Small JSON files: what one holds is validated, and what is damaged or another's counts as absent."""

import logging
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.io.storage import Location

T = TypeVar("T")

log = logging.getLogger(__name__)


def read_json(location: Location, kind: TypeAdapter[T], instead: str) -> T | None:
    """Return what a file holds; None where it is not there, or, with one warning, where it holds nothing of the kind.

    `instead` says in the warning what is done. Raises `StorageError` when the store does not answer.
    """
    if not location.exists():
        return None
    return parse_json(location.read_bytes(), kind, location, instead)


def parse_json(content: bytes, kind: TypeAdapter[T], location: Location, instead: str) -> T | None:
    """Return what the content of a file is; None, with one warning that names its location, where it is not."""
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = " ".join(f"{where}: {first['msg']}".removeprefix(": ").split())[:200]
        log.warning("%s is damaged or another's, and counts as absent (%s): %s", location, reason, instead)
        return None
