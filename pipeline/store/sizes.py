"""How large the images of each category usually are, found once: every night sees its images alike.

<output>/calibration/sizes.json    width and height by category
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, TypeAdapter

from pipeline.io.json_file import read_json
from pipeline.io.storage import Location
from pipeline.store.run_folder import write_json

SIZES = "calibration/sizes.json"
_Side = Annotated[int, Field(ge=1)]
KEPT = TypeAdapter(dict[str, tuple[_Side, _Side]])


def kept_sizes(output: Location) -> dict[str, tuple[int, int]]:
    """Return the (width, height) that were kept below an output, by category; raises `StorageError`."""
    return read_json(output / SIZES, KEPT, "images of each category are looked at again") or {}


def keep_sizes(output: Location, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Keep the sizes of categories, beside those of others; raises `StorageError`."""
    before = kept_sizes(output)
    after = before | dict(sizes)
    if after != before:
        write_json(output / SIZES, {category: list(size) for category, size in sorted(after.items())})
