"""Anomaly maps as a run wrote them, read back as distances."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import ConfigError, StorageError
from pipeline.result import Result


def read_map(result: Result, row: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the anomaly map [height, width] of a row of scores, in distances from 0 to 2.

    A map covers its whole image, stretched to a square of the side that the encoder saw. Raises `ConfigError` for an
    image that has no map, and `StorageError` when the map cannot be read.
    """
    if row["map_uri"] is None:
        raise ConfigError(f"{row['uri']} has no map: it is {row['status']}, {row['reason']}: {row['detail']}")
    location = result.folder.output / row["map_uri"]
    content = location.read_bytes()
    try:
        levels = np.asarray(Image.open(io.BytesIO(content), formats=("PNG",)))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's ways to say damaged
        raise StorageError(f"the map {location} is damaged: {error}") from error
    return levels.astype(np.float32) * np.float32(result.run["map_scale"])
