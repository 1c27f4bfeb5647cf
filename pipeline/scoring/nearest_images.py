"""The references that look most like an image, by their embeddings: the only ones that it is compared with."""

import numpy as np
from numpy.typing import NDArray

ROWS = 1024  # similarities are made for so many images at a time, never N x R


def nearest_references(
    images: NDArray[np.float32],
    references: NDArray[np.float32],
    own: NDArray[np.integer],
    excluded_pairs: NDArray[np.integer],
    count: int,
) -> NDArray[np.int32]:
    """Return the places (N, K) among R references of the `count` nearest to each image, rising; -1 behind the last one.

    Args:
        images: embeddings (N, E), of length 1.
        references: embeddings (R, E).
        own: (N,) place of each image among the references, -1 where it is none of them: it is not its own.
        excluded_pairs: (P, 2) an image and a reference that are not compared.
        count: K, or all there are.
    """
    total = min(count, len(references))
    found = np.full((len(images), total), -1, np.int32)
    order = excluded_pairs[np.argsort(excluded_pairs[:, 0], kind="stable")]
    for start in range(0, len(images), ROWS):
        likeness = images[start : start + ROWS] @ references.T
        rows = np.arange(len(likeness))
        mine = own[start : start + ROWS]
        likeness[rows[mine >= 0], mine[mine >= 0]] = -np.inf
        low, high = np.searchsorted(order[:, 0], [start, start + len(likeness)])
        likeness[order[low:high, 0] - start, order[low:high, 1]] = -np.inf
        places = np.argsort(-likeness, axis=1, kind="stable")[:, :total]
        allowed = np.isfinite(np.take_along_axis(likeness, places, axis=1))
        part = np.sort(np.where(allowed, places, len(references)), axis=1)
        found[start : start + ROWS] = np.where(part < len(references), part, -1)
    return found
