"""What this process moved to and from storage, and how often it had to ask again."""

import threading
from collections import Counter

_lock = threading.Lock()
_moved: Counter[str] = Counter()
_retried: Counter[str] = Counter()


def moved(direction: str, size: int) -> None:
    """Count bytes that were "read" or "written"."""
    with _lock:
        _moved[direction] += size


def retried(error: str) -> None:
    """Count a request that is made again, by the name of the error: a few dozen at most."""
    with _lock:
        _retried[error] += 1


def take() -> tuple[dict[str, int], dict[str, int]]:
    """Return bytes by direction and retries by error, none of them 0, and begin again at nothing."""
    with _lock:
        found = dict(+_moved), dict(+_retried)  # an empty file moves 0 bytes, and Ray counts no 0
        _moved.clear()
        _retried.clear()
    return found
