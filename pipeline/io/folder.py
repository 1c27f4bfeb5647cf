"""Local files: the functions behind `Location` where its protocol is file. Errors are OSErrors."""

import io
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator

from pipeline.io.entry import Changed, Entry

PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial")  # what a file is called until it is whole


def read(path: str, etag: str | None) -> bytes:
    """Return the content; raises `Changed` when its tag is not the one given, or it changes meanwhile."""
    with open(path, "rb") as file:
        _check(path, file.fileno(), etag)  # before, too: it may have grown beyond the memory since it was listed
        content = file.read()
        _check(path, file.fileno(), etag)
    return content


def open_(path: str) -> io.RawIOBase:
    return open(path, "rb", buffering=0)


def write(path: str, content: bytes, over: str | None) -> None:
    """Write the whole content or nothing; a file system has no way to look at `over` in the same step."""
    _place(path, content, os.replace)


def create(path: str, content: bytes) -> bool:
    """Write the whole content where nothing is yet; return whether it is there now."""
    try:
        _place(path, content, os.link)
    except FileExistsError:
        return False
    return True


def exists(path: str) -> bool:
    return os.path.exists(path)


def is_file(path: str) -> bool:
    return os.path.isfile(path)


def entry(path: str) -> Entry:
    return _entry(os.path.basename(path), os.stat(path))


def files(path: str) -> Iterator[Entry]:
    """Yield everything below a folder that is no folder, with paths from there."""
    return _walk(path, "", ())


def folders(path: str) -> list[str]:
    if not os.path.isdir(path):
        return []
    with os.scandir(path) as children:
        return [child.name for child in children if child.is_dir()]


def remove(path: str) -> None:
    """Delete a file, or a folder with all that is below; links are deleted, not what they lead to."""
    if os.path.islink(path) or not os.path.isdir(path):
        if os.path.lexists(path):
            os.unlink(path)
        return
    with os.scandir(path) as children:
        for child in children:
            remove(child.path)
    os.rmdir(path)


def _place(path: str, content: bytes, move: Callable[[str, str], None]) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    partial = os.path.join(folder, f".{uuid.uuid4().hex}.partial")  # as PARTIAL says
    try:
        with open(partial, "wb") as file:
            file.write(content)
        move(partial, path)
    finally:
        if os.path.lexists(partial):
            os.unlink(partial)


def _walk(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[Entry]:
    """List a folder: links are what they lead to, and a folder that cannot be listed is an error."""
    real = os.path.realpath(folder)
    if not os.path.isdir(folder) or real in above:  # a link back to where it came from
        return
    with os.scandir(folder) as children:
        for child in children:
            try:
                info, is_folder = child.stat(), child.is_dir()
            except OSError:  # a link to nowhere, or to itself
                try:
                    info, is_folder = child.stat(follow_symlinks=False), False
                except FileNotFoundError:  # gone since
                    continue
            if is_folder:
                yield from _walk(child.path, f"{prefix}{child.name}/", (*above, real))
            else:
                yield _entry(prefix + child.name, info)


def _entry(path: str, info: os.stat_result) -> Entry:
    problem = None if stat.S_ISREG(info.st_mode) else "not a regular file"
    try:
        path.encode()
    except UnicodeEncodeError:
        path, problem = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), "name is not UTF-8"
    return Entry(path, info.st_size, _tag(info), info.st_mtime, problem)


def _check(path: str, descriptor: int, etag: str | None) -> None:
    if etag is not None and _tag(os.fstat(descriptor)) != etag:
        raise Changed(path)


def _tag(info: os.stat_result) -> str:
    return f"{info.st_size}-{info.st_mtime_ns // 1000}"
