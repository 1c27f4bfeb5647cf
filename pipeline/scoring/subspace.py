"""A subspace for each category and layer: what normal patches do not span is anomalous.

Mean and covariance of all patches of the references are streamed, in a first pass. The components that hold a share of
the variance are what patches of the category look like; a patch's score is the length of what is left of it outside of
them. Time grows with the images, and memory with the square of the width. After SubspaceAD (CLendering/SubspaceAD),
which fits few normal images; here all are unlabelled, and defects, being few, hardly turn the components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.plan.cost import Cost
from pipeline.plan.units import Members, Reach, Unit
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

if TYPE_CHECKING:
    from torch import Tensor

PRODUCTS = {"cpu": 5e10, "cuda": 5e12}  # multiply-adds a second of modest machines


class SubspaceScorer:
    """Scores a patch by its distance from the subspace that most of the variance of its category lies in."""

    passes = 2

    def __init__(self, config: ScoreConfig, layer: Layer) -> None:
        self._variance, self._layer = config.method.variance, layer
        self._fitted: tuple[object, tuple[int, ...], Tensor, Tensor] | None = (
            None  # features, layers, mean (D,), components (D, k)
        )

    def usual_reach(self, grid: tuple[int, int]) -> Reach:
        return Reach()

    def reach(self, features: CategoryFeatures, layers: Sequence[int]) -> Reach:
        return Reach()

    def units(
        self, of_pass: int, categories: Mapping[str, Members], layers: Sequence[int], memory: float, operations: float
    ) -> list[Unit]:
        square = 8 * self._layer.width**2
        found = []
        for category, members in categories.items():
            image = members.patches * self._layer.width
            # a unit holds one image at a time in fp32 with a temporary, and some squares of the width
            if 3 * square + image * (self._layer.bytes + 12) > memory:
                raise ConfigError(
                    f"search.memory_gb {memory / 1e9:g} is too small for category {category!r}: tokens of "
                    f"{self._layer.width} values need {(3 * square + image * (self._layer.bytes + 12)) / 1e9:.3g} GB"
                )
            total = members.references if of_pass == 0 else members.total
            step = max(1, int(operations // (image * self._layer.width)))
            found += [
                Unit(
                    category,
                    (layer,),
                    start,
                    min(start + step, total),
                    total,
                    members.references,
                    members.population,
                    *members.grid,
                    1,
                    members.digest,
                    members.mutual,
                )
                for layer in layers
                for start in range(0, total, step)
            ]
        return sorted(found, key=lambda unit: unit.stop - unit.start, reverse=True)

    def cost(self, unit: Unit) -> Cost:
        values = (unit.stop - unit.start) * unit.patches * self._layer.width
        return Cost(products=values * self._layer.width, read=values * self._layer.bytes)

    def question(self) -> dict[str, object]:
        return {"method": "subspace", "width": self._layer.width}

    def untuned(self, device: str) -> Tuning:
        return Tuning("gemm", 0, PRODUCTS[device], PRODUCTS[device] / 1e3, "fp32")

    def tune(self, device: str) -> Tuning:
        return self.untuned(device)  # there is one way only

    def score(self, of_pass: int, unit: Unit, features: CategoryFeatures, tuning: Tuning, device: str) -> UnitResult:
        import torch

        [layer] = unit.layers
        with torch.inference_mode():
            if of_pass == 0:
                return self._moments(features, features.references[unit.start : unit.stop], layer, device)
            mean, components = self._subspace(features, unit, device)
            residuals = [
                torch.linalg.vector_norm(centred - centred @ components @ components.T, dim=1)
                for vectors in self._vectors(features, features.images[unit.start : unit.stop], layer, device)
                for centred in [vectors - mean]
            ]
            scores: Array = torch.stack(residuals).float().nan_to_num_(0).cpu().numpy()  # NaN: it does not count
            sampled = unit.population > unit.references
            return np.stack([scores, np.full_like(scores, np.nan if sampled else 0)])

    def join(self, of_pass: int, halves: Sequence[UnitResult]) -> UnitResult:
        return np.sum(halves, axis=0) if of_pass == 0 else np.concatenate(halves, axis=1)  # of moments, and of scores

    def combine(self, parts: Sequence[Array]) -> Array:
        mean: Array = np.mean(parts, axis=0, dtype=np.float32)
        return mean

    def image_scores(self, found: Array, highest: Array) -> NDArray[np.float64]:
        return with_error(found, highest)

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
        """Return the patches of other images that look most alike: the score is not made of them, but they show it."""
        import torch

        from pipeline.scoring.counted import counted, out_of_reach
        from pipeline.scoring.nearest import explain

        def vectors(refs: Sequence[FeatureRef]) -> Iterator[Tensor]:
            for layer in layers:
                of_layer = torch.stack(list(self._vectors(features, refs, layer, "cpu")))
                yield out_of_reach(of_layer, counted(of_layer))

        with torch.inference_mode():
            return explain(patches, images, compared, vectors, block)

    def _vectors(
        self, features: CategoryFeatures, images: Sequence[FeatureRef], layer: int, device: str
    ) -> Iterator[Tensor]:
        """Yield the patches (P, D) of images, one by one, of length 1: so are residuals at most 2."""
        import torch
        import torch.nn.functional as F

        for image in images:
            yield F.normalize(torch.from_numpy(features.tokens([image], layer)[0]).to(device).float(), dim=1)

    def _moments(self, features: CategoryFeatures, images: Sequence[FeatureRef], layer: int, device: str) -> UnitResult:
        """Return (D + 2, D), fp64: the products of images' vectors, their sum, and their number in the last row."""
        import torch

        width = self._layer.width
        total = torch.zeros((width + 2, width), dtype=torch.float64, device=device)
        for of_image in self._vectors(features, images, layer, device):
            vectors = of_image[~of_image[:, 0].isnan()]  # those that count
            total[:width] += vectors.T @ vectors  # of one image in fp32, of all in fp64
            total[width] += vectors.sum(dim=0, dtype=torch.float64)
            total[width + 1] += len(vectors)
        found: UnitResult = total.cpu().numpy()
        return found

    def _subspace(self, features: CategoryFeatures, unit: Unit, device: str) -> tuple[Tensor, Tensor]:
        """Return mean (D,) and components (D, k) of a category's references, made once for the same features."""
        import torch

        if self._fitted is None or self._fitted[0] is not features or self._fitted[1] != unit.layers:
            width = self._layer.width
            total = torch.from_numpy(np.sum(features.earlier(0, unit), axis=0))
            mean = total[width] / total[width + 1, 0]
            values, axes = torch.linalg.eigh(total[:width] / total[width + 1, 0] - torch.outer(mean, mean))  # rising
            held = values.clamp(min=0).flip(0).cumsum(0)
            count = int((held < self._variance * held[-1]).sum()) + 1
            self._fitted = features, unit.layers, mean.float().to(device), axes[:, -count:].float().to(device)
        return self._fitted[2], self._fitted[3]
