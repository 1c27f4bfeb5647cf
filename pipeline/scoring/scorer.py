"""The seam for methods: all that a run asks of the one that scores its patches.

A method is a module with a class that is a `Scorer`, and a line in METHODS. The driver plans with it, and imports no
torch for that: what computes is imported where it is called, in a worker.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.plan.cost import Cost
from pipeline.plan.units import Members, Reach, Unit

Array = NDArray[np.float32]
Scores = NDArray[np.float64]
UnitResult = NDArray[np.floating]  # of a unit of any pass
FeatureRef = tuple[str, int]  # where an image's features lie: a file of the store, and a row in it

# Patch scores of all methods lie in 0 to LARGEST, so that maps, thresholds and reports have one scale. It is the
# longest distance of two vectors of length 1.
LARGEST = 2.0

METHODS = {
    "lakescore": "pipeline.scoring.lakescore.scorer:LakeScorer",
    "paper": "pipeline.scoring.musc.scorer:MuscScorer",
    "subspace": "pipeline.scoring.subspace:SubspaceScorer",
}


@dataclass(frozen=True)
class Layer:
    """The layers of an image's tokens: `grid` (H, W) in patches, `width` D values of `bytes` each in memory.

    `grid` is the usual one: images of a category may have another. `count` is the number of layers that are stored.
    """

    grid: tuple[int, int]
    width: int
    bytes: int
    count: int = 1

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class Tuning:
    """Which way of computing is the fastest on a worker, and what it does there in a second.

    `products` are multiply-adds, `aggregated` values of an average over 3 x 3 patches. `dtype` is the precision of the
    products. `near_tile` is that of the fused search within a radius, 0 where another one is faster.
    """

    kind: str
    tile: int
    products: float
    aggregated: float
    dtype: str
    near_tile: int = 0


@dataclass(frozen=True)
class CategoryFeatures:
    """The features of a category.

    Attributes:
        images: of the N encoded images of the run, in the order of a unit's positions.
        references: of the R images that they are compared with.
        self_index: (N,) place of each image among the references, -1 where it is none of them.
        excluded_pairs: (K, 2) an image and a reference that are not compared.
        grid: (H, W) in patches, which holds those of all of them.
        tokens: reads a layer of some images, (n, P, D). Patches that do not count, and those that the grid has beyond
            an image's own, are NaN.
        turned: for each turn but the first, where the features of the R references lie when they are seen turned.
        nearest: (N, K) places of the references that each image is compared with, -1 for none; None: with all.
        nearest_of_references: the same of each reference (R, K).
        earlier: returns the results of an earlier pass, first pass 0, of the units with category and layers of a unit.
    """

    images: Sequence[FeatureRef]
    references: Sequence[FeatureRef]
    self_index: NDArray[np.int64]
    excluded_pairs: NDArray[np.int64]
    grid: tuple[int, int]
    tokens: Callable[[Sequence[FeatureRef], int], NDArray[np.floating]]
    earlier: Callable[[int, Unit], list[UnitResult]]
    turned: Sequence[Sequence[FeatureRef]] = ()
    nearest: NDArray[np.int32] | None = None
    nearest_of_references: NDArray[np.int32] | None = None

    def blocks(self, step: int) -> Iterator[tuple[Sequence[FeatureRef], ...]]:
        """Yield the references, so many at a time: as they are, and as they are seen turned."""
        for start in range(0, len(self.references), step):
            yield tuple(of[start : start + step] for of in (self.references, *self.turned))


@dataclass(frozen=True)
class Matches:
    """Distances (K, R) of patches to reference images, and `patches` (K, R), the nearest one in each."""

    distances: Array
    patches: NDArray[np.int64]

    def nearest(self, patch: int, count: int) -> list[tuple[int, int, float]]:
        """Return the `count` nearest images to a patch, nearest first: place, the patch there, and the distance.

        Images that do not count have the distance inf, and are left out.
        """
        distances = self.distances[patch]
        return [
            (int(image), int(self.patches[patch, image]), float(distances[image]))
            for image in np.argsort(distances, kind="stable")[:count]
            if np.isfinite(distances[image])
        ]


@dataclass(frozen=True)
class Among:
    """The references of a category with too many images to be re-scored by each other.

    Attributes:
        own: (N,) place of each image that is re-scored among them, -1 where it is none.
        raw: (R,) their raw scores.
        embeddings: reads theirs (R, E).
        lowest: the lowest raw score of the whole category and of the references.
        highest: the highest one.
    """

    own: NDArray[np.int64]
    raw: Scores
    embeddings: Callable[[], Array]
    lowest: float
    highest: float


class Scorer(Protocol):
    """A method of scoring, made of the settings of a run and of what its encoder gives.

    `passes` of units follow each other: a unit sees all that the passes before found of its category and layers, so
    what is known of every image may choose what the next pass compares with. The last one makes the patch scores.
    """

    passes: int

    def __init__(self, config: ScoreConfig, layer: Layer) -> None:
        """Raises `ConfigError` where the settings do not fit the encoder."""

    def usual_reach(self, grid: tuple[int, int]) -> Reach:
        """Return what a plan takes for the reach of a category of this grid (H, W) before it is known."""

    def reach(self, features: CategoryFeatures, layers: Sequence[int]) -> Reach:
        """Find out where the nearest patches of a category are looked for."""

    def units(
        self, of_pass: int, categories: Mapping[str, Members], layers: Sequence[int], memory: float, operations: float
    ) -> list[Unit]:
        """Cut a pass into units, the longest first.

        Args:
            of_pass: its number, from 0.
            categories: the encoded images of each, and their references.
            layers: the encoder's blocks. A unit takes one of them or several.
            memory: bytes that a worker may hold.
            operations: multiply-adds of one unit, about.

        Raises:
            ConfigError: when the memory is too small.
        """

    def cost(self, unit: Unit) -> Cost:
        """Return what a unit costs."""

    def untuned(self, device: str) -> Tuning:
        """Return what is taken where measuring would cost more than it gains."""

    def tune(self, device: str) -> Tuning:
        """Measure on this worker."""

    def question(self) -> dict[str, object]:
        """Return what the answer of `tune` depends on beside the worker, as JSON."""

    def score(self, of_pass: int, unit: Unit, features: CategoryFeatures, tuning: Tuning, device: str) -> UnitResult:
        """Return the result of a unit of a pass: of the last one (2, A, P), patch scores and their standard errors.

        Those of patches that do not count are 0. Standard errors that are not known are NaN.

        Where memory runs out, the error of the allocator is raised, and the caller scores halves of the unit and joins
        them.
        """

    def join(self, of_pass: int, halves: Sequence[UnitResult]) -> UnitResult:
        """Return the result of a unit of a pass, of those of its first and its second half."""

    def combine(self, parts: Sequence[Array]) -> Array:
        """Return patch scores and errors (2, B, P) of images, of those that units of other layers found (2, B, P)."""

    def image_scores(self, found: Array, highest: Array) -> NDArray[np.float64]:
        """Return score and standard error (2, B) of images.

        Args:
            found: what was combined (2, B, P), of the patches that count.
            highest: the largest value of each image's map (B,).
        """

    def rescore(self, raw: Scores, embeddings: Callable[[], Array], among: Among | None = None) -> Scores | None:
        """Return final scores (N,) of a category's images, or None where the raw scores are final.

        Args:
            raw: their scores (N,).
            embeddings: reads theirs (N, E).
            among: the images that they are re-scored by; None: by each other.
        """

    def explain(
        self,
        patches: NDArray[np.int64],
        images: Sequence[FeatureRef],
        compared: Sequence[FeatureRef],
        features: CategoryFeatures,
        layers: Sequence[int],
        block: int,
    ) -> Matches:
        """Say which patches of other images stand behind the scores of some patches.

        Args:
            patches: (A, K) of each of A images.
            images: where the features of the A images lie.
            compared: R references that are looked at.
            features: of the category.
            layers: the encoder's blocks.
            block: images that may be held at a time.

        Returns:
            of the A * K patches, those of the first image first.
        """


def own_places(positions: NDArray[np.int64], images: int) -> NDArray[np.int64]:
    """Return the place of each of so many images among references, by their positions (R,), -1 where it is none."""
    found = np.full(images, -1)
    found[positions[positions >= 0]] = np.flatnonzero(positions >= 0)
    return found


def pairs_of_references(own: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of pairs (K, 2) of an image and a reference in which both are references, by places among these.

    `own` has the place of each image among the references, -1 where it is none of them.
    """
    found = np.stack([own[pairs[:, 0]], pairs[:, 1]], axis=1)
    return found[found[:, 0] >= 0]


def with_error(found: Array, highest: Array) -> NDArray[np.float64]:
    """Return the largest value of each map, and the standard error of the highest patch score (2, B)."""
    scores, errors = found
    at_worst = np.take_along_axis(errors, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.stack([highest, at_worst]).astype(np.float64)


def make_scorer(config: ScoreConfig, layer: Layer) -> Scorer:
    """Return the scorer that the settings name; raises `ConfigError` where they do not fit the encoder."""
    module, _, name = METHODS[config.method.preset].partition(":")
    kind = cast(type[Scorer], getattr(import_module(module), name))
    return kind(config, layer)
