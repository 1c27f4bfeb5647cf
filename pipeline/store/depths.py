"""How many bits count in the 16-bit files of each category, found once: every night reads its images alike.

<output>/calibration/depths.json    bits by category
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, TypeAdapter

from pipeline.io.json_file import read_json
from pipeline.io.storage import Location
from pipeline.store.run_folder import write_json

DEPTHS = "calibration/depths.json"
KEPT = TypeAdapter(dict[str, Annotated[int, Field(ge=8, le=16)]])


def kept_depths(output: Location) -> dict[str, int]:
    """Return the bits that were kept below an output, by category; raises `StorageError`."""
    return read_json(output / DEPTHS, KEPT, "images of each category are looked at again") or {}


def keep_depths(output: Location, depths: Mapping[str, int | None]) -> None:
    """Keep the bits of categories where they are known, beside those of others; raises `StorageError`."""
    before = kept_depths(output)
    after = before | {category: bits for category, bits in depths.items() if bits is not None}
    if after != before:
        write_json(output / DEPTHS, dict(sorted(after.items())))
