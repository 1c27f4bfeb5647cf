"""What a category's threshold is found from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Labelled:
    """Scores (n,) of images whose labels are known, and which of them are defects."""

    scores: Scores
    defects: Flags

    def has(self, fewest: int) -> bool:
        """Say whether there are so many of each kind."""
        return min(int(self.defects.sum()), int((~self.defects).sum())) >= fewest

    def __getitem__(self, chosen: NDArray[np.integer] | Flags) -> Self:
        return type(self)(self.scores[chosen], self.defects[chosen])


@dataclass(frozen=True)
class Known:
    """Scores of a category's images, raw.

    Attributes:
        own: of this run's images, (N,).
        references: of what they are compared with, (R,).
        window: of images of earlier nights, or of those that somebody pinned, (W,).
        labels: of this run's images, N of them or none: true for defects, None where unknown.
        reviewed: which of the labels a person gave, N of them or none.
    """

    own: Scores
    references: Scores
    window: Scores = field(default_factory=lambda: np.empty(0))
    labels: Sequence[bool | None] = ()
    reviewed: Sequence[bool] = ()

    def labelled(self, reviewed: bool = False) -> Labelled:
        """Return the images whose labels are known, or only those that a person labelled."""
        known = np.isfinite(self.own) & self._flags([label is not None for label in self.labels])
        if reviewed:
            known &= self._flags(self.reviewed)
        return Labelled(self.own[known], self._flags([bool(label) for label in self.labels])[known])

    def _flags(self, flags: Sequence[bool]) -> Flags:
        return np.array(flags, bool) if flags else np.zeros(len(self.own), bool)
