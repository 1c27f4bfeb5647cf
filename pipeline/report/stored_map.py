"""Anomaly maps as a run wrote them, read back as distances."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import ConfigError, StorageError
from pipeline.io.storage import Location
from pipeline.result import Result
from pipeline.views import View


def read_map(result: Result, row: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the anomaly map [height, width] of a row of scores, in distances from 0 to 2.

    A map covers its whole image, squeezed to the size that the encoder saw. Raises `ConfigError` for an image that has
    no map, and `StorageError` when the map cannot be read.
    """
    if row["map_uri"] is None:
        raise ConfigError(f"{row['uri']} has no map: it is {row['status']}, {row['reason']}: {row['detail']}")
    return map_at(result.folder.output / row["map_uri"], result.run.map_scale)


def view_of(distances: NDArray[np.float32]) -> View:
    """Return what a map [height, width] shows of its image: all of it."""
    return View((distances.shape[0], distances.shape[1]))


def counted_pixels(distances: NDArray[np.floating[Any]], region_uri: str | None) -> NDArray[np.bool_] | None:
    """Return which pixels of a stored map (height, width) count, of an image with a mask of where to look; None: all.

    A map is 0 where nothing counts.
    """
    counted = distances > 0
    return counted if region_uri is not None and counted.any() else None


def map_at(location: Location, map_scale: float) -> NDArray[np.float32]:
    """Return the distances (height, width) of the map at a location, whose grey levels mean `map_scale` each.

    Raises `StorageError` when it cannot be read or is damaged.
    """
    try:
        with Image.open(io.BytesIO(location.read_bytes()), formats=("PNG",)) as image:
            levels = np.asarray(image, dtype=np.float32)
        if levels.ndim != 2:
            raise ValueError(f"it has {levels.shape[2]} channels")
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's ways to say damaged
        raise StorageError(f"the map {location} is damaged: {error}") from error
    return levels * np.float32(map_scale)
