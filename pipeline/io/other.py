"""Objects of other stores than S3, through fsspec: what stands behind `Location` for gs://, abfs:// and hf://.

Credentials and endpoints come from where each store's package looks for them, never from an address: a path names a
bucket and a key, and no host. Paths are literal: nothing here goes through fsspec.open, which chains and globs.
"""

import errno
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import fsspec

from pipeline.io import retry
from pipeline.io.entry import Changed, Entry, Unavailable
from pipeline.io.ranges import Ranges


@dataclass(frozen=True)
class Kind:
    """The package that knows a store, and whether it can write a file exclusively, without which no lock is held."""

    package: str
    creates: bool


KINDS = {"gs": Kind("gcsfs", True), "abfs": Kind("adlfs", True), "hf": Kind("huggingface_hub", False)}

TAGS = ("generation", "etag", "blob_id", "xet_hash")  # what a store calls that which changes with a file's content
TIMES = ("mtime", "last_modified")
REMOVING = 16  # threads

# Errors of connections by their names: of aiohttp, of requests, httpx and Google's, of Azure's
BROKEN = frozenset(
    "ConnectionError TimeoutError ClientConnectionError ClientPayloadError Timeout TransportError ServiceRequestError "
    "ServiceResponseError".split()
)
OFFLINE = "OfflineModeIsEnabled"  # HF_HUB_OFFLINE, which does not pass by itself
REFUSED = frozenset({"GoogleAuthError", "ClientAuthenticationError", "LocalTokenNotFoundError"})


@cache
def store(protocol: str) -> "Other":
    """Return what stands behind the addresses of one of `KINDS`."""
    return Other(protocol)


