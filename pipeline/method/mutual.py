"""Mutual scoring: every patch is scored by its distance to the other images (MuSc, section 3.3)."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from pipeline.method.lnamd import lnamd


class Search(Protocol):
    """Finds the nearest patch of another image. Vectors have length 1; distances are Euclidean, not squared."""

    def nearest(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return d (A, P, B), fp32: from each patch of queries (A, P, D) to the nearest of each of (B, P, D)."""

    def mutual(self, images: Tensor) -> Tensor:
        """Return d (N, P, N), fp32, between all pairs of images (N, P, D)."""


def mutual_scores(
    tokens: Tensor, grid: tuple[int, int], degrees: Sequence[int], interval: float, search: Search
) -> Tensor:
    """Score the patches of all images of a category against each other, for one layer.

    Args:
        tokens: (N, P, D) of one layer, all images of the category.
        grid: (H, W) in patches, H * W = P.
        degrees: LNAMD's neighbourhood sizes; scores are averaged over them.
        interval: share of the N - 1 smallest distances that is averaged.
        search: the nearest-patch search to use.

    Returns:
        patch scores (N, P), fp32.

    Raises:
        ValueError: for fewer than two images.
    """
    _need_two(len(tokens))
    own = torch.arange(len(tokens), device=tokens.device)
    scores = [interval_average(search.mutual(lnamd(tokens, grid, degree)), own, interval) for degree in degrees]
    return torch.stack(scores).mean(dim=0)


def query_scores(
    queries: Tensor,
    first: int,
    references: Iterable[Tensor],
    total: int,
    grid: tuple[int, int],
    degrees: Sequence[int],
    interval: float,
    search: Search,
) -> Tensor:
    """Score the patches of a block of images against all images of the category, streamed, for one layer.

    The mean of the lowest distances does not merge from partial means, so a row with the distance to every image is
    kept for each patch, and reduced once.

    Args:
        queries: (A, P, D), images number `first` and following of the category.
        first: position of the first query among the references.
        references: all images of the category in order, in blocks (B, P, D).
        total: their number, N.
        grid: (H, W) in patches, H * W = P.
        degrees: LNAMD's neighbourhood sizes; scores are averaged over them.
        interval: share of the N - 1 smallest distances that is averaged.
        search: the nearest-patch search to use.

    Returns:
        patch scores (A, P), fp32.

    Raises:
        ValueError: for fewer than two images, or another number of references than promised.
    """
    _need_two(total)
    aggregated = [lnamd(queries, grid, degree) for degree in degrees]
    distances = torch.empty((len(degrees), *queries.shape[:2], total), device=queries.device)  # (r, A, P, N)
    seen = 0
    for block in references:
        if seen + len(block) > total:
            raise ValueError(f"{total} reference images were promised, {seen + len(block)} came")
        for degree, query, rows in zip(degrees, aggregated, distances, strict=True):
            rows[:, :, seen : seen + len(block)] = search.nearest(query, lnamd(block, grid, degree))
        seen += len(block)
    if seen != total:
        raise ValueError(f"{total} reference images were promised, {seen} came")
    own = torch.arange(first, first + len(queries), device=queries.device)
    return torch.stack([interval_average(rows, own, interval) for rows in distances]).mean(dim=0)


def interval_average(distances: Tensor, own: Tensor, interval: float) -> Tensor:
    """Average the smallest distances of each patch to the other images.

    Args:
        distances: (A, P, N) to the nearest patch of each image; the entry of an image to itself is overwritten.
        own: (A,) position of each query image among the N.
        interval: share of the N - 1 others that is averaged, at least one.

    Returns:
        (A, P).
    """
    distances[torch.arange(len(own), device=own.device), :, own] = torch.inf
    count = max(1, int(interval * (distances.shape[2] - 1)))
    return distances.topk(count, dim=2, largest=False).values.mean(dim=2)


def _need_two(images: int) -> None:
    if images < 2:
        raise ValueError(f"mutual scoring needs at least two images of a category, got {images}")
