"""Local files: the functions behind `Location` where its protocol is file. Errors are OSErrors.

What is written is on the disk when the function returns, its name too: whatever counts on a file, and is written after
it, is not there without it when the power fails.
"""

import contextlib
import errno
import io
import os
import re
import stat
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from pipeline.io.entry import Changed, Entry

PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial")  # what a file is called until it is whole
MOST_WAYS = 100  # to one folder through several links: links to links of links can make millions


def read(path: str, etag: str | None) -> bytes:
    """Return the content; raises `Changed` when its tag is not the one given, or it changes meanwhile."""
    with open_(path) as file:
        _check(path, file.fileno(), etag)  # before, too: it may have grown beyond the memory since it was listed
        size = os.fstat(file.fileno()).st_size
        content = file.read() if size else b""  # some files of the system are empty, and to read them never ends
        _check(path, file.fileno(), etag)
    return content or b""


def open_(path: str) -> io.FileIO:
    """Open a regular file; opening a pipe would wait for somebody who writes to it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISDIR(mode := os.fstat(descriptor).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return io.FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def write(path: str, content: bytes, over: str | None) -> None:
    """Write the whole content or nothing; a file system has no way to look at `over` in the same step."""
    _place(path, content, os.replace)


def create(path: str, content: bytes) -> bool:
    """Write the whole content where nothing is yet; return whether it is there now."""
    _make_folder(os.path.dirname(path))  # before: a file in the way of the folder is none of the same name
    try:
        _place(path, content, os.link)
    except FileExistsError:
        if os.path.islink(path) and not os.path.exists(path):  # it leads to nothing
            os.unlink(path)
            return create(path, content)
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
    return _walk(path, "", (), 0, Counter())


def folders(path: str) -> list[str]:
    if not os.path.isdir(path):
        return []
    with os.scandir(path) as children:
        return [child.name for child in children if child.is_dir()]


def remove(path: str) -> None:
    """Delete a file, or a folder with all that is below; links are deleted, not what they lead to."""
    with contextlib.suppress(FileNotFoundError):  # somebody else deletes it, too
        if os.path.islink(path) or not os.path.isdir(path):
            os.unlink(path)
            return
        with os.scandir(path) as children:
            for child in children:
                remove(child.path)
        os.rmdir(path)


def _place(path: str, content: bytes, move: Callable[[str, str], None]) -> None:
    folder = os.path.dirname(path)
    _make_folder(folder)
    partial = os.path.join(folder, f".{uuid.uuid4().hex}.partial")  # as PARTIAL says
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        move(partial, path)
        _sync_folder(folder)
    finally:
        if os.path.lexists(partial):
            os.unlink(partial)


def _make_folder(folder: str) -> None:
    """Make a folder, and those above it that are missing, so that they are on the disk."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    if above != folder:
        _make_folder(above)
    os.makedirs(folder, exist_ok=True)
    _sync_folder(above)


def _sync_folder(folder: str) -> None:
    """Bring the names in a folder to the disk, where the file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems know no such thing
            raise
    finally:
        os.close(descriptor)


def _walk(folder: str, prefix: str, above: tuple[str, ...], links: int, ways: Counter[str]) -> Iterator[Entry]:
    """List a folder: links are what they lead to, and a folder that cannot be listed is an error.

    `links` were followed on the way to it, and `ways` counts how often a folder was come to through several of them.
    """
    real = os.path.realpath(folder)
    if not os.path.isdir(folder) or real in above:  # a link back to where it came from
        return
    if links > 1:
        ways[real] += 1
        if ways[real] > MOST_WAYS:
            said = f"links lead to {real} on more than {MOST_WAYS} ways, such as {prefix}: remove some of them"
            raise OSError(errno.ELOOP, said)
    with os.scandir(folder) as children:
        for child in children:
            try:
                info, is_folder = child.stat(), child.is_dir()
            except OSError:  # a link to nowhere, or to itself
                try:
                    lost = _entry(prefix + child.name, child.stat(follow_symlinks=False))
                    target = os.fsencode(os.readlink(child.path)).decode("utf-8", "backslashreplace")
                except FileNotFoundError:  # gone since
                    continue
                yield replace(lost, problem=f"a link to nowhere: {target[:200]}")
                continue
            if is_folder:
                followed = links + child.is_symlink()
                yield from _walk(child.path, f"{prefix}{child.name}/", (*above, real), followed, ways)
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
    if etag is None:
        return
    tag = _tag(os.fstat(descriptor))
    was_short = etag.count("-") == 1  # of a run of up to November 2026, whose tags were size and time alone
    if tag != etag and not (was_short and tag.startswith(f"{etag}-")):
        raise Changed(path)


def _tag(info: os.stat_result) -> str:
    """Return what changes with a file's content, also where a copy brings the size and the time of what it replaces.

    The time of the last change tells of both ways to replace a file. Its inode would not: mounted buckets give it other
    numbers on each node.
    """
    return f"{info.st_size}-{info.st_mtime_ns // 1000}-{info.st_ctime_ns // 1000:x}"
