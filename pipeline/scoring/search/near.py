"""Nearest patches near a patch's own place: products of squares of the grid with the squares around them."""

import torch
from torch import Tensor

from pipeline.scoring.search.bands import Bands, Square
from pipeline.scoring.search.products import ALIGNMENT, Frame, Operand, Products
from pipeline.scoring.search.refine import distances_from_squares

TILE = 640  # vectors of one square in a product, and three times as many of others: its result stays in cache
LINE = 64  # fp32 values below which torch takes maxima of lines one value after the other


class NearSearch:
    """Exact search in the patch's own square and those around it; implements `pipeline.scoring.musc.Search`.

    Vectors lie square by square, and of a patch image by image (`Bands`): maxima over patches run along whole lines of
    images, and a square's products with its neighbours of one band are one.

    Args:
        dtype: "fp32", "fp16", "bf16" or "int8", what the vectors are rounded to; see `Products`.
        grid: (H, W) in patches.
        radius: patches in every direction that a patch is compared with, at least; see `pipeline.plan.squares`.
        tile: vectors of one square in a product, at least those of ALIGNMENT images.
    """

    def __init__(self, dtype: str, grid: tuple[int, int], radius: int, tile: int = TILE) -> None:
        self._dtype, self._grid, self._tile = dtype, grid, tile
        self._bands = Bands(grid, radius)
        self._products = Products(dtype)

    def nearest(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return distances (A, P, B) from each patch of queries (A, P, D) to each image of references (B, P, D)."""
        tiles, others = self._tiles(queries), self._tiles(references)
        blocks = [*(queries[tile] for tile in tiles), *(references[tile] for tile in others)]
        frame, operands = self._operands(blocks, queries.mean(dim=(0, 1)))
        best = self._nothing(queries, references)
        for rows, left in zip(tiles, operands, strict=False):
            for columns, right in zip(others, operands[len(tiles) :], strict=True):
                for square in self._bands.squares():
                    one, into = left[square.band][square.places].turned(), _part(best, square, rows, columns)
                    for block in self._bands.neighbours(square):
                        _keep(into, _largest(self._products(one, right[block.band][block.places])))
        return self._distances(best, frame, queries, references, operands)

    def mutual(self, images: Tensor) -> Tensor:
        """Return distances (N, P, N) between all pairs of images (N, P, D), each pair of patches multiplied once.

        The distance of an image to itself is inf.
        """
        tiles = self._tiles(images)
        frame, operands = self._operands([images[tile] for tile in tiles], images.mean(dim=(0, 1)))
        best = self._nothing(images, images)
        for i, rows in enumerate(tiles):
            self._within(best, operands[i], rows)
            for j in range(i + 1, len(tiles)):
                self._across(best, operands[i], operands[j], rows, tiles[j])
        own = torch.arange(len(images), device=images.device)
        best[:, :, own, own] = -torch.inf
        return self._distances(best, frame, images, images, operands)

    def _within(self, best: Tensor, operands: list[Operand], tile: slice) -> None:
        """Take the maxima between the images of a tile: each pair of squares that are side by side is met once."""
        back = self._back(best, tile, tile)
        for square in self._bands.squares():
            right = operands[square.band][square.places]
            left, into = right.turned(), _part(best, square, tile, tile)
            for row, line in enumerate(torch.split(into, 1)):  # of the square, with itself and those below
                start = row * into.shape[1]
                products = self._products(left[start : start + into.shape[1]], right[start:])
                _keep(back[:, square.everywhere][:, start:], products.amax(dim=0))
                _keep(line, _largest(products))
            for block in self._bands.following(square):
                products = self._products(left, operands[block.band][block.places])
                _keep(back[:, block.everywhere], products.amax(dim=0))
                _keep(into, _largest(products))
        self._bring(best, back, tile, tile)

    def _across(self, best: Tensor, left: list[Operand], right: list[Operand], rows: slice, columns: slice) -> None:
        """Take the maxima between the images of two tiles, both ways."""
        back = self._back(best, rows, columns)
        for square in self._bands.squares():
            one, into = left[square.band][square.places].turned(), _part(best, square, rows, columns)
            for block in self._bands.neighbours(square):
                products = self._products(one, right[block.band][block.places])
                _keep(back[:, block.everywhere], products.amax(dim=0))
                _keep(into, _largest(products))
        self._bring(best, back, rows, columns)

    def _back(self, best: Tensor, rows: slice, columns: slice) -> Tensor:
        """Return room (n, P, m) for the maxima of the other direction, written in the order in which they come."""
        shape = rows.stop - rows.start, best.shape[0] * best.shape[1], columns.stop - columns.start
        return best.new_full(shape, -torch.inf)

    def _bring(self, best: Tensor, back: Tensor, rows: slice, columns: slice) -> None:
        for square in self._bands.squares():
            _keep(_part(best, square, columns, rows), back[:, square.everywhere].permute(1, 2, 0))

    def _nothing(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return the maxima (H, W, A, B) of no products."""
        return torch.full((*self._grid, len(queries), len(references)), -torch.inf, device=queries.device)

    def _tiles(self, images: Tensor) -> list[slice]:
        """Return parts of the images, about alike, for which a tile has room."""
        room = max(1, self._tile // self._bands.largest // ALIGNMENT) * ALIGNMENT
        count = -(-len(images) // room)
        step = -(-len(images) // count // ALIGNMENT) * ALIGNMENT
        return [slice(first, min(first + step, len(images))) for first in range(0, len(images), step)]

    def _operands(self, blocks: list[Tensor], centre: Tensor) -> tuple[Frame, list[list[Operand]]]:
        """Round the vectors of blocks of images (n, P, D): for each block an operand (p, n) of each band."""
        bands = range(len(self._bands))
        frame, operands = self._products.operands(
            (self._bands.ordered(block, band) for block in blocks for band in bands), centre
        )
        return frame, [operands[first : first + len(bands)] for first in range(0, len(operands), len(bands))]

    def _distances(
        self, best: Tensor, frame: Frame, queries: Tensor, references: Tensor, operands: list[list[Operand]]
    ) -> Tensor:
        norms = torch.empty(queries.shape[:2], device=queries.device)
        for tile, bands in zip(self._tiles(queries), operands, strict=False):
            for band, operand in enumerate(bands):
                self._bands.put(operand.norms, band, norms[tile])
        squares = self._products.squares(best, frame).flatten(0, 1).transpose(0, 1)  # (A, P, B)
        return distances_from_squares(squares, queries, references, norms, self._dtype, self._bands.parts)


def _part(best: Tensor, square: Square, rows: slice, columns: slice) -> Tensor:
    """Return the square's part (h, w, n, m) of the maxima (H, W, A, B) of a tile's images."""
    return best[square.ys, square.xs, rows, columns]


def _largest(products: Tensor) -> Tensor:
    """Return the maxima (a, n, m) over the right patches of products (a, n, b, m), which are overwritten."""
    if products.shape[3] >= LINE or products.dtype != torch.float32:
        return products.amax(dim=2)
    count = products.shape[2]
    while count > 1:  # by halves, whose lines are longer
        half = count // 2
        one, other = products[:, :, :half], products[:, :, count - half : count]
        torch.maximum(one, other, out=one)
        count -= half
    return products[:, :, 0]


def _keep(into: Tensor, maxima: Tensor) -> None:
    """Keep the larger of each two values; the maxima may have the patches of a square in one dimension."""
    torch.maximum(into, maxima.reshape(into.shape), out=into)
