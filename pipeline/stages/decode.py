"""Decode: files to pixels, on CPU tasks. Nothing heavy is imported here: every worker process would pay for it."""

import functools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from pipeline.config import InputConfig
from pipeline.decoder import Decoder
from pipeline.errors import StorageError
from pipeline.images import Quarantine, Reason
from pipeline.lake.storage import Location

READERS = 8  # threads, and files in memory beside the one being decoded
# What a decoder may hold beside the file: the most that a format was seen to take (32-bit greys, 28 bytes a pixel;
# JPEG 2000 with transparency 24), some more, and what libraries and their threads map
BYTES_PER_PIXEL, BYTES_OF_LIBRARIES = 40, 1 << 30


def decode_block(block: pa.Table, config: InputConfig, size: int) -> pa.Table:
    """Add the pixels of each image: `pixels` (size * size * 3 bytes), or a reason why there are none.

    An image's failure never leaves this function: an exception here would cost its whole block.
    """
    decode = _decoder(config)
    rows = []
    for content in _read_ahead(block["uri"].to_pylist(), block["size"].to_pylist(), config.max_bytes):
        row: dict[str, Any] = {"pixels": None, "width": None, "height": None, "reason": None, "detail": None}
        try:
            pixels, (row["width"], row["height"]) = decode(content.result(), size, config.max_pixels)
            row["pixels"] = pixels.tobytes()
        except Quarantine as error:
            row |= {"reason": str(error.reason), "detail": error.detail}
        except StorageError as error:
            row |= {"reason": str(Reason.UNREADABLE), "detail": str(error)}
        rows.append(row)
    types = [pa.binary(), pa.int32(), pa.int32(), pa.string(), pa.string()]
    for (name, kind), values in zip(
        zip(rows[0], types, strict=True), zip(*(row.values() for row in rows), strict=True), strict=True
    ):
        block = block.append_column(name, pa.array(values, kind))
    return block


@functools.cache
def _decoder(config: InputConfig) -> Decoder:
    """Return this worker process's decoder."""
    memory = config.max_bytes + BYTES_PER_PIXEL * config.max_pixels + BYTES_OF_LIBRARIES
    return Decoder(config.max_seconds, memory)


def _read_ahead(uris: list[str], sizes: list[int], max_bytes: int) -> Iterator[Future[bytes]]:
    """Yield the content of each file, or why there is none, while the next ones are read: a store answers late."""
    with ThreadPoolExecutor(READERS) as pool:
        reads: deque[Future[bytes]] = deque()
        for uri, size in zip(uris, sizes, strict=True):
            reads.append(pool.submit(_read, uri, size, max_bytes))
            if len(reads) == READERS:
                yield reads.popleft()
        while reads:
            yield reads.popleft()


def _read(uri: str, size: int, max_bytes: int) -> bytes:
    if size > max_bytes:  # a film or an archive
        raise Quarantine(Reason.TOO_LARGE, f"{size} bytes, the limit is {max_bytes}")
    return Location.parse(uri).read_bytes()
