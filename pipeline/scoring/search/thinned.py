"""A search among some of a reference's patches, evenly spread: their number need not grow with the image."""

import torch
from torch import Tensor

from pipeline.scoring.musc.mutual import Search


class Thinned:
    """Searches among every `step`th row and column of a reference's grid (H, W); implements `musc.mutual.Search`."""

    def __init__(self, search: Search, grid: tuple[int, int], step: int) -> None:
        self._search = search
        # the middle ones, so that no edge is further away than the other
        rows, columns = (torch.arange(min((step - 1) // 2, side - 1), side, step) for side in grid)
        self._kept = (rows[:, None] * grid[1] + columns).flatten()

    def nearest(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return the distances (A, P, B) from each patch of queries (A, P, D) to each image of references (B, Q, D)."""
        return self._search.nearest(queries, references[:, self._kept.to(references.device)])

    def mutual(self, images: Tensor) -> Tensor:
        """Return the distances (N, P, N) between all pairs of images (N, P, D): the two of a pair differ."""
        return self.nearest(images, images)
