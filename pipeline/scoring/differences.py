"""What a region is: how its patches differ from what references have in their place."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

DISTANCES = 1 << 25  # that are held at a time
LOWEST = 0.3  # share of the references that come nearest, of which a patch's difference is the mean


def joined(layers: Sequence[Tensor]) -> Tensor:
    """Return tokens (..., P, D) of some layers as one vector (..., P, L * D) of length 1 for each patch."""
    vectors: Tensor = torch.cat([F.normalize(tokens.float(), dim=-1) for tokens in layers], dim=-1)
    return vectors / float(np.sqrt(len(layers)))


def difference_vectors(
    patches: Tensor,
    weights: Tensor,
    owners: Tensor,
    references: Callable[[], Iterable[Tensor]],
    allowed: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return a vector (G, D) of length 1 for each group of patches: the weighted mean of their differences.

    A patch's difference is that from the mean of the nearest patches of the LOWEST share of its references. Not of the
    nearest one alone: that may be the same defect in another image, and nothing would be left. The references are gone
    through twice, one at a time.

    Args:
        patches: vectors (K, D), each of length 1.
        weights: (K,), positive.
        owners: the group (K,) of each patch, from 0 to G - 1.
        references: yields the vectors (P, D) of each of R references, each time it is called.
        allowed: whether a group may be compared with a reference (G, R); one that has none differs from nothing.
    """
    groups, count = allowed.shape
    distances = torch.full((len(patches), count), torch.inf)
    places = torch.zeros((len(patches), count), dtype=torch.int64)
    for number, vectors in enumerate(references()):
        step = max(1, DISTANCES // len(vectors))
        for start in range(0, len(patches), step):
            rows = slice(start, start + step)
            distances[rows, number], places[rows, number] = torch.cdist(patches[rows], vectors).min(dim=1)
    distances[torch.from_numpy(~allowed)[owners]] = torch.inf
    kept = np.ceil(LOWEST * allowed.sum(axis=1)).astype(np.int64)  # of each group
    ranks = distances.argsort(dim=1, stable=True).argsort(dim=1)
    share = (ranks < torch.from_numpy(kept)[owners][:, None]) / torch.from_numpy(np.maximum(kept, 1))[owners][:, None]
    found = torch.zeros((groups, patches.shape[1])).index_add_(0, owners, weights[:, None] * patches)
    for number, vectors in enumerate(references()):
        taken = torch.nonzero(share[:, number])[:, 0]
        nearest = vectors[places[taken, number]] * (weights[taken] * share[taken, number])[:, None]
        found.index_add_(0, owners[taken], nearest, alpha=-1)
    vectors = F.normalize(found, dim=1)
    result: NDArray[np.float32] = vectors.numpy()
    return result
