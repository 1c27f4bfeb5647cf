"""Decode: files to pixels, on CPU tasks. Nothing heavy is imported here: every worker process would pay for it."""

from typing import Any

import pyarrow as pa

from pipeline.errors import StorageError
from pipeline.images import Quarantine, Reason, decode
from pipeline.lake.storage import Location

MOST_BYTES = 1 << 30  # of a file: whatever is larger is a film or an archive, and would fill the worker's memory


def decode_block(block: pa.Table, size: int, max_pixels: int) -> pa.Table:
    """Add the pixels of each image: `pixels` (size * size * 3 bytes), or a reason why there are none.

    An image's failure never leaves this function: an exception here would cost its whole block.
    """
    rows = []
    for uri, bytes_listed in zip(block["uri"].to_pylist(), block["size"].to_pylist(), strict=True):
        row: dict[str, Any] = {"pixels": None, "width": None, "height": None, "reason": None, "detail": None}
        try:
            if bytes_listed > MOST_BYTES:
                raise Quarantine(Reason.TOO_LARGE, f"{bytes_listed} bytes, the limit is {MOST_BYTES}")
            pixels, (row["width"], row["height"]) = decode(Location.parse(uri).read_bytes(), size, max_pixels)
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
