"""How regions of a run at work differ from what its references have in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import on_grid
from pipeline.stages.score import Listed

if TYPE_CHECKING:
    from torch import Tensor

REFERENCES = 64  # of a category that its regions are compared with
LARGE, FEWEST = 300_000, 8  # patches of all of them: of large images fewer are, and so many at least
PATCHES = 4096  # whose vectors are held at a time, if no region has more; for them each reference is read twice


@dataclass(frozen=True)
class PatchGroup:
    """A region's patches (K,) of an image, and how much each counts (K,)."""

    image: int
    patches: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Differences:
    """Compares groups of patches with the references of their category, by the second half of the stored `layers`.

    `listed` gives what is listed of a category.
    """

    layers: Sequence[int]
    listed: Callable[[str], Listed]

    def __call__(self, category: str, groups: Sequence[PatchGroup]) -> NDArray[np.float32]:
        """Return a vector (G, D) of length 1 for each group; raises `StorageError`."""
        parts: list[list[PatchGroup]] = []
        held = 0
        for group in groups:
            if not parts or held + len(group.patches) > PATCHES:
                parts.append([])
                held = 0
            parts[-1].append(group)
            held += len(group.patches)
        return np.concatenate([self._part(category, part) for part in parts])

    def _part(self, category: str, groups: Sequence[PatchGroup]) -> NDArray[np.float32]:
        import torch

        from pipeline.scoring.differences import difference_vectors, joined

        listed = self.listed(category)
        references, features = listed.references, listed.features
        positions = listed.positions([group.image for group in groups])
        grids = listed.grids(positions)
        layers = self.layers[len(self.layers) // 2 :]
        most = min(REFERENCES, max(FEWEST, LARGE // (features.grid[0] * features.grid[1])))
        chosen = np.unique(np.linspace(0, references.num_rows - 1, most).round().astype(np.int64))
        allowed = references["position"].to_numpy()[chosen][None] != positions[:, None]
        pairs = features.excluded_pairs
        for position, reference in pairs[np.isin(pairs[:, 0], positions) & np.isin(pairs[:, 1], chosen)]:
            allowed[np.ix_(positions == position, chosen == reference)] = False

        def vectors(place: tuple[str, int]) -> Tensor:
            return joined([torch.from_numpy(features.tokens([place], layer)[0]) for layer in layers])

        def compared() -> Iterator[Tensor]:
            for place in chosen:
                of_reference = vectors(features.references[place])
                yield of_reference[~of_reference[:, 0].isnan()]  # those that count

        with torch.inference_mode():
            patches: list[Tensor] = []
            last = -1
            # an image's follow each other
            for position, grid, group in zip(positions.tolist(), grids, groups, strict=True):
                if position != last:
                    whole, last = vectors(features.images[position]), position
                patches.append(whole[torch.from_numpy(on_grid(group.patches, grid, features.grid))])
            return difference_vectors(
                torch.cat(patches),
                torch.from_numpy(np.concatenate([group.weights for group in groups])).float(),
                torch.from_numpy(np.repeat(np.arange(len(groups)), [len(group.patches) for group in groups])),
                compared,
                allowed,
            )
