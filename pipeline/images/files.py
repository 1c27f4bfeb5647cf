"""Files of a lake on their way to pixels: read ahead, within limits, decoded in a child process."""

import functools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from pipeline.boxes import file_of
from pipeline.config import InputConfig
from pipeline.geometry import Seen
from pipeline.images import Quarantine, Reason, decode, decode_mask, limits
from pipeline.images.decoder import Decode, Decoder
from pipeline.io.storage import Location

READERS = 8  # threads, and files in memory beside the one being decoded
AHEAD = 256 << 20  # bytes of files that are read ahead, unless one alone has more
# What a decoder may hold beside the file: the most that a format was seen to take of an image that is decoded whole
# (32-bit greys, 28 bytes a pixel; JPEG 2000 with transparency 24), some more, and what libraries and their threads map.
# A larger image takes less than the largest of those
BYTES_PER_PIXEL, BYTES_OF_LIBRARIES = 40, 1 << 30


def mask_values(
    uri: str, view: Seen, config: InputConfig, etag: str | None = None
) -> tuple[NDArray[Any], tuple[int, int]]:
    """Read and decode a mask as `decode_mask` does, within the limits of images; raises `Quarantine`, `StorageError`.

    Also where it has another tag than `etag` by now; None: whatever is there is taken.
    A mask is a file of the lake like any other, and may crash what decodes it.
    """
    entry = Location.parse(uri).entry()
    content = _read(uri, etag or entry.etag, entry.size, config.max_bytes)
    return decoder_of(config, decode_mask)(content, view, config.max_pixels)


def decoder_of(config: InputConfig, function: Decode = decode) -> Decoder:
    """Return this worker process's decoder."""
    memory = config.max_bytes + BYTES_PER_PIXEL * min(config.max_pixels, limits.WHOLE) + BYTES_OF_LIBRARIES
    return _decoder(config.max_seconds, memory, function)


@functools.cache
def _decoder(seconds: float, memory: int, function: Decode) -> Decoder:
    return Decoder(seconds, memory, function)


def read_ahead(block: pa.Table, max_bytes: int) -> Iterator[Future[bytes]]:
    """Yield the content of each image's file, or why there is none, while the next ones are read: a store answers late.

    `block` has uri, etag and size of each. A photograph whose boxes follow each other is read once.
    """
    with ThreadPoolExecutor(READERS) as pool:
        reads: deque[tuple[int, Future[bytes]]] = deque()
        held = 0
        last: tuple[tuple[str, str, int], Future[bytes]] | None = None
        for uri, etag, size in zip(*(block[name].to_pylist() for name in ("uri", "etag", "size")), strict=True):
            file = (file_of(uri), etag, size)
            if last is None or last[0] != file:
                last = file, pool.submit(_read, *file, max_bytes)
            reads.append((size, last[1]))
            held += size
            while len(reads) == READERS or (held > AHEAD and reads):
                known, read = reads.popleft()
                held -= known
                yield read
        while reads:
            yield reads.popleft()[1]


def _read(uri: str, etag: str, size: int, max_bytes: int) -> bytes:
    if size > max_bytes:  # a film or an archive
        raise Quarantine(Reason.TOO_LARGE, f"{size} bytes, the limit is {max_bytes}")
    return Location.parse(uri).read_bytes(etag)
