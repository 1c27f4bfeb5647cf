"""Nearest patches by kernels that keep the products to themselves: on CUDA, in fp16, where they are the faster way."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.plan.squares import around, cut
from pipeline.scoring.search.bands import Bands
from pipeline.scoring.search.kernels import WIDTH, largest, largest_mutual, largest_near
from pipeline.scoring.search.refine import distances_from_squares

DTYPE = "fp16"


class FusedSearch:
    """Exact search in the whole image; implements `pipeline.scoring.musc.Search`.

    Args:
        tile: patches a side of the products that are made at a time, one of `kernels.TILES`.
    """

    def __init__(self, tile: int) -> None:
        self._tile = tile

    def nearest(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return distances (A, P, B) from each patch of queries (A, P, D) to each image of references (B, Q, D)."""
        centre = queries.mean(dim=(0, 1))
        (left, norms), (right, others) = _rounded(queries, centre), _rounded(references, centre)
        squares = largest(left, right, norms, others, self._tile).mul_(-2)
        return distances_from_squares(squares, queries, references, norms, DTYPE)

    def mutual(self, images: Tensor) -> Tensor:
        """Return distances (N, P, N) between all pairs of images (N, P, D), each pair multiplied once.

        The distance of an image to itself is not computed: it is inf.
        """
        vectors, norms = _rounded(images, images.mean(dim=(0, 1)))
        squares = largest_mutual(vectors, norms, self._tile).mul_(-2)
        return distances_from_squares(squares, images, images, norms, DTYPE)


class FusedNearSearch:
    """Exact search in the patch's own square and those around it; implements `pipeline.scoring.musc.Search`.

    A product is of all images' vectors of one patch with those of another, so that the largest of each pair of images
    stays in its place while the patches around go by.

    Args:
        grid: (H, W) in patches.
        radius: patches in every direction that a patch is compared with, at least; see `pipeline.plan.squares`.
        tile: images a side of the products that are made at a time, one of `kernels.TILES`.
    """

    def __init__(self, grid: tuple[int, int], radius: int, tile: int) -> None:
        self._grid, self._tile = grid, tile
        self._parts = Bands(grid, radius).parts
        self._windows = _windows(grid, radius)

    def nearest(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return distances (A, P, B) from each patch of queries (A, P, D) to each image of references (B, P, D)."""
        return self._distances(queries, references, self._largest(queries, references))

    def mutual(self, images: Tensor) -> Tensor:
        """Return distances (N, P, N) between all pairs of images (N, P, D), each pair multiplied for each direction.

        The distance of an image to itself is inf.
        """
        norms, best = self._largest(images, images)
        own = torch.arange(len(images), device=images.device)
        best[:, own, own] = -torch.inf
        return self._distances(images, images, (norms, best))

    def _largest(self, queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared lengths (P, A) of the queries, and the largest `-d^2 / 2` (P, A, B)."""
        centre = queries.mean(dim=(0, 1))
        (left, norms), (right, others) = (_rounded(of.transpose(0, 1), centre) for of in (queries, references))
        windows = self._windows.to(queries.device)
        return norms, largest_near(left, right, norms, others, windows, self._grid[1], self._tile)

    def _distances(self, queries: Tensor, references: Tensor, found: tuple[Tensor, Tensor]) -> Tensor:
        norms, best = found
        squares = best.mul_(-2).transpose(0, 1)
        return distances_from_squares(squares, queries, references, norms.T, DTYPE, self._parts)


def _rounded(vectors: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors (..., D) from their centre in fp16, with zeros up to WIDTH, and their squared lengths (...)."""
    rounded = F.pad(vectors - centre, (0, -len(centre) % WIDTH)).half().contiguous()
    return rounded, rounded.float().square().sum(dim=-1)


def _windows(grid: tuple[int, int], radius: int) -> Tensor:
    """Return the rows and columns (P, 4) around each patch, as `largest_near` takes them."""
    squares = cut(grid, radius)
    sides = []
    for parts in (squares.rows, squares.columns):
        near = [around(parts, number, number) for number, part in enumerate(parts) for _ in part]
        sides.append(torch.tensor([(of.start, of.stop) for of in near], dtype=torch.int32))
    rows, columns = sides
    return torch.cat([rows.repeat_interleave(grid[1], dim=0), columns.repeat(grid[0], 1)], dim=1)
