"""Small distances, taken again: a difference of products loses the digits of a near-duplicate."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

# With x and y at about |x| from their centre, the square of their distance was seen to be off by up to 2.3e-6 |x|^2
# from fp32 sums (real tokens of width 384, random ones of up to 1,024). At |x|^2 / 16 that is at most 2e-5 in the
# distance itself; of the tokens of calm images less than a hundredth are nearer to each other. At twice that share a
# twentieth are, and computing them again took a third of the time.
FP32_SHARE = 1 / 16
# Rounding moves any distance, of near-duplicates most: below this share of |x| it is taken again, about 16 times as
# far as bf16 moves a vector, and where fp16's fp32 sums are off by 1e-4. Of the tokens of calm images, less than a
# hundredth are nearer to each other.
SHARES = {"fp16": 0.015, "bf16": 0.03, "int8": 0.03}
ROWS = 4096  # vectors computed again at a time, or fewer of large images:
DISTANCES = 1 << 25  # that are held at a time

# Some of K vectors (k,), the patches (q,) of a reference that they are compared with, and which of those count for
# which vector (k, q), where not all do
Part = tuple[Tensor, Tensor | slice, Tensor | None]


def whole_image(patch: Tensor) -> Iterator[Part]:
    """Let vectors of patches (K,) be compared with all of a reference."""
    for rows in torch.split(torch.arange(len(patch), device=patch.device), ROWS):
        yield rows, slice(None), None


def distances_from_squares(
    squares: Tensor,
    queries: Tensor,
    references: Tensor,
    norms: Tensor,
    dtype: str,
    compared: Callable[[Tensor], Iterable[Part]] = whole_image,
) -> Tensor:
    """Turn squared distances into distances, the small ones computed again in fp64.

    Args:
        squares: (A, P, B), to the nearest patch of each reference image; overwritten. Those of inf stay so.
        queries: (A, P, D), fp32.
        references: (B, Q, D), fp32.
        norms: (A, P), squared lengths of the queries in the products that gave the squares.
        dtype: precision of those products.
        compared: which patches of a reference vectors of patches (K,) of the queries are compared with, in parts that
            hold each vector once.

    Returns:
        (A, P, B), fp32.
    """
    below = (norms * FP32_SHARE).square() if dtype == "fp32" else norms * SHARES[dtype] ** 2  # (A, P)
    small = squares < below[:, :, None]
    distances = squares.clamp_(min=0).sqrt_()
    for image in small.any(dim=0).any(dim=0).nonzero().flatten().tolist():
        query, patch = small[:, :, image].nonzero(as_tuple=True)
        vectors = queries[query, patch]  # (K, D)
        # In fp64, and over all patches again: fp32 cannot tell which of several near-duplicates is the nearest
        patches = references[image].double()
        again = torch.empty(len(vectors), device=vectors.device)
        step = max(1, min(ROWS, DISTANCES // len(patches)))
        for all_rows, columns, all_counts in compared(patch):
            for start in range(0, len(all_rows), step):
                rows = all_rows[start : start + step]
                found = torch.cdist(vectors[rows].double(), patches[columns])
                if all_counts is not None:
                    found.masked_fill_(~all_counts[start : start + step], torch.inf)
                again[rows] = found.amin(dim=1).float()
        distances[query, patch, image] = again
    return distances
