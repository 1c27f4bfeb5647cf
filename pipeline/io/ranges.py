"""An object of a store as a file."""

import io
from collections.abc import Callable
from typing import Any


class Ranges(io.RawIOBase):
    """A file that asks for the ranges that are read, and no more.

    Args:
        size: bytes of the object.
        get: returns its bytes from a place to another, which is the first one outside.
    """

    def __init__(self, size: int, get: Callable[[int, int], bytes]) -> None:
        self._size, self._get, self._position = size, get, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def size(self) -> int:
        return self._size

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._size)
        if stop <= self._position:
            return 0
        content = self._get(self._position, stop)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)
