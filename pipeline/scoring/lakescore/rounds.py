"""The two rounds of a unit: who of the references is likely to be normal, then every image against those."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.plan.units import Unit
from pipeline.scoring.lakescore.cleaning import clean, pooled
from pipeline.scoring.lakescore.descriptor import Descriptor
from pipeline.scoring.musc.mutual import PatchScores, Search, exclude, interval_average, query_scores
from pipeline.scoring.scorer import Array, CategoryFeatures, FeatureRef

FIRST, SECOND = 0.3, 0.05  # shares of the smallest distances that are averaged in each round

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Rounds:
    """What the rounds of a unit share."""

    unit: Unit
    descriptor: Descriptor
    search: Search
    device: str

    def whole(self, features: CategoryFeatures) -> Array:
        """Return patch scores (N, P) of all images of a category, both rounds on the same distances."""
        [vectors] = self.descriptor(self._tokens(features, features.images))
        distances = self.search.mutual(vectors)
        exclude(distances, torch.from_numpy(features.excluded_pairs).to(self.device))
        found: Array = both_rounds(distances).cpu().numpy()
        return found

    def first(self, features: CategoryFeatures, references: Places) -> Array:
        """Return the scores (A,) of some references, compared with all of them."""
        every = np.arange(len(features.references))
        found: Array = pooled(self._against(_of_references(features), references, every, FIRST).scores).cpu().numpy()
        return found

    def second(self, features: CategoryFeatures, images: Places, first: Array) -> Array:
        """Return patch scores and errors (2, A, P) of some images, compared with the references that stay."""
        stays = clean(torch.from_numpy(first)).numpy()
        others = np.full(len(features.images), stays.sum())
        is_reference = features.self_index >= 0
        others[is_reference] -= stays[features.self_index[is_reference]]
        pairs = features.excluded_pairs
        np.subtract.at(others, pairs[:, 0], stays[pairs[:, 1]])
        alone = others[images] < 1  # no reference of theirs stays
        found = np.empty((2, len(images), self.descriptor.patches), np.float32)
        for chosen, references in ((~alone, np.flatnonzero(stays)), (alone, np.arange(len(stays)))):
            if chosen.any():
                of = self._against(features, images[chosen], references, SECOND)
                found[:, chosen] = torch.stack([of.scores, of.errors]).cpu().numpy()
        return found

    def _against(self, features: CategoryFeatures, images: Places, references: Places, interval: float) -> PatchScores:
        """Score some images against some references."""
        place = np.full(len(features.references) + 1, -1)  # the last is of images that are no reference
        place[references] = np.arange(len(references))
        row = np.full(len(features.images), -1)
        row[images] = np.arange(len(images))
        pairs = np.stack([row[features.excluded_pairs[:, 0]], place[features.excluded_pairs[:, 1]]], axis=1)
        step, compared = self.unit.reference_block, [features.references[i] for i in references]
        return query_scores(
            self._tokens(features, [features.images[i] for i in images]),
            torch.from_numpy(place[features.self_index[images]]).to(self.device),
            (self._tokens(features, compared[i : i + step]) for i in range(0, len(compared), step)),
            len(compared),
            round(self.unit.population * len(compared) / len(features.references)),
            self.descriptor,
            interval,
            self.search,
            torch.from_numpy(pairs[(pairs >= 0).all(axis=1)]).to(self.device),
        )

    def _tokens(self, features: CategoryFeatures, images: Sequence[FeatureRef]) -> Tensor:
        return read_tokens(features, images, self.unit.layers).to(self.device)


def both_rounds(distances: Tensor) -> Tensor:
    """Return patch scores (N, P) by distances (N, P, N) of all images of a category to each other; overwritten.

    Distances that do not count are inf, for all patches of an image.
    """
    own = torch.arange(len(distances), device=distances.device)
    stays = clean(pooled(interval_average(distances, own, FIRST)))
    alone = ~(distances[:, 0].isfinite() & stays).any(dim=1)  # no reference of theirs stays
    scores = torch.empty(distances.shape[:2], device=distances.device)
    scores[alone] = interval_average(distances[alone], own[alone], SECOND)
    distances[:, :, ~stays] = torch.inf
    scores[~alone] = interval_average(distances[~alone], own[~alone], SECOND)
    return scores


def read_tokens(features: CategoryFeatures, images: Sequence[FeatureRef], layers: Sequence[int]) -> Tensor:
    """Read the tokens (n, P, L * D) of images, the layers side by side."""
    return torch.from_numpy(np.concatenate([features.tokens(images, layer) for layer in layers], axis=2))


def _of_references(features: CategoryFeatures) -> CategoryFeatures:
    """Return the references as the images of a category, which are not compared where they are near duplicates."""
    own = features.self_index[features.excluded_pairs[:, 0]]
    pairs = np.stack([own, features.excluded_pairs[:, 1]], axis=1)
    return replace(
        features,
        images=features.references,
        self_index=np.arange(len(features.references)),
        excluded_pairs=pairs[own >= 0],
    )
