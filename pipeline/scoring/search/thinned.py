"""Which of a reference's patches are compared with: some, evenly spread, whose number need not grow with the image."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Thinning:
    """Of each reference every `step`th row and column of its grid (H, W) is looked at.

    From one reference to the next it begins at another row or column: middle layers carry their position, and with the
    same places left out of all references whatever lies there would stand out.
    """

    grid: tuple[int, int]
    step: int

    def parts(self, first: int, count: int) -> Iterator[tuple[list[int], Tensor]]:
        """Yield references of which the same patches are looked at, and those patches (Q,).

        References are numbered from 0 in their block, of `count`, whose first one is number `first` of its category.
        """
        alike: dict[tuple[int, ...], list[int]] = {}
        for place in range(count):
            begin = divmod((first + place) % self.step**2, self.step)
            # a side that is shorter keeps its last row
            alike.setdefault(tuple(min(at, side - 1) for at, side in zip(begin, self.grid, strict=True)), []).append(
                place
            )
        for (top, left), places in alike.items():
            rows, columns = torch.arange(top, self.grid[0], self.step), torch.arange(left, self.grid[1], self.step)
            yield places, (rows[:, None] * self.grid[1] + columns).flatten()
