"""Nearest patches by blocked matrix products: one product scores both directions of a pair of images."""

import torch
from torch import Tensor

from pipeline.scoring.search.products import Operand, Products
from pipeline.scoring.search.refine import distances_from_squares

TILE = 1024  # patches a side of one product: its result stays in cache on its way to the maxima


class GemmSearch:
    """Exact search by tiles of `Z_i Z_j^T`; implements `pipeline.scoring.musc.Search`.

    Args:
        dtype: "fp32", "fp16", "bf16" or "int8", what the vectors are rounded to; see `Products`.
        tile: patches a side of one product, at least one image.
    """

    def __init__(self, dtype: str = "fp32", tile: int = TILE) -> None:
        self._dtype, self._tile = dtype, tile
        self._products = Products(dtype)

    def nearest(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return distances (A, P, B) from each patch of queries (A, P, D) to each image of references (B, Q, D)."""
        frame, (left, right) = self._products.operands([queries, references], queries.mean(dim=(0, 1)))
        left = left.turned()
        best = torch.empty((*queries.shape[:2], len(references)), device=queries.device)
        for rows in self._tiles(queries):
            for columns in self._tiles(references):
                best[rows, :, columns] = self._products(left[rows], right[columns]).amax(dim=3)
        squares = self._products.squares(best, frame)
        return distances_from_squares(squares, queries, references, left.norms, self._dtype)

    def mutual(self, images: Tensor) -> Tensor:
        """Return distances (N, P, N) between all pairs of images (N, P, D), each pair multiplied once.

        The distance of an image to itself is not computed: it is inf.
        """
        frame, (right,) = self._products.operands([images], images.mean(dim=(0, 1)))
        best = torch.full((*images.shape[:2], len(images)), -torch.inf, device=images.device)
        for rows in self._tiles(images):
            left = right[rows].turned()
            for row in range(rows.start, rows.stop - 1):  # pairs within the tile
                one, others, place = slice(row, row + 1), slice(row + 1, rows.stop), row - rows.start
                self._both_ways(best, left[place : place + 1], right, one, others)
            for columns in self._tiles(images, rows.stop):
                self._both_ways(best, left, right, rows, columns)
        squares = self._products.squares(best, frame)
        return distances_from_squares(squares, images, images, right.norms, self._dtype)

    def _both_ways(self, best: Tensor, left: Operand, right: Operand, rows: slice, columns: slice) -> None:
        products = self._products(left, right[columns])  # (a, P, b, P)
        best[rows, :, columns] = products.amax(dim=3)
        best[columns, :, rows] = products.amax(dim=1).permute(1, 2, 0)

    def _tiles(self, images: Tensor, start: int = 0) -> list[slice]:
        count, patches = images.shape[:2]
        step = max(1, self._tile // patches)
        return [slice(first, min(first + step, count)) for first in range(start, count, step)]
