"""Decode: files to pixels, masks to values. Nothing heavy is imported here: every worker process would pay for it."""

import functools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import InputConfig
from pipeline.engine.telemetry import count_traffic
from pipeline.errors import ObjectChanged, StorageError, StoreUnavailable
from pipeline.images import Quarantine, Reason, decode, decode_mask, image_stats
from pipeline.images.decoder import Decode, Decoder
from pipeline.io.storage import Location
from pipeline.store.features import IMAGE_STATS

DECODED = pa.schema(
    [
        ("pixels", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        *((name, pa.float32()) for name in IMAGE_STATS),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
READERS = 8  # threads, and files in memory beside the one being decoded
# What a decoder may hold beside the file: the most that a format was seen to take (32-bit greys, 28 bytes a pixel;
# JPEG 2000 with transparency 24), some more, and what libraries and their threads map
BYTES_PER_PIXEL, BYTES_OF_LIBRARIES = 40, 1 << 30


def decode_block(block: pa.Table, config: InputConfig, size: int) -> pa.Table:
    """Add the pixels of each image: `pixels` (size * size * 3 bytes), or a reason why there are none.

    An image's failure never leaves this function: an exception here would cost its whole block. Raises
    `StoreUnavailable` when it is not the image's.
    """
    decoder = decoder_of(config)
    rows = []
    for content in read_ahead(block, config.max_bytes):
        row: dict[str, Any] = dict.fromkeys(DECODED.names)
        try:
            pixels, (row["width"], row["height"]) = decoder(content.result(), size, config.max_pixels)
            row["pixels"] = pixels.tobytes()
            row |= zip(IMAGE_STATS, image_stats(pixels), strict=True)
        except Quarantine as error:
            row |= {"reason": str(error.reason), "detail": error.detail}
        except ObjectChanged as error:
            row |= {"reason": str(Reason.CHANGED), "detail": f"{error}; the next run takes it as it is then"}
        except StoreUnavailable:  # true of all files: the run ends, and is taken up when the store is back
            raise
        except StorageError as error:
            row |= {"reason": str(Reason.UNREADABLE), "detail": str(error)}
        rows.append(row)
    count_traffic()
    decoded = pa.Table.from_pylist(rows, schema=DECODED)
    for name in DECODED.names:
        block = block.append_column(DECODED.field(name), decoded[name])
    return block


def mask_values(uri: str, size: int, config: InputConfig) -> tuple[NDArray[Any], tuple[int, int]]:
    """Read and decode a mask as `decode_mask` does, within the limits of images; raises `Quarantine`, `StorageError`.

    A mask is a file of the lake like any other, and may crash what decodes it.
    """
    entry = Location.parse(uri).entry()
    content = _read(uri, entry.etag, entry.size, config.max_bytes)
    return decoder_of(config, decode_mask)(content, size, config.max_pixels)


@functools.cache
def decoder_of(config: InputConfig, function: Decode = decode) -> Decoder:
    """Return this worker process's decoder."""
    memory = config.max_bytes + BYTES_PER_PIXEL * config.max_pixels + BYTES_OF_LIBRARIES
    return Decoder(config.max_seconds, memory, function)


def read_ahead(block: pa.Table, max_bytes: int) -> Iterator[Future[bytes]]:
    """Yield the content of each file, or why there is none, while the next ones are read: a store answers late.

    `block` has uri, etag and size of each.
    """
    with ThreadPoolExecutor(READERS) as pool:
        reads: deque[Future[bytes]] = deque()
        for row in block.select(["uri", "etag", "size"]).to_pylist():
            reads.append(pool.submit(_read, row["uri"], row["etag"], row["size"], max_bytes))
            if len(reads) == READERS:
                yield reads.popleft()
        while reads:
            yield reads.popleft()


def _read(uri: str, etag: str, size: int, max_bytes: int) -> bytes:
    if size > max_bytes:  # a film or an archive
        raise Quarantine(Reason.TOO_LARGE, f"{size} bytes, the limit is {max_bytes}")
    return Location.parse(uri).read_bytes(etag)
