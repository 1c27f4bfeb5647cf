"""Explaining patches of a run at work: which patches of references come nearest to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.geometry import on_grid
from pipeline.scoring.scorer import Matches, Scorer
from pipeline.stages.score import Listed

LOOKED_AT = 1000  # references of a category among which evidence is looked for, however many there are
PATCHES = 1_500_000  # of all of them: of large images fewer are looked at,
FEWEST = 16  # and so many at least
BYTES = 64e6  # of one layer of the images that are held at a time, in fp32; with what is made of them four times that

Named = list[dict[str, Any]]  # a value of MATCHES


@dataclass(frozen=True)
class Explainer:
    """Explains patches of images by the references of their category that are not called anomalous.

    `layers` are those that are stored, each of `width` values; `listed` gives what is listed of a category; `anomalous`
    are numbers of images that are, rising.
    """

    scorer: Scorer
    layers: Sequence[int]
    width: int
    listed: Callable[[str], Listed]
    anomalous: NDArray[np.int64]

    def __call__(
        self, category: str, images: Sequence[int], patches: NDArray[np.int64], count: int
    ) -> list[list[Named]]:
        """Return the `count` nearest references to patches (A, K) of A images' views, nearest first.

        Neither the image itself is among them nor its near duplicates, and anomalous ones only where there is no other.
        Raises `StorageError`.
        """
        listed = self.listed(category)
        references, features = listed.references, listed.features
        positions = listed.positions(images)
        grids = listed.grids(positions)
        moved = [on_grid(of, grid, features.grid) for of, grid in zip(patches, grids, strict=True)]
        candidates = self._normal(listed.index, references)
        most = min(LOOKED_AT, max(FEWEST, PATCHES // (features.grid[0] * features.grid[1])))
        chosen = candidates[np.unique(np.linspace(0, len(candidates) - 1, most).round().astype(np.int64))]
        matches = self.scorer.explain(
            np.stack(moved),
            [features.images[position] for position in positions],
            [features.references[place] for place in chosen],
            features,
            self.layers,
            max(1, int(BYTES // (4 * features.grid[0] * features.grid[1] * self.width))),
        )
        of_reference = references["position"].to_numpy()
        looked_at = references.take(chosen).select(["uri", "etag", "rows", "columns"]).to_pylist()
        each = patches.shape[1]
        pairs = features.excluded_pairs[np.isin(features.excluded_pairs[:, 0], positions)]
        explained = []
        for image, position in enumerate(positions):
            excluded = of_reference == position
            excluded[pairs[pairs[:, 0] == position, 1]] = True
            own = range(each * image, each * (image + 1))
            matches.distances[own.start : own.stop, excluded[chosen]] = np.inf
            explained.append([_named(matches, patch, looked_at, features.grid, count) for patch in own])
        return explained

    def _normal(self, index: pa.Table, references: pa.Table) -> NDArray[np.int64]:
        """Return the places of references that are not called anomalous; of all where there are not two."""
        positions = references["position"].to_numpy()
        anomalous = references["anomalous"].fill_null(False).to_numpy().copy()
        own = positions >= 0
        anomalous[own] = np.isin(index["image"].to_numpy()[positions[own]], self.anomalous)
        normal = np.flatnonzero(~anomalous)
        return normal if len(normal) > 1 else np.arange(len(positions))


def _named(matches: Matches, patch: int, references: Named, grid: tuple[int, int], count: int) -> Named:
    """Return what MATCHES says of the nearest references to a patch, whose own are numbered on a grid."""
    named = []
    for reference, place, distance in matches.nearest(patch, count):
        of = references[reference]
        row, column = divmod(place, grid[1])
        middle = {"x": (column + 0.5) / of["columns"], "y": (row + 0.5) / of["rows"]}
        named.append({"uri": of["uri"], "etag": of["etag"], **middle, "distance": distance})
    return named
