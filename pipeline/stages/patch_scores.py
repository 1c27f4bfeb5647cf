"""What the last pass of scoring found, of all layers."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import DamagedFile
from pipeline.io.storage import Location
from pipeline.plan.units import Unit
from pipeline.schema.table import records
from pipeline.scoring.scorer import LARGEST, Array, Scorer
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_array, read_table

ROUNDED = 1e-3  # what rounding may add to a distance


@dataclass(frozen=True)
class PatchScoreReader:
    """Reads the patch scores of a run at work."""

    scorer: Scorer
    store: FeatureStore
    run: RunFolder

    def __call__(self, category: str, start: int, stop: int) -> Array:
        """Return patch scores and standard errors (2, B, P) of images [start, stop) of a category."""
        patches = self.store.grid[0] * self.store.grid[1]
        last = self.scorer.passes - 1
        units = records(read_table(self.run.units(category, last)), Unit)
        parts = {
            layers: np.empty((2, stop - start, patches), np.float32)
            for layers in sorted({unit.layers for unit in units})
        }
        for unit in units:
            low, high = max(start, unit.start), min(stop, unit.stop)
            if low < high:
                found = self._read(self.run.unit_results(last) / f"{unit.id}.npy")
                parts[unit.layers][:, low - start : high - start] = found[:, low - unit.start : high - unit.start]
        return self.scorer.combine(list(parts.values()))

    def _read(self, location: Location) -> Array:
        """Return a unit's result; drops one that no scorer finds, and raises `DamagedFile`."""
        found = read_array(location)
        scores = found[0]
        if not ((scores >= -ROUNDED) & (scores <= LARGEST + ROUNDED)).all():
            location.remove()
            raise DamagedFile(f"{location} holds patch scores outside 0 to {LARGEST:g}, such as {scores.max():.3g}")
        return found
