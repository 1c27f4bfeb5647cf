"""Ground truth masks: from files to binary arrays the size of the anomaly maps."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.boxes import size_of
from pipeline.catalog.layouts import LOCO_DEFECTS
from pipeline.errors import CatalogError, StorageError
from pipeline.images import Quarantine, decode_mask
from pipeline.io.storage import Location
from pipeline.metrics.overlap import Region
from pipeline.views import View

Array = NDArray[Any]
Read = Callable[[str, View], tuple[Array, tuple[int, int]]]
LIMIT = 10**9  # pixels of a mask that is decoded in this process, as those that people made themselves are


def decode_here(uri: str, view: View) -> tuple[Array, tuple[int, int]]:
    """Return the kinds of defects in a view of a mask, 0 for normal, and the mask's (width, height).

    Raises `Quarantine` and `StorageError`.
    """
    return decode_mask(Location.parse(uri).read_bytes(), view, LIMIT)


def read_mask(uri: str, view: View, image_size: tuple[int, int], read: Read = decode_here) -> Array:
    """Read a view of a mask (height, width) of bool, resized by nearest neighbour, true where it is anomalous.

    Raises `CatalogError` that names the mask when it cannot be read or has not the size (width, height) of its image's
    file, nor, where the view is of a box, that of the box.
    """
    return _values(uri, view, image_size, read) > 0


def read_masks(uris: Sequence[str], view: View, image_size: tuple[int, int], read: Read = decode_here) -> Array:
    """Read a view of the union (height, width) of an image's masks; none at all is a normal image."""
    union = np.zeros(view.size, bool)
    for uri in uris:
        union |= read_mask(uri, view, image_size, read)
    return union


def loco_regions(
    image: int, uris: Sequence[str], view: View, image_size: tuple[int, int], read: Read = decode_here
) -> list[Region]:
    """Return the defects of one image of MVTec LOCO with their saturation areas in pixels of the map.

    Each mask file is one defect; its value says which kind, and `defects_config.json` beside the category how much of
    it must be found. Raises `CatalogError`.
    """
    regions = []
    for uri in uris:
        values = _values(uri, view, image_size, read).ravel()
        pixels = np.flatnonzero(values)
        if not len(pixels):
            continue
        kind = int(values[pixels[0]])
        # <category>/ground_truth/<defect>/<stem>/<mask>
        defects = _defects(Location.parse(uri.rsplit("/ground_truth/", 1)[0]) / LOCO_DEFECTS)
        if kind not in defects:
            raise CatalogError(f"the mask {uri} has the value {kind}, which {LOCO_DEFECTS} does not define")
        threshold, relative = defects[kind]
        must = threshold * len(pixels) if relative else view.pixels_of_area(threshold, image_size)
        saturation = must if relative else min(must, len(pixels))
        regions.append(Region(image, pixels, float(max(saturation, 1.0))))
    return regions


def _values(uri: str, view: View, image_size: tuple[int, int], read: Read) -> Array:
    try:
        values, (width, height) = read(uri, view)
    except StorageError as error:
        raise CatalogError(f"the mask cannot be read: {error}") from error
    except Quarantine as error:
        raise CatalogError(f"the mask {uri} cannot be decoded: {error}") from error
    if (width, height) not in (image_size, *([] if view.within is None else [size_of(view.within)])):
        raise CatalogError(f"the mask {uri} is {width} x {height} pixels, its image {image_size[0]} x {image_size[1]}")
    return values


def _defects(location: Location) -> dict[int, tuple[float, bool]]:
    try:
        entries = json.loads(location.read_bytes())
        return {
            int(entry["pixel_value"]): (float(entry["saturation_threshold"]), bool(entry["relative_saturation"]))
            for entry in entries
        }
    except (StorageError, ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"{location} is needed for sPRO and cannot be used: {error}") from error
