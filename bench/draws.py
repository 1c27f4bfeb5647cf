"""Lakes with a share of defects, drawn from a labelled set: all of its normal images, and some of its defects."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.intp]

WHOLE = 1.0  # stands for a set as it is


def draws(labels: NDArray[np.bool_], share: float, count: int) -> Iterator[Images]:
    """Yield the images of so many seeded draws, rising; one draw where there is but one way.

    Args:
        labels: (N,), true for defects.
        share: of defects among the images; there may be fewer where the set has no more. WHOLE takes the set as it is.
        count: draws.
    """
    normal, defects = np.flatnonzero(~labels), np.flatnonzero(labels)
    wanted = len(defects) if share == WHOLE else round(share * len(normal) / (1 - share))
    if share and not wanted:
        wanted = 1
    if not wanted or wanted >= len(defects):
        yield np.sort(np.concatenate([normal, defects[:wanted]]))
        return
    for seed in range(count):
        chosen = np.random.default_rng([seed, int(1000 * share)]).choice(defects, wanted, replace=False)
        yield np.sort(np.concatenate([normal, chosen]))


def windows(labels: NDArray[np.bool_], share: float, count: int) -> Iterator[tuple[Images, Images]]:
    """Yield four fifths of the normal images, as those of earlier nights, and the rest with a share of defects."""
    normal, defects = np.flatnonzero(~labels), np.flatnonzero(labels)
    for seed in range(count):
        generator = np.random.default_rng([seed, int(1000 * share)])
        shuffled = generator.permutation(normal)
        cut = len(normal) * 4 // 5
        wanted = round(share * (len(normal) - cut) / (1 - share))
        wanted = min(len(defects), max(wanted, 1)) if share else 0
        yield shuffled[:cut], np.concatenate([shuffled[cut:], generator.choice(defects, wanted, replace=False)])
