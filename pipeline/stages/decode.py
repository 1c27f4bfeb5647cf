"""Decode: files to pixels, on CPU tasks. Nothing heavy is imported here: every worker process would pay for it."""

import functools
from typing import Any

import pyarrow as pa

from pipeline.config import InputConfig
from pipeline.decoder import Decoder
from pipeline.errors import StorageError
from pipeline.images import Quarantine, Reason
from pipeline.lake.storage import Location

# What a decoder may hold beside the file: the most that a format was seen to take (32-bit greys, 28 bytes a pixel;
# JPEG 2000 with transparency 24), some more, and what libraries and their threads map
BYTES_PER_PIXEL, BYTES_OF_LIBRARIES = 40, 1 << 30


def decode_block(block: pa.Table, config: InputConfig, size: int) -> pa.Table:
    """Add the pixels of each image: `pixels` (size * size * 3 bytes), or a reason why there are none.

    An image's failure never leaves this function: an exception here would cost its whole block.
    """
    decode = _decoder(config)
    rows = []
    for uri, bytes_listed in zip(block["uri"].to_pylist(), block["size"].to_pylist(), strict=True):
        row: dict[str, Any] = {"pixels": None, "width": None, "height": None, "reason": None, "detail": None}
        try:
            pixels, (row["width"], row["height"]) = decode(
                _read(uri, bytes_listed, config.max_bytes), size, config.max_pixels
            )
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


def _read(uri: str, size: int, max_bytes: int) -> bytes:
    if size > max_bytes:  # a film or an archive
        raise Quarantine(Reason.TOO_LARGE, f"{size} bytes, the limit is {max_bytes}")
    return Location.parse(uri).read_bytes()
