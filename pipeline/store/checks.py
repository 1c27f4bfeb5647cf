"""What a file of features says of itself, by which damage shows.

Both files of a block carry it in their Parquet metadata, as JSON, and are named by its hash. So a file that was cut,
zeroed, swapped with another one, or whose rows changed places, is not what its name says.
"""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from pipeline.errors import DamagedFile, StorageError, StoreUnavailable
from pipeline.io.entry import Unavailable
from pipeline.io.names import partition
from pipeline.io.parquet import DAMAGE
from pipeline.io.storage import Location
from pipeline.schema.tables import FEATURES

METADATA = b"lakescore"
OLD_NAME = re.compile(r"[0-9a-f]{24}")  # of files of up to November 2026, which say nothing of themselves


@dataclass(frozen=True)
class About:
    """Whose features a block holds, and the checksums (CRC-32) of what lies in its files.

    `tokens` has that of each image for each layer; `images` is that of the columns of FEATURES. `grid` (rows, columns)
    is that of its images, None where it is the store's; `counted` says for each image which patches count, as `bits`
    writes it, None where all do.
    """

    category: str
    fingerprint: str
    keys: Sequence[str]
    tokens: Mapping[int, Sequence[int]]
    images: int
    embeddings: int
    grid: tuple[int, int] | None = None
    counted: Sequence[str] | None = None

    @property
    def name(self) -> str:
        """What its files are called, without a suffix."""
        return hashlib.sha256(self._json).hexdigest()[:32]

    @property
    def metadata(self) -> dict[bytes, bytes]:
        return {METADATA: self._json}

    @property
    def _json(self) -> bytes:
        usual = {"grid", "counted"}  # which files of before there was another say nothing of
        told = {name: value for name, value in asdict(self).items() if value is not None or name not in usual}
        return json.dumps(told, sort_keys=True).encode()


_ABOUT = TypeAdapter(About)


def about_in(schema: pa.Schema, file: str, fingerprint: str) -> About | None:
    """Return what a file (category=<c>/<name>.parquet) of an encoder says of itself; None for one of an old name.

    Raises `ValueError` where it says nothing, or is another one than it is called.
    """
    path = PurePosixPath(file)
    if OLD_NAME.fullmatch(path.stem):
        return None
    content = (schema.metadata or {}).get(METADATA)
    if content is None:
        raise ValueError("it does not say what it is")
    about = _ABOUT.validate_json(content)
    if about.name != path.stem:
        raise ValueError(f"it is the file {about.name} of category {about.category!r}")
    if (about.fingerprint, partition("category", about.category)) != (fingerprint, path.parent.name):
        raise ValueError(f"it belongs to category {about.category!r} of the encoder {about.fingerprint}")
    return about


def bits(counted: NDArray[np.bool_]) -> str:
    """Return which patches (P,) count as text."""
    return base64.b64encode(zlib.compress(np.packbits(counted).tobytes())).decode()


def counted_in(text: str, patches: int) -> NDArray[np.bool_]:
    """Read what `bits` wrote (P,); raises `ValueError`."""
    try:
        packed = zlib.decompress(base64.b64decode(text))
    except zlib.error as error:
        raise ValueError(f"which patches count cannot be read: {error}") from error
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=patches).astype(bool)


def crc(content: memoryview) -> int:
    """Return the checksum of bytes, such as an array's."""
    return zlib.crc32(content)


def crc_of_images(table: pa.Table) -> int:
    """Return the checksum of the columns of FEATURES."""
    found = 0
    for column in FEATURES.columns:
        values = table[column.name].combine_chunks()
        texts = pa.types.is_string(column.type)
        content = "\0".join(values.to_pylist()).encode() if texts else values.to_numpy().tobytes()
        found = zlib.crc32(content, found)
    return found


def check(found: int, expected: int, what: str) -> None:
    """Raise `ValueError` where a checksum is another one."""
    if found != expected:
        raise ValueError(f"the checksum of {what} is another one")


@contextmanager
def held_to(location: Location) -> Iterator[None]:
    """Raise `DamagedFile` for what shows in the block that a file is not what it should be, or is gone."""
    try:
        yield
    except Unavailable as error:
        raise StoreUnavailable(f"cannot read {location}: {error}") from error
    except StorageError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise DamagedFile(f"{location} is gone") from error
    except MemoryError:  # of Arrow's, too
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, PermissionError) or getattr(error, "errno", None) is not None:  # the store's, not Arrow's
            raise StorageError(f"cannot read {location}: {reason}") from error
        raise DamagedFile(f"{location} is damaged: {reason}") from error
