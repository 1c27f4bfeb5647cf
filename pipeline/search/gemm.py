"""Nearest patches by blocked matrix products: one product scores both directions of a pair of images."""

import torch
from torch import Tensor

from pipeline.search.refine import distances_from_squares

TILE = 1024  # patches a side of one product: its result stays in cache on its way to the maxima


class GemmSearch:
    """Exact search by tiles of `Z_i Z_j^T`; implements `pipeline.method.Search`.

    The products are taken in `dtype`. In fp16 and bf16 the inputs are rounded, and on CPU the products too; sums are
    accumulated in fp32 by the hardware's kernels.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype

    def nearest(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return distances (A, P, B) from each patch of queries (A, P, D) to each image of references (B, Q, D)."""
        left, right = queries.to(self._dtype), references.to(self._dtype)
        best = torch.empty((*queries.shape[:2], len(references)), device=queries.device)  # largest inner products
        for rows in _tiles(left):
            for columns in _tiles(right):
                best[rows, :, columns] = _products(left[rows], right[columns]).amax(dim=3)
        return self._distances(best, queries, references)

    def mutual(self, images: Tensor) -> Tensor:
        """Return distances (N, P, N) between all pairs of images (N, P, D), each pair multiplied once."""
        vectors = images.to(self._dtype)
        best = torch.empty((*images.shape[:2], len(images)), device=images.device)
        tiles = list(_tiles(vectors))
        for i, rows in enumerate(tiles):
            for columns in tiles[i:]:
                products = _products(vectors[rows], vectors[columns])  # (a, P, b, P)
                best[rows, :, columns] = products.amax(dim=3)
                best[columns, :, rows] = products.amax(dim=1).permute(1, 2, 0)
        return self._distances(best, images, images)

    def _distances(self, best: Tensor, queries: Tensor, references: Tensor) -> Tensor:
        squares = best.mul_(-2).add_(2)
        return distances_from_squares(squares, queries, references, self._dtype)


def _tiles(images: Tensor) -> list[slice]:
    count, patches = images.shape[:2]
    step = max(1, TILE // patches)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _products(left: Tensor, right: Tensor) -> Tensor:
    """Return all inner products (a, P, b, Q) of (a, P, D) and (b, Q, D)."""
    return (left.flatten(0, 1) @ right.flatten(0, 1).T).view(*left.shape[:2], *right.shape[:2])
