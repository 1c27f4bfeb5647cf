"""LakeScore's own method as a `Scorer`: one descriptor a patch, cleaned references, a score of the worst patches.

A first pass scores the references against each other, and tells which of them are likely to be normal; the second one
compares every image with those. A category that one unit holds does both in it, on the same distances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.plan.cost import Cost, unit_cost
from pipeline.plan.squares import near_products
from pipeline.plan.units import Members, Reach, Shape, Unit, plan_units
from pipeline.scoring.scorer import (
    Among,
    Array,
    CategoryFeatures,
    FeatureRef,
    Layer,
    Matches,
    Scores,
    Tuning,
    UnitResult,
)
from pipeline.scoring.search.settings import precision, question, untuned

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.scoring.lakescore.descriptor import Descriptor

DEGREES = 2  # neighbourhoods in a descriptor
SAMPLE = 5  # images, and references, whose patches show how near the nearest ones lie
LARGE, FEWER = 8192, 2  # patches from which on it is so many


class LakeScorer:
    """Scores a patch by its distance to the nearest patches of those images that are likely to be normal."""

    passes = 2

    def __init__(self, config: ScoreConfig, layer: Layer) -> None:
        self._search, self._layer = config.search, layer
        self._turns, self._thin = config.references.turns, config.references.thin

    @property
    def shape(self) -> Shape:
        """What is compared."""
        width = self._layer.width * self._layer.count
        return Shape(width, self._layer.bytes, DEGREES, comparisons=1, compared=width)

    def usual_reach(self, grid: tuple[int, int]) -> Reach:
        radius = self._search.radius
        if self._searches_whole():
            return Reach(products=1 / self._thin**2, thin=self._thin)
        return _reach(max(1, max(grid) // 8) if radius == "auto" else int(radius), None, grid)

    def reach(self, features: CategoryFeatures, layers: Sequence[int]) -> Reach:
        """Find out how near the nearest patches of a category lie, on a seeded sample of images and references."""
        if self._searches_whole() or self._search.radius != "auto":
            return self.usual_reach(features.grid)
        import torch

        from pipeline.scoring.counted import counted
        from pipeline.scoring.lakescore.rounds import read_tokens
        from pipeline.scoring.search.radius import choose_radius

        sample = SAMPLE if features.grid[0] * features.grid[1] < LARGE else FEWER  # they are held all at once
        # of both: where the camera was moved since the references were taken, they lie near only among themselves
        chosen = dict.fromkeys(
            of[place]
            for of in (features.images, features.references)
            for place in np.sort(np.random.default_rng(0).permutation(len(of))[:sample])
        )
        with torch.inference_mode():
            tokens = read_tokens(features, list(chosen), layers)
            [vectors] = self._descriptor(features.grid)(tokens)
            radius, kept = choose_radius(vectors, features.grid, counts=counted(tokens))
        return Reach() if radius is None else _reach(radius, kept, features.grid)

    def _searches_whole(self) -> bool:
        """Tell whether places say nothing: by the settings, and where references are turned or thinned."""
        return self._search.radius == "whole" or self._search.kind == "faiss" or max(self._turns, self._thin) > 1

    def units(
        self, of_pass: int, categories: Mapping[str, Members], layers: Sequence[int], memory: float, operations: float
    ) -> list[Unit]:
        units = plan_units(categories, [tuple(layers)], self.shape, memory, operations)
        if of_pass == 1:
            return units
        cut = {unit.category for unit in units if not unit.whole}
        references = {
            category: replace(of, total=of.references, mutual=False)
            for category, of in categories.items()
            if category in cut
        }
        return plan_units(references, [tuple(layers)], self.shape, memory, operations)

    def cost(self, unit: Unit) -> Cost:
        return unit_cost(unit, self.shape)

    def question(self) -> dict[str, object]:
        return question(self._search, self._layer, self.shape.compared) | {"radius": self._search.radius}

    def untuned(self, device: str) -> Tuning:
        return untuned(self._search, device)

    def tune(self, device: str) -> Tuning:
        from pipeline.scoring.search.tuning import tune

        search, shape = self._search, self.shape
        grid, dtype = self._layer.grid, precision(search, device)
        radius = self.usual_reach(grid).radius
        return tune(search.kind, dtype, grid, self._layer.width, shape.compared, device, radius)

    def score(self, of_pass: int, unit: Unit, features: CategoryFeatures, tuning: Tuning, device: str) -> UnitResult:
        import torch

        from pipeline.scoring.lakescore.rounds import Rounds
        from pipeline.scoring.search.tuning import make_search

        images = np.arange(unit.start, unit.stop)
        with torch.inference_mode():
            search = make_search(tuning, device, unit.grid, unit.radius)
            rounds = Rounds(unit, self._descriptor(unit.grid), search, device, self._layer.patches)
            if of_pass == 0:
                return rounds.first(features, images)
            if unit.whole:
                scores = rounds.whole(features)
                return np.stack([scores, np.zeros_like(scores)])
            first = features.earlier(0, unit)
            if not first:  # half of a unit that was to hold the whole category
                every = np.arange(unit.references)
                first = [rounds.first(features, every[i : i + len(images)]) for i in every[:: len(images)]]
            found = rounds.second(features, images, np.concatenate(first))
            if unit.nearest:  # chosen by their likeness: nothing is known of the error that brings
                found[1] = np.nan
            return found

    def join(self, of_pass: int, halves: Sequence[UnitResult]) -> UnitResult:
        return np.concatenate(halves, axis=of_pass)  # references (R,), or images (2, N, P)

    def combine(self, parts: Sequence[Array]) -> Array:
        [found] = parts
        return found

    def image_scores(self, found: Array, highest: Array) -> NDArray[np.float64]:
        import torch

        from pipeline.scoring.lakescore.cleaning import worst

        scores, errors = torch.from_numpy(found)
        values, places = worst(scores, self._layer.patches)
        # All patches see the same references: the mean of their errors is the error of their mean at most
        both = torch.stack([values.mean(dim=1), errors.gather(1, places).mean(dim=1)])
        pooled: NDArray[np.float64] = both.double().numpy()
        return pooled

    def rescore(self, raw: Scores, embeddings: Callable[[], Array], among: Among | None = None) -> None:
        return None

    def explain(
        self,
        patches: NDArray[np.int64],
        images: Sequence[FeatureRef],
        compared: Sequence[FeatureRef],
        features: CategoryFeatures,
        layers: Sequence[int],
        block: int,
    ) -> Matches:
        import torch

        from pipeline.scoring.counted import counted, out_of_reach
        from pipeline.scoring.lakescore.rounds import read_tokens
        from pipeline.scoring.nearest import explain

        descriptor = self._descriptor(features.grid)

        def vectors(refs: Sequence[FeatureRef]) -> Iterator[Tensor]:
            tokens = read_tokens(features, refs, layers)
            return (out_of_reach(of, counted(tokens)) for of in descriptor(tokens))

        with torch.inference_mode():
            return explain(patches, images, compared, vectors, block)

    def _descriptor(self, grid: tuple[int, int]) -> Descriptor:
        from pipeline.scoring.lakescore.descriptor import Descriptor

        return Descriptor(grid, self._layer.count)


def _reach(radius: int, kept: float | None, grid: tuple[int, int]) -> Reach:
    return Reach(radius, kept, near_products(grid, radius) / (grid[0] * grid[1]) ** 2)
