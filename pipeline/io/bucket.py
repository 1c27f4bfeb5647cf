"""Objects in S3: the functions behind `Location` where its protocol is s3. Paths are bucket/key.

Endpoint, region and credentials come from the usual AWS chain. Everything that may pass by itself (throttling, errors
of the server, connections that break) is tried again as `retry` says. boto3's own retries are off: a quota that all
threads share would end them early in an outage.
"""

import errno
import io
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, ParamSpec, TypeVar

import boto3
import botocore.exceptions as aws
from botocore.config import Config

from pipeline.io import retry
from pipeline.io.entry import Changed, Entry, Unavailable
from pipeline.io.ranges import Ranges

P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS = 32
PAYER = "AWS_REQUEST_PAYER"  # "requester": of buckets that are paid for by whoever reads them, as GDAL names it, too
DELETED_AT_ONCE = 1000  # objects: S3's own limit

KINDS = {  # what a browser is told of a report's files, which it would offer to download otherwise
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "webp": "image/webp",
    "svg": "image/svg+xml",
    "png": "image/png",
}

MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "404", "NotFound"})
PASSING = frozenset(
    "SlowDown RequestTimeout RequestTimeTooSkewed InternalError ServiceUnavailable Throttling ThrottlingException "
    "RequestLimitExceeded BandwidthLimitExceeded OperationAborted ConditionalRequestConflict "
    "408 429 500 502 503 504".split()
)
REFUSED = frozenset("InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken TokenRefreshRequired".split())
BROKEN = (
    aws.ConnectionError,  # that cannot be made
    aws.HTTPClientError,  # that time out, or are closed
    aws.IncompleteReadError,
    ConnectionError,
)
NO_CREDENTIALS = (aws.NoCredentialsError, aws.PartialCredentialsError, aws.TokenRetrievalError)


@cache
def client() -> Any:
    """Return this process's client; threads share it."""
    made = boto3.Session().client(  # not the default session, which would keep credentials of before
        "s3",
        config=Config(
            retries={"total_max_attempts": 1},
            max_pool_connections=CONNECTIONS,
            connect_timeout=10,
            read_timeout=60,
            user_agent_extra="lakescore",
        ),
    )
    if os.environ.get(PAYER) == "requester":
        made.meta.events.register("provide-client-params.s3", _pay)
    return made


