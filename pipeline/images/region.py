"""Which patches of an image count, by a mask of where to look."""

import numpy as np
from numpy.typing import NDArray

from pipeline.config import InputConfig
from pipeline.errors import StorageError, StoreUnavailable
from pipeline.images.files import mask_values
from pipeline.images.reasons import Quarantine, Reason
from pipeline.views import View

FINE = 4  # looked at of a mask for each side of a patch
ENOUGH = 0.5  # share of a patch that a mask covers, from which it counts
MOST = 64  # masks that are kept: all images of a category have the same
ASPECT = 0.02  # by which a mask's may differ from its image's: a mask may be smaller than the image

_kept: dict[tuple[str, str, tuple[int, int], int], tuple[NDArray[np.bool_], tuple[int, int]]] = {}


def patches_in(uri: str, etag: str, view: View, image_size: tuple[int, int], config: InputConfig) -> NDArray[np.bool_]:
    """Return which patches (P,) of a view of an image of (width, height) a mask of that aspect covers by half.

    Raises `Quarantine` where the mask cannot be used, with the image's reason, and `StoreUnavailable`.
    """
    try:
        counts, (width, height) = _counts(uri, etag, view.grid, view.turned, config)
    except StoreUnavailable:
        raise
    except (Quarantine, StorageError) as error:
        raise Quarantine(Reason.UNREADABLE, f"its region {uri} cannot be used: {error}") from error
    if abs(np.log(width / height * image_size[1] / image_size[0])) > ASPECT:
        said = f"{width} x {height} pixels, the image {image_size[0]} x {image_size[1]}: their aspects differ"
        raise Quarantine(Reason.UNREADABLE, f"its region {uri} has {said}")
    if not counts.any():
        raise Quarantine(Reason.TOO_SMALL, f"its region {uri} covers half of no patch")
    return counts


def _counts(
    uri: str, etag: str, grid: tuple[int, int], turned: int, config: InputConfig
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """Return which patches of a grid a mask covers by half, and the mask's (width, height); kept for the next image."""
    key = uri, etag, grid, turned
    if key not in _kept:
        if len(_kept) >= MOST:
            _kept.clear()
        values, size = mask_values(uri, View((FINE * grid[0], FINE * grid[1]), turned=turned), config, etag)
        covered = (values > 0).reshape(grid[0], FINE, grid[1], FINE).mean(axis=(1, 3))
        _kept[key] = (covered >= ENOUGH).ravel(), size
    return _kept[key]
