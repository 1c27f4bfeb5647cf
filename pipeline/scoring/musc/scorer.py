"""MuSc as a `Scorer`: LNAMD, mutual scoring, RsCIN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.plan.cost import Cost, unit_cost
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
    with_error,
)
from pipeline.scoring.search.settings import question, untuned

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.scoring.musc.lnamd import Aggregation

FITTED_ON = 16  # reference images whose vectors a PCA is fitted on,
FITTED_PATCHES = 1_000_000  # and so many of these at most


class MuscScorer:
    """Scores a patch by its distance to the nearest patches of the other images of its category."""

    passes = 1

    def __init__(self, config: ScoreConfig, layer: Layer) -> None:
        self._method, self._layer = config.method, layer
        search = config.search
        # the numbers of the official code, unless somebody asks for others
        self._search = search.model_copy(update={"dtype": "fp32"}) if search.dtype == "auto" else search
        if self._method.projection != "none" and self._method.projection_width > layer.width:
            raise ConfigError(
                f"method.projection_width {self._method.projection_width} is more than the {layer.width} values of "
                f"{config.encoder.name}"
            )
        self._prepared: tuple[object, int, Aggregation] | None = None

    @property
    def shape(self) -> Shape:
        """What is compared."""
        degrees = len(self._method.degrees)
        return Shape(
            self._layer.width,
            self._layer.bytes,
            degrees,
            comparisons=1 if self._method.fuse_degrees else degrees,
            compared=self._layer.width if self._method.projection == "none" else self._method.projection_width,
        )

    def usual_reach(self, grid: tuple[int, int]) -> Reach:
        return Reach()

    def reach(self, features: CategoryFeatures, layers: Sequence[int]) -> Reach:
        return Reach()

    def units(
        self, of_pass: int, categories: Mapping[str, Members], layers: Sequence[int], memory: float, operations: float
    ) -> list[Unit]:
        return plan_units(categories, [(layer,) for layer in layers], self.shape, memory, operations)

    def cost(self, unit: Unit) -> Cost:
        return unit_cost(unit, self.shape)

    def question(self) -> dict[str, object]:
        return question(self._search, self._layer, self.shape.compared)

    def untuned(self, device: str) -> Tuning:
        return untuned(self._search, device)

    def tune(self, device: str) -> Tuning:
        from pipeline.scoring.search.tuning import tune

        search, shape = self._search, self.shape
        return tune(search.kind, search.dtype, self._layer.grid, shape.width, shape.compared, device)

    def score(self, of_pass: int, unit: Unit, features: CategoryFeatures, tuning: Tuning, device: str) -> UnitResult:
        import torch

        from pipeline.scoring.musc.mutual import PatchScores, mutual_scores, query_scores
        from pipeline.scoring.search.tuning import make_search

        [layer] = unit.layers

        def tokens(images: Sequence[FeatureRef]) -> Tensor:
            return torch.from_numpy(features.tokens(images, layer)).to(device)

        with torch.inference_mode():
            aggregation = self._aggregation(features, layer, device)
            search = make_search(tuning, device)
            first, second = features.excluded_pairs.T
            inside = (first >= unit.start) & (first < unit.stop)
            excluded = torch.from_numpy(np.stack([first[inside] - unit.start, second[inside]], axis=1)).to(device)
            queries = tokens(features.images[unit.start : unit.stop])
            if unit.whole:
                scores = mutual_scores(queries, aggregation, self._method.interval, search, excluded)
                found = PatchScores(scores, torch.zeros_like(scores))
            else:
                found = query_scores(
                    queries,
                    torch.from_numpy(features.self_index[unit.start : unit.stop]).to(device),
                    ((tokens(refs) for refs in turns) for turns in features.blocks(unit.reference_block)),
                    unit.references,
                    unit.population,
                    aggregation,
                    self._method.interval,
                    search,
                    excluded,
                )
            scores_and_errors: Array = torch.stack([found.scores, found.errors]).cpu().numpy()
            return scores_and_errors

    def join(self, of_pass: int, halves: Sequence[UnitResult]) -> UnitResult:
        return np.concatenate(halves, axis=1)

    def combine(self, parts: Sequence[Array]) -> Array:
        # The layers see the same references; the mean of their errors is the error of their mean at most
        mean: Array = np.mean(parts, axis=0, dtype=np.float32)
        return mean

    def image_scores(self, found: Array, highest: Array) -> NDArray[np.float64]:
        return with_error(found, highest)

    def rescore(self, raw: Scores, embeddings: Callable[[], Array], among: Among | None = None) -> Scores:
        import torch

        from pipeline.scoring.musc.rscin import rscin, rscin_among

        images, windows = torch.from_numpy(embeddings()), self._method.windows
        if among is None:
            scores = rscin(torch.from_numpy(raw), images, windows)
        else:
            references = torch.from_numpy(among.raw), torch.from_numpy(among.embeddings())
            own, bounds = torch.from_numpy(among.own), (among.lowest, among.highest)
            scores = rscin_among(torch.from_numpy(raw), images, *references, own, bounds, windows)
        found: Scores = scores.double().numpy()
        return found

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
        from pipeline.scoring.nearest import explain

        aggregations = {layer: self._aggregation(features, layer, "cpu") for layer in layers}

        def vectors(refs: Sequence[FeatureRef]) -> Iterator[Tensor]:
            for layer in layers:
                tokens = torch.from_numpy(features.tokens(refs, layer))
                yield from (out_of_reach(of, counted(tokens)) for of in aggregations[layer](tokens))

        with torch.inference_mode():
            return explain(patches, images, compared, vectors, block)

    def _aggregation(self, features: CategoryFeatures, layer: int, device: str) -> Aggregation:
        """Return how a layer's tokens become the vectors that are compared; made once for the same features."""
        import torch

        from pipeline.scoring.musc.lnamd import Aggregation
        from pipeline.scoring.musc.projection import pca, random_projection

        method = self._method
        plain = Aggregation(features.grid, method.degrees, method.fuse_degrees)
        if method.projection == "none":
            return plain
        if method.projection == "random":
            return replace(plain, projection=random_projection(self._layer.width, method.projection_width).to(device))
        if self._prepared is None or self._prepared[0] is not features or self._prepared[1] != layer:
            sample = torch.from_numpy(features.tokens(features.references[:FITTED_ON], layer)).to(device)
            vectors = torch.cat([of.flatten(0, 1) for of in plain(sample)])
            vectors = vectors[:: -(-len(vectors) // FITTED_PATCHES)]  # as many as 16 usual images have, evenly
            self._prepared = features, layer, replace(plain, projection=pca(vectors, method.projection_width))
        return self._prepared[2]
