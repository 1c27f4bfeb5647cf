"""What extracting leaves for the scoring workers: rows of the feature store, and the lists of a category."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.store.features import IMAGE_STATS
from pipeline.store.run_folder import RunFolder, write_table


def feature_rows(names: Sequence[str]) -> dict[str, list[Any]]:
    """Return what the store keeps of images beside their features."""
    numbers: dict[str, list[Any]] = {name: [1] * len(names) for name in ("width", "height", *IMAGE_STATS)}
    return {"key": list(names), "uri": list(names), **numbers}


def write_lists(run: RunFolder, category: str, places: Sequence[tuple[str, int]], references: Sequence[int]) -> None:
    """List a category's images, by where their features lie, and which of them are references."""
    files = {"file": [file for file, _ in places], "row": pa.array([row for _, row in places], pa.int32())}
    images = pa.table(files)
    write_table(run.index(category), images)
    chosen = pa.array(references, pa.int64())
    write_table(run.references(category), images.take(chosen).append_column("position", chosen))
    nothing = np.empty(0, np.int64)
    write_table(run.near_duplicates(category), pa.table({"image": nothing, "reference": nothing}))
