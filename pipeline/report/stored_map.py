"""Anomaly maps as a run wrote them, read back as distances."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import ConfigError, StorageError
from pipeline.io.storage import Location
from pipeline.metrics.stream import LEVELS, MAP_SCALE
from pipeline.result import Result
from pipeline.store import maps
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
    """Return the distances (height, width) of the map at a location, in steps of `map_scale`.

    Raises `StorageError` when it cannot be read or is damaged.
    """
    stored = maps.read_map(location)
    return _picture(location) * np.float32(map_scale) if stored is None else draw_map(stored)


def draw_map(stored: maps.StoredMap) -> NDArray[np.float32]:
    """Draw a map (map_height, map_width) of patch scores, bilinear with aligned corners, 0 where nothing counts.

    Values are of the steps that maps have as pictures, so that a map is the same in either form.
    """
    view = View((stored.map_height, stored.map_width), (stored.rows, stored.columns))
    (above, below, down), (left, right, across) = map(_between, view.size, view.grid)
    one = np.float32(1)
    lines: NDArray[np.float32] = (
        stored.scores[:, left] * (one - across) + stored.scores[:, right] * across
    )  # (rows, map_width)
    found: NDArray[np.float32] = lines[above] * (one - down)[:, None] + lines[below] * down[:, None]
    found /= np.float32(MAP_SCALE)
    np.clip(found.round(out=found), 0, LEVELS - 1, out=found)
    found *= np.float32(MAP_SCALE)
    if stored.counts is not None:
        found[~view.pixels_on(stored.counts)] = 0
    return found


def _between(into: int, length: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return for each of `into` pixels the patches before and behind it, of `length`, and how far it is to the one."""
    at = np.arange(into, dtype=np.float32) * np.float32((length - 1) / max(1, into - 1))
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, length - 1), at - before.astype(np.float32)


def _picture(location: Location) -> NDArray[np.float32]:
    """Return the grey levels (height, width) of a map that a run before version 6 wrote as a picture."""
    try:
        with Image.open(io.BytesIO(location.read_bytes()), formats=("PNG",)) as image:
            levels = np.asarray(image, dtype=np.float32)
        if levels.ndim != 2:
            raise ValueError(f"it has {levels.shape[2]} channels")
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's ways to say damaged
        raise StorageError(f"the map {location} is damaged: {error}") from error
    return levels
