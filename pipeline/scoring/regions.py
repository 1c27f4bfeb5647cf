"""From an anomaly map to its regions: connected, where it is above the pixel threshold, as many as stay for long."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.views import View

Map = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

EIGHT = np.ones((3, 3), bool)  # touching corners belong together
STEPS = 32  # levels between a component's highest value and its lowest, at which its parts are counted
USUAL = 0.75  # quantile of a map that is still as usual: the half of it may be background, and its object all above
TINY = 1e-6  # weight of a patch where the map is 0
SPECK = 0.25  # share of a patch: what is smaller is noise of the enlarging


@dataclass(frozen=True)
class Region:
    """A region of a map: `corner` (row, column) of its box, `mask` [height, width] within it, and its highest value.

    `place` (row, column) is where that lies in the map, in pixels.
    """

    corner: tuple[int, int]
    mask: Mask
    peak: float
    place: tuple[int, int]

    @property
    def area(self) -> int:
        """Pixels of the map."""
        return int(self.mask.sum())

    def holds(self, place: tuple[int, int]) -> bool:
        """Say whether a pixel (row, column) of the map is the region's."""
        row, column = place[0] - self.corner[0], place[1] - self.corner[1]
        height, width = self.mask.shape
        return 0 <= row < height and 0 <= column < width and bool(self.mask[row, column])

    def pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows and columns (area,) of its pixels in the map."""
        rows, columns = np.nonzero(self.mask)
        return rows + self.corner[0], columns + self.corner[1]


def find_regions(distances: Map, threshold: float, patch_pixels: float, counted: Mask | None = None) -> list[Region]:
    """Return the regions of a map, the highest peak first.

    A region has values above the threshold, and reaches down to it, or to the middle between the map's upper quartile
    and its highest value where that is lower: a threshold that only tips of defects reach would show tips only. A
    component is one region, or the parts that it falls into at its stable level: of the levels from its highest value
    down the lowest one of the longest run at which the number of parts stays the same (after MEBin of AnomalyNCD, CVPR
    2025, which takes one level for a whole image, and so loses a weak defect beside a strong one). Parts smaller than
    SPECK of a patch do not count.

    There is one region at least, that of the highest value, also where nothing is above the threshold.

    Args:
        distances: the map [height, width].
        threshold: what is below it is no region, but for the highest value.
        patch_pixels: pixels of the map that a patch covers.
        counted: [height, width] pixels of patches that count; None: all.
    """
    highest = float(distances.max())
    usual = float(np.quantile(distances if counted is None else distances[counted], USUAL))
    level = min(threshold, (usual + highest) / 2)
    speck = max(1.0, SPECK * patch_pixels)
    wholes = [whole for whole in _components(distances, level, speck) if whole.highest > threshold]
    found = [part for whole in wholes for part in _stable(whole, level, speck) if part.peak > threshold]
    if not found or max(region.peak for region in found) < highest:
        worst = _worst(distances, level)
        found = [worst, *(region for region in found if not worst.holds(region.place))]
    found.sort(key=lambda region: (-region.peak, region.place))
    return found


def patches_of(region: Region, distances: Map, view: View) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the patches (K,) of a region of a view's map, and how much each counts (K,): what the map has of it."""
    rows, columns = region.pixels()
    patches, numbers = np.unique(view.patches_at(rows * view.size[1] + columns), return_inverse=True)
    weights = np.zeros(len(patches))
    np.add.at(weights, numbers, distances[rows, columns] + TINY)
    return patches, weights


@dataclass(frozen=True)
class _Component:
    """Values [height, width] of a box at `corner`, -inf outside of the component."""

    corner: tuple[int, int]
    values: Map

    @property
    def highest(self) -> float:
        return float(self.values.max())

    def region(self) -> Region:
        place = np.unravel_index(int(self.values.argmax()), self.values.shape)
        row, column = int(place[0]) + self.corner[0], int(place[1]) + self.corner[1]
        return Region(self.corner, np.isfinite(self.values), self.highest, (row, column))


def _components(values: Map, level: float, speck: float, corner: tuple[int, int] = (0, 0)) -> Iterator[_Component]:
    """Yield the 8-connected components above a level that have `speck` pixels at least."""
    labelled, _ = ndimage.label(values > level, structure=EIGHT)
    sizes = np.bincount(labelled.ravel())
    for number, box in enumerate(ndimage.find_objects(labelled), 1):
        if sizes[number] >= speck:
            inside = np.where(labelled[box] == number, values[box], -np.inf)
            yield _Component((corner[0] + box[0].start, corner[1] + box[1].start), inside)


def _stable(whole: _Component, lowest: float, speck: float) -> list[Region]:
    """Return the parts of a component at its stable level: itself where it never falls apart for long."""
    if np.isfinite(whole.values).sum() < 2 * speck:
        return [whole.region()]  # too small for two
    levels = np.linspace(lowest, whole.highest, STEPS, endpoint=False)  # rising
    counts = np.array([_count(whole.values > level, speck) for level in levels])
    starts = np.flatnonzero(np.append(True, counts[1:] != counts[:-1]))
    lengths = np.diff(np.append(starts, len(counts)))
    lengths[counts[starts] == 0] = 0  # near its highest value all parts are specks
    start = starts[int(lengths.argmax())]  # the first, which is the lowest, of equally long runs
    if start == 0:
        return [whole.region()]
    return [part.region() for part in _components(whole.values, levels[start], speck, whole.corner)]


def _count(mask: Mask, speck: float) -> int:
    labelled, _ = ndimage.label(mask, structure=EIGHT)
    return int((np.bincount(labelled.ravel())[1:] >= speck).sum())


def _worst(distances: Map, level: float) -> Region:
    """Return the region of the highest value, however small or low it is."""
    labelled, _ = ndimage.label(distances >= level, structure=EIGHT)
    place = distances.argmax()
    number = labelled.flat[place]
    box = ndimage.find_objects(labelled)[number - 1]
    whole = _Component((box[0].start, box[1].start), np.where(labelled[box] == number, distances[box], -np.inf))
    return whole.region()
