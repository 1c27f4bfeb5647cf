"""Names of folders and files made from names in the data, which may hold any character."""

import hashlib
from urllib.parse import quote


def partition(column: str, value: str) -> str:
    """Return a Hive partition folder, `column=value`, percent-encoded as Spark, DuckDB and Arrow read it.

    A value too long for a folder's name is cut, and made unique by its hash.
    """
    quoted = quote(value, safe=" ")
    if len(quoted) > 180:
        kept = value
        while len(quote(kept, safe=" ")) > 160:  # whole characters: half an escape is unreadable for Arrow
            kept = kept[:-1]
        quoted = f"{quote(kept, safe=' ')}-{hashlib.sha256(value.encode()).hexdigest()[:16]}"
    return f"{column}={quoted}"


def file_key(uri: str) -> str:
    """Return a file's stem that is the same for the same uri, and safe on every store."""
    return hashlib.sha256(uri.encode()).hexdigest()[:24]
