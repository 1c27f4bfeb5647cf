"""What the last pass of scoring found, of all layers."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.boxes import own_size
from pipeline.errors import DamagedFile
from pipeline.geometry import LakeGeometry
from pipeline.io.storage import Location
from pipeline.plan.units import Unit
from pipeline.schema.table import records
from pipeline.scoring.scorer import LARGEST, Array, Scorer
from pipeline.store.checks import bits, counted_in
from pipeline.store.maps import StoredMap
from pipeline.store.run_folder import RunFolder, read_array, read_table
from pipeline.views import View

ROUNDED = 1e-3  # what rounding may add to a distance


@dataclass(frozen=True)
class Alike:
    """Images of one view: their `places` (n,) in a table, and their patch scores and standard errors `found` (2, n, P).

    `counts` (P,) says which patches count, None: all. Those that do not are 0.
    """

    places: NDArray[np.int64]
    view: View
    counts: NDArray[np.bool_] | None
    found: Array

    @property
    def of_counted(self) -> Array:
        """Patch scores and standard errors (2, n, P) of the patches that count."""
        return self.found if self.counts is None else self.found[:, :, self.counts]

    def stored(self, number: int, uri: str) -> StoredMap:
        """Return what the map of one of the images is drawn from."""
        scores, counted = self.found[0, number], None
        if self.counts is not None:
            from pipeline.scoring.maps import spread  # imports torch

            scores, counted = spread(scores[None], self.view.grid, self.counts)[0], bits(self.counts)
        return StoredMap(uri, *self.view.grid, *self.view.size, counted, scores)

    def parts(self, pixels: float) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield places (b,) and maps (b, height, width) of so many pixels, or of one image, at a time."""
        from pipeline.scoring.maps import map_arrays  # imports torch

        step = max(1, int(pixels // self.view.pixels))
        for at in range(0, len(self.places), step):
            yield self.places[at : at + step], map_arrays(self.found[0, at : at + step], self.view, self.counts)


@dataclass
class PatchScoreReader:
    """Reads the patch scores of a run at work, whose images are seen by `geometry`.

    It keeps the list of units of the last category.
    """

    scorer: Scorer
    geometry: LakeGeometry
    run: RunFolder
    _units: Callable[[str], list[list[Unit]]] = field(init=False)

    def __post_init__(self) -> None:
        self._units = lru_cache(maxsize=1)(self._read_units)

    def views(self, category: str, index: pa.Table) -> list[tuple[View, str | None]]:
        """Return the view of each row of a category's index, and what of it counts, packed."""
        geometry = self.geometry.of(category)
        return [
            (geometry.on(own_size(row["uri"], (row["width"], row["height"]))), row["counted"])
            for row in index.select(["uri", "width", "height", "counted"]).to_pylist()
        ]

    def alike(self, category: str, index: pa.Table) -> Iterator[Alike]:
        """Yield the images of some rows of a category's index, positions rising, those of one view together."""
        positions = index["position"].to_numpy()
        start = int(positions[0])
        found = self(category, start, int(positions[-1]) + 1)[:, positions - start]
        canvas = self._units(category)[0][0].grid
        together: dict[tuple[View, str | None], list[int]] = {}
        for place, seen in enumerate(self.views(category, index)):
            together.setdefault(seen, []).append(place)
        for (view, counted), places in together.items():
            own = found[:, places].reshape(2, len(places), *canvas)[:, :, : view.grid[0], : view.grid[1]]
            counts = None if counted is None else counted_in(counted, view.patches)
            yield Alike(np.array(places), view, counts, np.ascontiguousarray(own.reshape(2, len(places), -1)))

    def __call__(self, category: str, start: int, stop: int) -> Array:
        """Return patch scores and standard errors (2, B, P) of images [start, stop) of a category, on its grid."""
        parts = []
        for units in self._units(category):
            part = np.empty((2, stop - start, units[0].patches), np.float32)
            first = bisect_right(units, start, key=lambda unit: unit.stop)
            last = bisect_left(units, stop, key=lambda unit: unit.start)
            for unit in units[first:last]:
                low, high = max(start, unit.start), min(stop, unit.stop)
                found = self._read(self.run.unit_results(self.scorer.passes - 1) / f"{unit.id}.npy")
                part[:, low - start : high - start] = found[:, low - unit.start : high - unit.start]
            parts.append(part)
        return self.scorer.combine(parts)

    def _read_units(self, category: str) -> list[list[Unit]]:
        """Return the units of a category's layers, in the order of layers and of positions."""
        units = records(read_table(self.run.units(category, self.scorer.passes - 1)), Unit)
        ordered = sorted(units, key=lambda unit: (unit.layers, unit.start))
        return [list(of) for _, of in groupby(ordered, key=lambda unit: unit.layers)]

    def _read(self, location: Location) -> Array:
        """Return a unit's result; drops one that no scorer finds, and raises `DamagedFile`."""
        found = read_array(location)
        scores = found[0]
        if not ((scores >= -ROUNDED) & (scores <= LARGEST + ROUNDED)).all():
            location.remove()
            raise DamagedFile(f"{location} holds patch scores outside 0 to {LARGEST:g}, such as {scores.max():.3g}")
        return found
