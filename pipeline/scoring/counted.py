"""Patches that do not count: outside of an image that is smaller than others, or of the region that is looked at.

Their tokens are NaN. Each takes the vector of the nearest patch that counts in its image, so that the distance to the
nearest patch of a reference is the same with these copies as without them; within a radius a copy may lie nearer than
what it is one of. Who asks where the nearest patch lies leaves the copies out.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

FAR = 1e3  # of every value; vectors are of length 1


def counted(tokens: Tensor) -> Tensor | None:
    """Return which patches of tokens (N, P, D) count, (N, P); None where all do."""
    missing = tokens[..., 0].isnan()
    return ~missing if bool(missing.any()) else None


def out_of_reach(vectors: Tensor, counts: Tensor | None) -> Tensor:
    """Return vectors (N, P, D), those of patches that do not count (N, P) so far away that none is nearest."""
    return vectors if counts is None else vectors.masked_fill(~counts[..., None], FAR)


def filled(vectors: Tensor, counts: Tensor | None, grid: tuple[int, int]) -> Tensor:
    """Return vectors (N, P, D) of a grid (H, W) in which patches that do not count have that of the nearest one.

    Raises `ValueError` for an image without any patch that counts.
    """
    if counts is None:
        return vectors
    found = vectors.clone()
    for number in torch.nonzero(~counts.all(dim=1)).flatten().tolist():
        sources = _nearest(counts[number].view(grid).cpu().numpy())
        found[number] = vectors[number, torch.from_numpy(sources).to(vectors.device)]
    return found


def _nearest(counts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the nearest patch that counts (H * W,), counted row by row, of each patch of a grid."""
    if not counts.any():
        raise ValueError("an image has no patch that counts")
    rows, columns = ndimage.distance_transform_edt(~counts, return_distances=False, return_indices=True)
    places: NDArray[np.int64] = (rows * counts.shape[1] + columns).ravel().astype(np.int64)
    return places
