"""Near duplicates: photographs of one thing from one place, which would hide each other's defect."""

import numpy as np
from numpy.typing import NDArray

ROWS = 4096  # similarities are made for so many images at a time, never N x R
MOST = 0.5  # of the others that an image is compared with: more of them are what the category looks like


def find_near_duplicates(
    images: NDArray[np.float32], references: NDArray[np.float32], positions: NDArray[np.integer], cosine: float
) -> NDArray[np.int64]:
    """Return the pairs (K, 2) of an image and a reference that are not to be compared, being nearly the same picture.

    An image that is so much like most of its references keeps them all: without them there would be nothing to
    compare it with.

    Args:
        images: embeddings (N, E), of length 1.
        references: embeddings (R, E).
        positions: (R,) of each reference among the images, -1 where it is none of them. An image and itself are none.
        cosine: of the embeddings, from which on two images are near duplicates.
    """
    found = []
    for start in range(0, len(images), ROWS):
        near = images[start : start + ROWS] @ references.T >= cosine - 1e-6  # rounding, in vectors that are equal
        others = positions[None, :] != np.arange(start, start + len(near))[:, None]
        near &= others
        near[near.sum(axis=1) > MOST * others.sum(axis=1)] = False
        pairs = np.argwhere(near)
        pairs[:, 0] += start
        found.append(pairs)
    return np.concatenate(found)
