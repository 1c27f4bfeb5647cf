"""Anomaly maps of a run as pictures, for tools that read nothing else."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from pipeline.io.names import file_key, partition
from pipeline.io.storage import Location
from pipeline.report.stored_map import read_map
from pipeline.result import Result

WRITERS = 8  # maps read and written at a time


def export_maps(result: Result, folder: Location) -> int:
    """Write the map of each scored image as a 16-bit grey PNG, and maps.csv, which names them; return how many.

    Grey level times `map_scale` of run.json is the distance. Raises `StorageError` when a map cannot be read.
    """
    rows = result.scores.filter(pc.equal(result.scores["status"], "scored")).to_pylist()
    with ThreadPoolExecutor(WRITERS) as writers:
        names = list(writers.map(partial(_write, result, folder), rows))
    sink = io.StringIO()
    csv.writer(sink).writerows([("uri", "map"), *((row["uri"], name) for row, name in zip(rows, names, strict=True))])
    (folder / "maps.csv").write_bytes(sink.getvalue().encode())
    return len(rows)


def _write(result: Result, folder: Location, row: dict[str, Any]) -> str:
    levels = (read_map(result, row) / np.float32(result.run.map_scale)).round().astype(np.uint16)
    sink, name = io.BytesIO(), f"{partition('category', row['category'])}/{file_key(row['uri'])}.png"
    Image.fromarray(levels).save(sink, "png", compress_level=1)
    (folder / name).write_bytes(sink.getvalue())
    return name