class Other:
    """A store of one protocol; paths are bucket/key, as its package takes them."""

    def __init__(self, protocol: str) -> None:
        self._protocol, self._kind = protocol, KINDS[protocol]

    def read(self, path: str, etag: str | None) -> bytes:
        """Return the content; raises `Changed` when it has another tag than the one given.

        The tag is asked for after the content: what was replaced before shows, and what is replaced later is not read.
        """
        content: bytes = self._ask("cat_file", path)
        if etag is not None and self.entry(path).etag != etag:
            raise Changed(path)
        return content

    def open_(self, path: str) -> io.RawIOBase:
        return Ranges(self.entry(path).size, lambda start, stop: self._ask("cat_file", path, start=start, end=stop))

    def write(self, path: str, content: bytes, over: str | None) -> None:
        """Write the whole content or nothing; `over` is looked at before, not in the same step."""
        self._must_create()
        if over is not None and self.entry(path).etag != over:
            raise Changed(path)
        self._ask("pipe_file", path, content)

    def create(self, path: str, content: bytes) -> bool:
        """Write the whole content where nothing is yet; return whether it is there now."""
        self._must_create()
        try:
            self._ask("pipe_file", path, content, mode="create")
        except Changed:
            return self.read(path, None) == content  # the answer to an earlier try may have been lost
        return True

    def exists(self, path: str) -> bool:
        """Tell whether there is an object, or anything below."""
        return self._info(path) is not None

    def is_file(self, path: str) -> bool:
        found = self._info(path)
        return found is not None and found["type"] == "file"

    def entry(self, path: str) -> Entry:
        found = self._ask("info", path, refresh=True)
        if found["type"] != "file":
            raise FileNotFoundError(f"{path} is no file")
        return _entry(path.rpartition("/")[2], found)

    def files(self, path: str) -> Iterator[Entry]:
        """Yield every object below a prefix, a folder at a time, with paths from there."""
        above = [path]
        while above:
            folder = above.pop()
            for found in self._list(folder):
                if found["type"] == "directory":
                    above.append(found["name"])
                else:
                    yield _entry(found["name"][len(path) + 1 :], found)

    def folders(self, path: str) -> list[str]:
        return [found["name"].rpartition("/")[2] for found in self._list(path) if found["type"] == "directory"]

    def remove(self, path: str) -> None:
        """Delete an object and all that is below it as a prefix."""
        self._must_create()
        names = [f"{path}/{found.path}" for found in self.files(path)]
        with ThreadPoolExecutor(REMOVING) as pool:
            list(pool.map(self._remove, [*names, path] if self.is_file(path) else names))

    def _remove(self, path: str) -> None:
        try:
            self._ask("rm_file", path)
        except FileNotFoundError:  # somebody else deletes it, too, or an earlier try did
            return

    def _info(self, path: str) -> Any:
        try:
            return self._ask("info", path, refresh=True)
        except FileNotFoundError:
            return None

    def _list(self, path: str) -> list[Any]:
        """Return what is right below a folder; nothing of a file, or where nothing is."""
        try:
            found = self._ask("ls", path, detail=True, refresh=True)
        except FileNotFoundError:
            return []
        below = f"{path}/"
        return [of for of in found if of["name"].rstrip("/").startswith(below)]  # some list the folder itself, too

    def _must_create(self) -> None:
        if not self._kind.creates:
            raise OSError(errno.EROFS, f"{self._protocol}:// can only be read: no file is created exclusively there")

    def _ask(self, method: str, path: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the file system until it is answered; raises what `_meaning` makes of the last error."""
        try:
            # by fsspec's own cache, which knows what processes and threads may share
            system = fsspec.filesystem(self._protocol, use_listings_cache=False)
        except ImportError as error:
            package = self._kind.package
            raise Unavailable(f"{self._protocol}:// needs a package: pip install {package}, on every node") from error
        except Exception as error:  # each package has errors of its own for credentials that are absent
            raise Unavailable(f"the credentials are refused: {_say(error)}") from error
        if system._strip_protocol(path) != path or "?versionid=" in path:  # adlfs takes parts of names for other things
            raise OSError(errno.EINVAL, f"{self._kind.package} does not take this name as it is")
        try:
            return retry.ask(lambda: getattr(system, method)(path, *arguments, **options), _passing, _say)
        except Exception as error:  # each package has its own
            raise _meaning(error) from error


def _entry(name: str, found: Any) -> Entry:
    size, time = int(found["size"] or 0), next((found[key] for key in TIMES if found.get(key)), None)
    modified = time.timestamp() if isinstance(time, datetime) else 0.0
    tag = next((str(found[key]) for key in TAGS if found.get(key)), f"{size}-{modified}")
    return Entry(name, size, tag.strip('"'), modified)


def _passing(error: BaseException) -> str | None:
    status = _status(error)
    if status is not None:
        return str(status) if status in (408, 429) or status >= 500 else None
    names = _names(error)
    return type(error).__name__ if names & BROKEN and OFFLINE not in names else None


def _meaning(error: Exception) -> Exception:
    """Say what an error means in the words of the file system, which callers know for local files too."""
    status = _status(error)
    if isinstance(error, FileNotFoundError) or status == 404:
        return FileNotFoundError(_say(error))
    if isinstance(error, FileExistsError) or status in (409, 412):
        return Changed(_say(error))
    if status == 401 or _names(error) & REFUSED:
        return Unavailable(f"the credentials are refused: {_say(error)}")
    if isinstance(error, PermissionError) or status == 403 or str(error).startswith("Forbidden"):  # so does gcsfs say
        return PermissionError(f"access denied ({_say(error)}); the credentials in use may not do this")
    if _passing(error):
        return Unavailable(f"tried for {retry.PATIENCE:.0f} s: {_say(error)}")
    return OSError(errno.EIO, _say(error))


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error tells, where it tells one: each package has its own place for it."""
    response = getattr(error, "response", None)
    told = [getattr(error, "code", None), *(getattr(of, "status_code", None) for of in (error, response))]
    return next((int(str(value)) for value in told if str(value).isdigit()), None)


def _names(error: BaseException) -> set[str]:
    return {of.__name__ for of in type(error).__mro__}


def _say(error: object) -> str:
    """Return the first line of what an error says, without what addresses in it may carry."""
    return retry.without_secrets(str(error).partition("\n")[0]) or type(error).__name__
