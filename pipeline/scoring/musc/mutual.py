"""Mutual scoring: every patch is scored by its distance to the other images (MuSc, section 3.3)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline.scoring.counted import counted
from pipeline.scoring.search.thinned import Thinning


class Search(Protocol):
    """Finds the nearest patch of another image. Distances are Euclidean, not squared."""

    def nearest(self, queries: Tensor, references: Tensor) -> Tensor:
        """Return d (A, P, B), fp32: from each patch of queries (A, P, D) to the nearest of each of (B, Q, D)."""

    def mutual(self, images: Tensor) -> Tensor:
        """Return d (N, P, N), fp32, between all pairs of images (N, P, D); of an image to itself, anything."""


class Aggregation(Protocol):
    """Makes of tokens the vectors that are compared."""

    @property
    def comparisons(self) -> int:
        """How many there are, whose scores are averaged."""

    def __call__(self, tokens: Tensor) -> Iterator[Tensor]:
        """Yield the vectors (N, P, C) of each comparison of tokens (N, P, D)."""


@dataclass(frozen=True)
class PatchScores:
    """Patch scores (A, P), and the standard error (A, P) that a sample of references brings: 0 for all of them."""

    scores: Tensor
    errors: Tensor


def mutual_scores(
    tokens: Tensor, aggregation: Aggregation, interval: float, search: Search, excluded_pairs: Tensor | None = None
) -> Tensor:
    """Score the patches of all images of a category against each other, for one layer.

    Args:
        tokens: (N, P, D) of one layer, all images of the category.
        aggregation: LNAMD; scores are averaged over its comparisons.
        interval: share of the N - 1 smallest distances that is averaged.
        search: the nearest-patch search to use.
        excluded_pairs: pairs (K, 2) of an image and another one that it is not compared with.

    Returns:
        patch scores (N, P), fp32.

    Raises:
        ValueError: for fewer than two images.
    """
    _need_two(len(tokens))
    self_index = torch.arange(len(tokens), device=tokens.device)
    total = torch.zeros(tokens.shape[:2], device=tokens.device)
    for vectors in aggregation(tokens):
        distances = search.mutual(vectors)
        exclude(distances, excluded_pairs)
        total += interval_average(distances, self_index, interval)
    return _of_counted(total / aggregation.comparisons, tokens)


def query_scores(
    queries: Tensor,
    self_index: Tensor,
    references: Iterable[Iterable[Tensor]],
    total: int,
    population: int,
    aggregation: Aggregation,
    interval: float,
    search: Search,
    excluded_pairs: Tensor | None = None,
) -> PatchScores:
    """Score the patches of a block of images against reference images of their category, streamed, for one layer.

    The mean of the lowest distances does not merge from partial means, so a row with the distance to every reference is
    kept for each patch, and reduced once.

    Args:
        queries: (A, P, D).
        self_index: (A,) position of each query among the references, -1 where it is none of them.
        references: the reference images in order, in blocks, of each the images as they are, and as they are seen
            turned, (B, P, D) each: the nearest counts.
        total: their number, R.
        population: number of images that the references were drawn from; R where they are all there is.
        aggregation: LNAMD; scores are averaged over its comparisons.
        interval: share of the smallest distances to other images that is averaged.
        search: the nearest-patch search to use.
        excluded_pairs: pairs (K, 2) of a query and another image among the references that it is not compared with.

    Raises:
        ValueError: when an image has no reference but itself, or another number of references came than promised.
    """
    _need_two(total + int(not (self_index >= 0).any()))
    distances = query_distances(queries, references, total, aggregation, search)
    for rows in distances:
        exclude(rows, excluded_pairs)
    scores = torch.stack([interval_average(rows, self_index, interval) for rows in distances]).mean(dim=0)
    if population <= total:
        return PatchScores(_of_counted(scores, queries), torch.zeros_like(scores))
    errors = [sampling_error(distances[:, i], interval, population) for i in range(len(queries))]
    return PatchScores(_of_counted(scores, queries), _of_counted(torch.stack(errors), queries))


def _of_counted(scores: Tensor, tokens: Tensor) -> Tensor:
    """Return scores (N, P) that are 0 where the tokens (N, P, D) do not count."""
    counts = counted(tokens)
    return scores if counts is None else scores.masked_fill(~counts, 0)


def query_distances(
    queries: Tensor,
    references: Iterable[Iterable[Tensor]],
    total: int,
    aggregation: Aggregation,
    search: Search,
    wanted: Tensor | None = None,
    thinning: Thinning | None = None,
) -> Tensor:
    """Return the distances (r, A, P, R) of each comparison between queries and references, as `query_scores` has them.

    `wanted` (A, R) says which are compared, None: all. The other distances are inf. `thinning` says which patches of a
    reference are looked at, None: all.

    Raises:
        ValueError: when another number of references came than promised.
    """
    aggregated = list(aggregation(queries))
    distances = torch.empty((aggregation.comparisons, *queries.shape[:2], total), device=queries.device)
    seen = 0
    for turns in references:
        count = 0
        for turn, block in enumerate(turns):
            count = len(block)
            if seen + count > total:
                raise ValueError(f"{total} reference images were promised, {seen + count} came")
            for query, reference, rows in zip(aggregated, aggregation(block), distances, strict=True):
                into = rows[:, :, seen : seen + count]
                of_block = None if wanted is None else wanted[:, seen : seen + count]
                every = slice(None), slice(None)
                for places, patches in thinning.parts(seen, count) if thinning else [every]:
                    part = reference[places][:, patches]
                    found = _found(search, query, part, None if of_block is None else of_block[:, places])
                    into[:, :, places] = torch.minimum(into[:, :, places], found) if turn else found
        seen += count
    if seen != total:
        raise ValueError(f"{total} reference images were promised, {seen} came")
    return distances


def _found(search: Search, queries: Tensor, references: Tensor, wanted: Tensor | None) -> Tensor:
    """Return the distances (A, P, B) of queries to references, inf where they are not wanted (A, B)."""
    if wanted is None or bool(wanted.all()):
        return search.nearest(queries, references)
    found = torch.full((*queries.shape[:2], len(references)), torch.inf, device=queries.device)
    for place in torch.nonzero(wanted.any(dim=0)).flatten().tolist():
        rows = torch.nonzero(wanted[:, place]).flatten()
        found[rows, :, place] = search.nearest(queries[rows], references[place : place + 1])[:, :, 0]
    return found


def interval_average(distances: Tensor, self_index: Tensor, interval: float) -> Tensor:
    """Average the smallest distances of each patch to the other images.

    Args:
        distances: (A, P, R) to the nearest patch of each reference; that of an image to itself is overwritten. Those
            that do not count are inf, for all patches of the image.
        self_index: (A,) position of each query image among the R, -1 where it is none of them.
        interval: share of the other images that is averaged, at least one.

    Returns:
        (A, P).
    """
    is_reference = self_index >= 0
    distances[is_reference.nonzero().flatten(), :, self_index[is_reference]] = torch.inf
    others = distances[:, 0].isfinite().sum(dim=1)  # (A,)
    averages = torch.empty(distances.shape[:2], device=distances.device)
    for count in sorted(set(others.tolist())):
        chosen = others == count
        if chosen.all():  # without a copy
            return _mean_of_smallest(distances, _count(count, interval))
        averages[chosen] = _mean_of_smallest(distances[chosen], _count(count, interval))
    return averages


def sampling_error(distances: Tensor, interval: float, population: int) -> Tensor:
    """Return the standard error of one image's patch scores, for references drawn at random.

    With q between the k-th and the next smallest of R distances, the mean of the k smallest is the mean over the
    references of `q - (q - d)^+ R / k`, and does not move with q to first order: its error is that of a mean of R
    values drawn from a population without replacement. q is the next smallest: with the k-th itself the error of few
    references would be found too small, and 0 for k = 1. All comparisons see the same references, so the values are
    averaged over them first.

    Args:
        distances: (r, P, R) of each pass; inf where they do not count, such as that of the image to itself.
        interval: share of the distances that is averaged.
        population: number of images that the references were drawn from.

    Returns:
        (P,).
    """
    others = int(distances[0, 0].isfinite().sum())
    if others < 2:
        return torch.full(distances.shape[1:2], torch.inf, device=distances.device)
    count = _count(others, interval)
    quantile = distances.kthvalue(min(count + 1, others), dim=2, keepdim=True).values
    values = ((quantile - distances).clamp_(min=0) * (others / count)).mean(dim=0)  # (P, R); 0 for what does not count
    variance = (values.square().sum(dim=1) - values.sum(dim=1).square() / others).clamp_(min=0) / (others - 1)
    return (variance / others * (1 - others / max(population - 1, others))).sqrt()


def exclude(distances: Tensor, excluded_pairs: Tensor | None) -> None:
    """Let the distances (A, P, R) of pairs (K, 2) not count."""
    if excluded_pairs is not None:
        distances[excluded_pairs[:, 0], :, excluded_pairs[:, 1]] = torch.inf


def _count(others: int, interval: float) -> int:
    return max(1, int(interval * others))


def _mean_of_smallest(distances: Tensor, count: int) -> Tensor:
    return distances.topk(count, dim=2, largest=False, sorted=False).values.mean(dim=2)


def _need_two(images: int) -> None:
    if images < 2:
        raise ValueError(f"mutual scoring needs at least two images of a category, got {images}")