def _pay(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Agree to pay for a request, as buckets whose requesters pay ask for."""
    if "RequestPayer" in model.input_shape.members:
        params["RequestPayer"] = "requester"


def read(path: str, etag: str | None) -> bytes:
    """Return the content; raises `Changed` when its tag is not the one given."""
    return _get(path, {"IfMatch": f'"{etag}"'} if etag else {})


def open_(path: str) -> io.RawIOBase:
    return Ranges(entry(path).size, lambda start, stop: _get(path, {"Range": f"bytes={start}-{stop - 1}"}))


def write(path: str, content: bytes, over: str | None) -> None:
    """Write the whole content or nothing: a store keeps no half of an object."""
    said = {"IfMatch": f'"{over}"'} if over else {}
    if kind := KINDS.get(path.rpartition(".")[2]):
        said["ContentType"] = kind
    try:
        _retry(client().put_object, **_at(path), Body=content, **said)
    except NotImplementedError:
        said.pop("IfMatch")
        _retry(client().put_object, **_at(path), Body=content, **said)


def create(path: str, content: bytes) -> bool:
    """Write the whole content where nothing is yet; return whether it is there now."""
    try:
        _retry(client().put_object, **_at(path), Body=content, IfNoneMatch="*")
    except Changed:
        return read(path, None) == content  # the answer to an earlier try may have been lost
    return True


def exists(path: str) -> bool:
    """Tell whether there is an object, or anything below."""
    if "/" in path and is_file(path):
        return True
    bucket, prefix = _prefix(path)
    return bool(_retry(client().list_objects_v2, Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"))


def is_file(path: str) -> bool:
    if "/" not in path:
        return False
    try:
        _retry(client().head_object, **_at(path))
    except FileNotFoundError:
        return False
    except PermissionError:  # S3 says so of what is missing, too, to those who may list some prefixes only
        bucket, _, key = path.partition("/")
        listed = _retry(client().list_objects_v2, Bucket=bucket, Prefix=key, MaxKeys=1)
        return any(item["Key"] == key for item in listed.get("Contents", ()))
    return True


def entry(path: str) -> Entry:
    found = _retry(client().head_object, **_at(path))
    name = path.rpartition("/")[2]
    return Entry(name, found["ContentLength"], found["ETag"].strip('"'), found["LastModified"].timestamp())


def files(path: str) -> Iterator[Entry]:
    """Yield every object below a prefix, a page at a time, with paths from there."""
    prefix = _prefix(path)[1]
    for page in _pages(path):
        for item in page.get("Contents", ()):
            name = item["Key"].removeprefix(prefix)
            if name and not name.endswith("/"):  # consoles keep an empty object for a folder
                yield Entry(name, item["Size"], item["ETag"].strip('"'), item["LastModified"].timestamp())


def folders(path: str) -> list[str]:
    prefix = _prefix(path)[1]
    found = (item["Prefix"] for page in _pages(path, Delimiter="/") for item in page.get("CommonPrefixes", ()))
    return [name.removeprefix(prefix).rstrip("/") for name in found]


def remove(path: str) -> None:
    """Delete an object and all that is below it as a prefix."""
    bucket, prefix = _prefix(path)
    keys = [prefix + found.path for found in files(path)]
    if "/" in path:
        keys.append(path.partition("/")[2])
    for start in range(0, len(keys), DELETED_AT_ONCE):
        batch = [{"Key": key} for key in keys[start : start + DELETED_AT_ONCE]]
        answer = _retry(client().delete_objects, Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        if errors := [error for error in answer.get("Errors", ()) if error.get("Code") not in MISSING]:
            raise OSError(f"{len(errors)} objects stay, such as {errors[0].get('Key')}: {errors[0].get('Message')}")


def _pages(path: str, **options: str) -> Iterator[dict[str, Any]]:
    bucket, prefix = _prefix(path)
    request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **options}
    while True:
        page: dict[str, Any] = _retry(client().list_objects_v2, **request)
        yield page
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _get(path: str, options: dict[str, str]) -> bytes:
    def whole() -> bytes:
        content: bytes = client().get_object(**_at(path), **options)["Body"].read()
        return content

    return _retry(whole)


def _at(path: str) -> dict[str, str]:
    bucket, _, key = path.partition("/")
    if not key:
        raise IsADirectoryError(f"{bucket} is a bucket, an object is needed")
    return {"Bucket": bucket, "Key": key}


def _prefix(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    return bucket, f"{key.rstrip('/')}/" if key else ""


def _retry(request: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Make a request until it is answered; raises what `_meaning` makes of the last error."""
    try:
        return retry.ask(lambda: request(*arguments, **options), _passing, _say)
    except (aws.BotoCoreError, aws.ClientError, ConnectionError) as error:
        raise _meaning(error) from error


def _passing(error: BaseException) -> str | None:
    if isinstance(error, BROKEN):
        return type(error).__name__
    code = _code(error)
    return code if code in PASSING else None


def _meaning(error: Exception) -> Exception:
    """Say what an error means in the words of the file system, which callers know for local files too."""
    code = _code(error)
    if code in MISSING:
        return FileNotFoundError(_say(error))
    if code in ("PreconditionFailed", "412"):
        return Changed(_say(error))
    if code in ("AccessDenied", "403", "AllAccessDisabled"):
        return PermissionError(f"access denied ({_say(error)}); the credentials in use may not do this")
    if _passing(error):
        return Unavailable(f"tried for {retry.PATIENCE:.0f} s: {_say(error)}")
    if code in REFUSED or isinstance(error, NO_CREDENTIALS):
        return Unavailable(f"the credentials are refused: {_say(error)}")
    # with a number, as those of the system have: libraries raise OSErrors without one for damaged content
    return NotImplementedError(_say(error)) if code == "NotImplemented" else OSError(errno.EIO, _say(error))


def _code(error: BaseException | None) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, aws.ClientError) else ""


def _say(error: object) -> str:
    if isinstance(error, aws.ClientError):
        return f"{_code(error)} {error.response['Error'].get('Message') or ''}".strip()
    return retry.without_secrets(str(error)) or type(error).__name__  # botocore quotes the endpoint
