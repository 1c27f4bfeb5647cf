"""Keeping Ray's own lines from burying ours: errors reach us as exceptions."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Its token, its actors' arguments, its tables
QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}


@contextmanager
def greeting_dropped() -> Iterator[None]:
    """Have Ray's C++ log nothing while it starts, not even the line by which it says which log level it has."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if b"Set ray log level from environment" not in line:
                    os.write(2, line)
