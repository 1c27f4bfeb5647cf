"""Triton kernels that never write the products of two blocks of images: only the largest of each go to memory.

Values are `-d^2 / 2 = x.y - |x|^2 / 2 - |y|^2 / 2`, as of `Products`, with norms in fp32. This file imports torch and
Triton alone, so that `bench/gpu.py` runs where nothing else is installed.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

WIDTH = 64  # vectors have a multiple of it, zeros behind
# Vectors a side of the products that a program makes at a time: values of the width a step, warps, stages of loads
TILES = {32: (64, 4, 3), 64: (64, 4, 3), 128: (32, 8, 3)}


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _whole(  # type: ignore[no-untyped-def]  # by Triton's compiler
    left,
    right,
    left_halves,
    right_halves,
    best,
    patches,
    others,
    lefts,
    rights,
    width,
    tiles,
    MUTUAL: tl.constexpr,
    TILE: tl.constexpr,
    STEP: tl.constexpr,
):
    one = tl.program_id(0) // tiles
    other = tl.program_id(1)
    if MUTUAL and one >= other:
        return
    rows = tl.program_id(0) % tiles * TILE + tl.arange(0, TILE)
    values = tl.arange(0, STEP)
    row_of = one.to(tl.int64) * patches + rows
    # Of what lies beyond an image, vectors are 0 and norms inf: it is never the nearest
    of_rows = tl.load(left_halves + row_of, mask=rows < patches, other=float("inf"))
    most = tl.full((TILE,), float("-inf"), tl.float32)
    for start in range(0, others, TILE):
        columns = start + tl.arange(0, TILE)
        column_of = other.to(tl.int64) * others + columns
        products = tl.zeros((TILE, TILE), tl.float32)
        for first in range(0, width, STEP):
            x = tl.load(
                left + row_of[:, None] * width + first + values[None, :], mask=rows[:, None] < patches, other=0.0
            )
            y = tl.load(
                right + column_of[None, :] * width + first + values[:, None], mask=columns[None, :] < others, other=0.0
            )
            products = tl.dot(x, y, products)
        of_columns = tl.load(right_halves + column_of, mask=columns < others, other=float("inf"))
        products = products - of_rows[:, None] - of_columns[None, :]
        most = tl.maximum(most, tl.max(products, axis=1))
        if MUTUAL:
            tl.atomic_max(best + column_of * lefts + one, tl.max(products, axis=0), mask=columns < others)
    tl.store(best + row_of * rights + other, most, mask=rows < patches)


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _near(  # type: ignore[no-untyped-def]  # by Triton's compiler
    left,
    right,
    left_halves,
    right_halves,
    windows,
    best,
    lefts,
    rights,
    columns_of_grid,
    width,
    TILE: tl.constexpr,
    STEP: tl.constexpr,
):
    patch = tl.program_id(0)
    rows = tl.program_id(1) * TILE + tl.arange(0, TILE)
    columns = tl.program_id(2) * TILE + tl.arange(0, TILE)
    values = tl.arange(0, STEP)
    row_of = patch.to(tl.int64) * lefts + rows
    of_rows = tl.load(left_halves + row_of, mask=rows < lefts, other=float("inf"))
    top, bottom = tl.load(windows + 4 * patch), tl.load(windows + 4 * patch + 1)
    start, stop = tl.load(windows + 4 * patch + 2), tl.load(windows + 4 * patch + 3)
    across = stop - start
    most = tl.full((TILE, TILE), float("-inf"), tl.float32)
    for number in range((bottom - top) * across):
        near = (top + number // across) * columns_of_grid + start + number % across
        column_of = near.to(tl.int64) * rights + columns
        products = tl.zeros((TILE, TILE), tl.float32)
        for first in range(0, width, STEP):
            x = tl.load(left + row_of[:, None] * width + first + values[None, :], mask=rows[:, None] < lefts, other=0.0)
            y = tl.load(
                right + column_of[None, :] * width + first + values[:, None], mask=columns[None, :] < rights, other=0.0
            )
            products = tl.dot(x, y, products)
        of_columns = tl.load(right_halves + column_of, mask=columns < rights, other=float("inf"))
        most = tl.maximum(most, products - of_columns[None, :])
    most = most - of_rows[:, None]
    tl.store(
        best + row_of[:, None] * rights + columns[None, :],
        most,
        mask=(rows[:, None] < lefts) & (columns[None, :] < rights),
    )


def largest(left: Tensor, right: Tensor, left_norms: Tensor, right_norms: Tensor, tile: int) -> Tensor:
    """Return the largest `-d^2 / 2` (A, P, B) of each patch of images (A, P, K) with those of each image (B, Q, K).

    Vectors are fp16, K a multiple of WIDTH; norms (A, P) and (B, Q) are their squared lengths, fp32.
    """
    best = torch.empty((*left.shape[:2], len(right)), device=left.device)
    return _run_whole(left, right, left_norms, right_norms, best, tile, mutual=False)


def largest_mutual(images: Tensor, norms: Tensor, tile: int) -> Tensor:
    """Return the same (N, P, N) between images (N, P, K), each pair multiplied once; of an image with itself -inf."""
    best = torch.full((*images.shape[:2], len(images)), -torch.inf, device=images.device)
    return _run_whole(images, images, norms, norms, best, tile, mutual=True)


def largest_near(
    left: Tensor,
    right: Tensor,
    left_norms: Tensor,
    right_norms: Tensor,
    windows: Tensor,
    columns: int,
    tile: int,
) -> Tensor:
    """Return the largest `-d^2 / 2` (P, A, B) of each patch with those of a window around its own place.

    Args:
        left: (P, A, K), fp16, patch by patch; K a multiple of WIDTH.
        right: (P, B, K).
        left_norms: (P, A), squared lengths, fp32.
        right_norms: (P, B).
        windows: (P, 4), int32: of each patch first row and the one behind the last, first column and the one behind.
        columns: of the grid.
        tile: images a side of a product.
    """
    patches, lefts, width = left.shape
    rights = right.shape[1]
    best = torch.empty((patches, lefts, rights), device=left.device)
    step, warps, stages = TILES[tile]
    grid = (patches, triton.cdiv(lefts, tile), triton.cdiv(rights, tile))
    _near[grid](
        left,
        right,
        left_norms / 2,
        right_norms / 2,
        windows,
        best,
        lefts,
        rights,
        columns,
        width,
        TILE=tile,
        STEP=step,
        num_warps=warps,
        num_stages=stages,
    )
    return best


def _run_whole(
    left: Tensor, right: Tensor, left_norms: Tensor, right_norms: Tensor, best: Tensor, tile: int, mutual: bool
) -> Tensor:
    (lefts, patches, width), (rights, others, _) = left.shape, right.shape
    step, warps, stages = TILES[tile]
    tiles = triton.cdiv(patches, tile)
    _whole[(lefts * tiles, rights)](
        left,
        right,
        left_norms / 2,
        right_norms / 2,
        best,
        patches,
        others,
        lefts,
        rights,
        width,
        tiles,
        MUTUAL=mutual,
        TILE=tile,
        STEP=step,
        num_warps=warps,
        num_stages=stages,
    )
    return best
