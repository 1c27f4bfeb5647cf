"""The two rounds of a unit: who of the references is likely to be normal, then every image against those."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.plan.units import Unit
from pipeline.scoring.counted import counted
from pipeline.scoring.lakescore.cleaning import clean, pooled
from pipeline.scoring.lakescore.descriptor import Descriptor
from pipeline.scoring.musc.mutual import Search, exclude, interval_average, query_distances, sampling_error
from pipeline.scoring.scorer import Array, CategoryFeatures, FeatureRef, pairs_of_references
from pipeline.scoring.search.thinned import Thinning

FIRST = 0.3  # share of the smallest distances that is averaged in the first round
EVERY, CLEANED = 0.1, 0.05  # and in the second, of all references and of those that stay
TOLERANCES = (1.0, 2.0)  # of those that stay, see `clean`

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Rounds:
    """What the rounds of a unit share; `usual` is the number of patches that images have, larger ones have more."""

    unit: Unit
    descriptor: Descriptor
    search: Search
    device: str
    usual: int

    def whole(self, features: CategoryFeatures) -> Array:
        """Return patch scores (N, P) of all images of a category, both rounds on the same distances."""
        tokens = self._tokens(features, features.images)
        [vectors] = self.descriptor(tokens)
        distances = self.search.mutual(vectors)
        exclude(distances, torch.from_numpy(features.excluded_pairs).to(self.device))
        found: Array = both_rounds(distances, counted(tokens), self.usual).cpu().numpy()
        return found

    def first(self, features: CategoryFeatures, references: Places) -> Array:
        """Return the scores (A,) of some references, compared with all of them."""
        distances, own, counts = self._against_all(_of_references(features), references)
        found: Array = pooled(interval_average(distances, own, FIRST), counts, self.usual).cpu().numpy()
        return found

    def second(self, features: CategoryFeatures, images: Places, first: Array) -> Array:
        """Return patch scores and errors (2, A, P) of some images, by the first scores (R,) of all references."""
        of_references = torch.from_numpy(first).to(self.device)
        distances, own, counts = self._against_all(features, images)
        scores_and_errors = torch.stack(second_round(distances, own, of_references, self.unit.population))
        found: Array = _of_counted(scores_and_errors, counts).cpu().numpy()
        return found

    def _against_all(self, features: CategoryFeatures, images: Places) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the distances (A, P, R) of some images to all references, and their own places (A,) among these.

        And which of their patches count (A, P), None where all do.
        """
        row = np.full(len(features.images), -1)
        row[images] = np.arange(len(images))
        pairs = np.stack([row[features.excluded_pairs[:, 0]], features.excluded_pairs[:, 1]], axis=1)
        queries = self._tokens(features, [features.images[i] for i in images])
        [distances] = query_distances(
            queries,
            ((self._tokens(features, refs) for refs in turns) for turns in features.blocks(self.unit.reference_block)),
            len(features.references),
            self.descriptor,
            self.search,
            self._wanted(features, images),
            Thinning(self.unit.grid, self.unit.thin) if self.unit.thin > 1 else None,
        )
        exclude(distances, torch.from_numpy(pairs[pairs[:, 0] >= 0]).to(self.device))
        return distances, torch.from_numpy(features.self_index[images]).to(self.device), counted(queries)

    def _wanted(self, features: CategoryFeatures, images: Places) -> Tensor | None:
        """Return which references some images are compared with (A, R); None: with all."""
        if features.nearest is None:
            return None
        wanted = np.zeros((len(images), len(features.references)), bool)
        for row, places in zip(wanted, features.nearest[images], strict=True):
            row[places[places >= 0]] = True
        return torch.from_numpy(wanted).to(self.device)

    def _tokens(self, features: CategoryFeatures, images: Sequence[FeatureRef]) -> Tensor:
        return read_tokens(features, images, self.unit.layers).to(self.device)


def both_rounds(distances: Tensor, counts: Tensor | None = None, usual: int | None = None) -> Tensor:
    """Return patch scores (N, P) by distances (N, P, N) of all images of a category to each other; overwritten.

    Distances that do not count are inf, for all patches of an image. `counts` (N, P) says which patches do; None: all.
    For `usual` see `cleaning.worst`.
    """
    own = torch.arange(len(distances), device=distances.device)
    first = pooled(interval_average(distances, own, FIRST), counts, usual)
    return _of_counted(second_round(distances, own, first, len(own))[0], counts)


def _of_counted(scores: Tensor, counts: Tensor | None) -> Tensor:
    """Return scores (..., A, P) that are 0 where patches (A, P) do not count."""
    return scores if counts is None else scores.masked_fill(~counts, 0)


def second_round(distances: Tensor, own: Tensor, first: Tensor, population: int) -> tuple[Tensor, Tensor]:
    """Return patch scores (A, P) and their standard errors, the mean of what three choices of references give.

    All references, and those that stay at two tolerances: none is the best at every share of defects. An image none of
    whose references stays is compared with all.

    Args:
        distances: (A, P, R) to the nearest patch of each reference; overwritten. Those that do not count are inf.
        own: (A,) place of each image among the references, -1 where it is none of them.
        first: (R,) scores of the references in the first round.
        population: number of images that the references were drawn from.
    """
    sampled = population > len(first)
    found = [_averaged(distances, own, EVERY, population if sampled else None)]
    for tolerance in TOLERANCES:
        stays = clean(first, tolerance)
        rows = distances.masked_fill(~stays, torch.inf)
        alone = ~rows[:, 0].isfinite().any(dim=1)
        rows[alone] = distances[alone]
        share = int(stays.sum()) / len(stays)
        found.append(_averaged(rows, own, CLEANED, round(population * share) if sampled else None))
    scores, errors = (torch.stack(of) for of in zip(*found, strict=True))
    known = errors.isfinite()  # of a single other reference it is not
    mean_error = errors.where(known, 0).sum(dim=0) / known.sum(dim=0)
    return scores.mean(dim=0), mean_error.where(known.any(dim=0), torch.inf)


def _averaged(distances: Tensor, own: Tensor, interval: float, population: int | None) -> tuple[Tensor, Tensor]:
    scores = interval_average(distances, own, interval)
    if population is None:
        return scores, torch.zeros_like(scores)
    return scores, torch.stack([sampling_error(rows[None], interval, population) for rows in distances])


def read_tokens(features: CategoryFeatures, images: Sequence[FeatureRef], layers: Sequence[int]) -> Tensor:
    """Read the tokens (n, P, L * D) of images, the layers side by side."""
    return torch.from_numpy(np.concatenate([features.tokens(images, layer) for layer in layers], axis=2))


def _of_references(features: CategoryFeatures) -> CategoryFeatures:
    """Return the references as the images of a category, which are not compared where they are near duplicates."""
    return replace(
        features,
        images=features.references,
        self_index=np.arange(len(features.references)),
        excluded_pairs=pairs_of_references(features.self_index, features.excluded_pairs),
        nearest=features.nearest_of_references,
    )
