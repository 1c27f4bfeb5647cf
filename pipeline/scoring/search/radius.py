"""How far from its own place a patch's nearest one is looked for: measured on a sample of images, searched whole."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from pipeline.plan.squares import Squares, around, cut, near_products
from pipeline.scoring.search.products import Products

RADII = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 48, 64)
LEAST_SHARE = 0.99
SAME = 1e-3  # longer that a distance may become before it counts as lost
LARGE = 4096  # patches of a grid whose pairs are too many to be looked at
SOME = 512  # patches that are looked at in their place
WORTH_IT = 0.5  # share of all products up to which a radius is taken


def choose_radius(
    vectors: Tensor,
    grid: tuple[int, int],
    least_share: float = LEAST_SHARE,
    candidates: Sequence[int] = RADII,
    counts: Tensor | None = None,
) -> tuple[int | None, float]:
    """Return the smallest radius whose squares keep the distances between the images of a sample, and what they keep.

    Squares are those of `NearSearch`. Pairs of images are searched one after the other.

    Args:
        vectors: (n, P, D), fp32, of the sampled images.
        grid: (H, W) in patches.
        least_share: of the distances of all patches to the other images that must stay, to SAME.
        candidates: radii in patches. Those whose squares hold more than WORTH_IT of all pairs of patches are left out.
        counts: which patches (n, P) are to keep their distances; None: all.

    Returns:
        the radius and the share that it keeps; None and 1 where the whole image must be searched, or there is no pair.
    """
    allowed = WORTH_IT * vectors.shape[1] ** 2
    radii = [radius for radius in sorted(candidates) if near_products(grid, radius) <= allowed]
    if len(vectors) < 2 or not radii:
        return None, 1.0
    asked = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device) if counts is None else counts
    if vectors.shape[1] > LARGE:
        return _choose_by_some(vectors, grid, least_share, radii, asked)
    kept = torch.zeros(len(radii), dtype=torch.int64, device=vectors.device)
    products = Products("fp32")
    frame, (right,) = products.operands([vectors], vectors.mean(dim=(0, 1)))
    left = right.turned()
    for one, other in combinations(range(len(vectors)), 2):
        found = products(left[one : one + 1], right[other : other + 1]).view(*grid, *grid)
        for way, of in ((found, one), (found.permute(2, 3, 0, 1), other)):
            most = products.squares(way.amax(dim=(2, 3)), frame).clamp_(min=0).sqrt_() + SAME
            for i, radius in enumerate(radii):
                near = products.squares(_within(way, grid, radius), frame).clamp_(min=0).sqrt_()
                kept[i] += ((near <= most) & asked[of].view(grid)).sum()
    shares = kept / ((len(vectors) - 1) * asked.sum())
    for radius, share in zip(radii, shares.tolist(), strict=True):
        if share >= least_share:
            return radius, share
    return None, 1.0


def _choose_by_some(
    vectors: Tensor, grid: tuple[int, int], least_share: float, radii: Sequence[int], asked: Tensor
) -> tuple[int | None, float]:
    """Return the same of a large grid, by SOME of each image's patches that are asked for (n, P), evenly spread."""
    kept, images, squares_of = np.zeros(len(radii)), range(len(vectors)), [cut(grid, radius) for radius in radii]
    for one in images:
        every = torch.nonzero(asked[one]).flatten()
        patches = every[torch.linspace(0, len(every) - 1, SOME, device=every.device).round().long()]
        windows = [[_window(int(patch), grid, of) for patch in patches] for of in squares_of]
        for other in images:
            if one == other:
                continue
            squares = torch.cdist(vectors[one, patches], vectors[other]).view(-1, *grid)  # (SOME, H, W)
            most = squares.amin(dim=(1, 2)) + SAME
            for i, of_radius in enumerate(windows):
                near = torch.stack([of[ys, xs].amin() for of, (ys, xs) in zip(squares, of_radius, strict=True)])
                kept[i] += float((near <= most).float().mean())
    shares = kept / (len(vectors) * (len(vectors) - 1))
    for radius, share in zip(radii, shares.tolist(), strict=True):
        if share >= least_share:
            return radius, share
    return None, 1.0


def _window(patch: int, grid: tuple[int, int], squares: Squares) -> tuple[slice, slice]:
    """Return the rows and columns of the squares around that of a patch."""

    def reached(parts: tuple[range, ...], place: int) -> slice:
        own = next(number for number, part in enumerate(parts) if place in part)
        near = around(parts, own, own)
        return slice(near.start, near.stop)

    row, column = divmod(patch, grid[1])
    return reached(squares.rows, row), reached(squares.columns, column)


def _within(products: Tensor, grid: tuple[int, int], radius: int) -> Tensor:
    """Return the largest (H, W) of the products (H, W, H, W) of each patch with those of the squares around it."""
    squares = cut(grid, radius)
    lines = products.new_empty((*grid, grid[1]))
    for i, part in enumerate(squares.rows):
        near = around(squares.rows, i, i)
        lines[part.start : part.stop] = products[part.start : part.stop, :, near.start : near.stop].amax(dim=2)
    largest = products.new_empty(grid)
    for i, part in enumerate(squares.columns):
        near = around(squares.columns, i, i)
        largest[:, part.start : part.stop] = lines[:, part.start : part.stop, near.start : near.stop].amax(dim=2)
    return largest
