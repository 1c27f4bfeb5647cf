"""The order in which vectors of squares lie, so that a square and those beside it are one block of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.plan.squares import around, cut
from pipeline.scoring.search.refine import ROWS, Part

MERGED = 64  # vectors computed again at a time, if squares side by side have as many: every call costs some more


@dataclass(frozen=True)
class Block:
    """Squares side by side: their band, and their places there and among all patches in this order."""

    band: int
    places: slice
    everywhere: slice


@dataclass(frozen=True)
class Square(Block):
    """One square, and where it lies in the grid."""

    column: int
    ys: slice
    xs: slice


class Bands:
    """Patches of a grid band by band, in a band square by square, and in a square row by row.

    Args:
        grid: (H, W) in patches.
        radius: patches in every direction that the squares around a patch reach, at least.
    """

    def __init__(self, grid: tuple[int, int], radius: int) -> None:
        self._grid, self._squares = grid, cut(grid, radius)
        places = torch.arange(grid[0] * grid[1]).view(grid)
        self._orders = [
            torch.cat([places[square.ys, square.xs].flatten() for square in self.squares() if square.band == band])
            for band in range(len(self._squares.rows))
        ]
        self._numbers = torch.empty(grid, dtype=torch.int64)  # of the squares, in order
        for number, square in enumerate(self.squares()):
            self._numbers[square.ys, square.xs] = number

    def __len__(self) -> int:
        return len(self._orders)

    @property
    def largest(self) -> int:
        """Patches of the largest square."""
        return max(map(len, self._squares.rows)) * max(map(len, self._squares.columns))

    def squares(self) -> Iterator[Square]:
        """Yield all squares in order."""
        for band, ys in enumerate(self._squares.rows):
            for column, xs in enumerate(self._squares.columns):
                block = self._block(band, xs)
                part = slice(ys.start, ys.stop), slice(xs.start, xs.stop)
                yield Square(block.band, block.places, block.everywhere, column, *part)

    def neighbours(self, square: Square) -> Iterator[Block]:
        """Yield a square and those around it, band by band."""
        for band in range(max(0, square.band - 1), min(square.band + 2, len(self))):
            yield self._block(band, around(self._squares.columns, square.column, square.column))

    def following(self, square: Square) -> Iterator[Block]:
        """Yield those around a square that come after it, so that each pair of squares side by side comes once."""
        xs = around(self._squares.columns, square.column, square.column)
        if square.column + 1 < len(self._squares.columns):
            yield self._block(square.band, range(square.xs.stop, xs.stop))
        if square.band + 1 < len(self):
            yield self._block(square.band + 1, xs)

    def ordered(self, images: Tensor, band: int) -> Tensor:
        """Return the vectors (p, N, D) of a band of images (N, P, D)."""
        return images.transpose(0, 1).index_select(0, self._orders[band].to(images.device))

    def put(self, values: Tensor, band: int, into: Tensor) -> None:
        """Write values (p, N) of a band to their patches of images (N, P)."""
        into[:, self._orders[band].to(into.device)] = values.T

    def parts(self, patch: Tensor) -> Iterator[Part]:
        """Let vectors of patches (K,) be compared with the patches of the squares around theirs; see `refine`."""
        columns = len(self._squares.columns)
        of_square = self._numbers.flatten().to(patch.device)
        square = of_square[patch]  # (K,)
        order, counts = square.argsort(), torch.bincount(square, minlength=len(self) * columns).tolist()
        stop = 0
        for first, last in self._runs(counts):
            start, stop = stop, stop + sum(counts[first : last + 1])
            near = self._near(first, last).to(patch.device)  # (Q,)
            for rows in torch.split(order[start:stop], ROWS):
                away = square[rows, None] % columns - of_square[near] % columns
                yield rows, near, (away.abs() <= 1) if last > first else None

    def _runs(self, counts: list[int]) -> Iterator[tuple[int, int]]:
        """Yield the first and the last of squares side by side that have MERGED vectors, or are all of a band."""
        columns = len(self._squares.columns)
        for start in range(0, len(counts), columns):
            first = start
            for square in range(start, start + columns):
                have = sum(counts[first : square + 1])
                if have >= MERGED or (have and square + 1 == start + columns):
                    yield first, square
                if have >= MERGED or not have:
                    first = square + 1

    def _near(self, first: int, last: int) -> Tensor:
        """Return the patches (Q,) in and around squares side by side."""
        columns = len(self._squares.columns)
        ys = around(self._squares.rows, first // columns, last // columns)
        xs = around(self._squares.columns, first % columns, last % columns)
        return (torch.arange(ys.start, ys.stop)[:, None] * self._grid[1] + torch.arange(xs.start, xs.stop)).flatten()

    def _block(self, band: int, xs: range) -> Block:
        ys = self._squares.rows[band]
        start = ys.start * self._grid[1]
        places = slice(len(ys) * xs.start, len(ys) * xs.stop)
        return Block(band, places, slice(start + places.start, start + places.stop))
