"""Both passes behind the seam: against plain loops in fp64, however a category is cut and whoever is compared."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.plan.units import Members, Shape, Unit
from pipeline.scoring.lakescore import rounds
from pipeline.scoring.lakescore.cleaning import POOLED, clean
from pipeline.scoring.lakescore.scorer import LakeScorer
from pipeline.scoring.musc.lnamd import lnamd
from pipeline.scoring.scorer import CategoryFeatures, FeatureRef, Layer, Tuning, make_scorer
from pipeline.scoring.search.thinned import Thinning

Array = NDArray[Any]
Pairs = Collection[tuple[int, int]]
GRID, WIDTH, LAYERS = (3, 4), 8, (5, 8)
PATCHES = GRID[0] * GRID[1]
LAYER = Layer(GRID, WIDTH, 4, len(LAYERS))
TIGHT = 1e-5
WHOLE = 1e15  # multiply-adds of a unit: the whole category in one


def config(**groups: Any) -> ScoreConfig:
    return ScoreConfig.model_validate({"input": {"uri": "in"}, "output": {"uri": "out"}} | groups)


def tokens(seed: int, images: int, defects: int = 0) -> NDArray[np.float32]:
    """Return tokens (N, L, P, D) of images that are much alike; the last ones have a defect, all of one kind."""
    generator = np.random.default_rng(seed)
    usual = generator.normal(size=(1, len(LAYERS), PATCHES, WIDTH))
    kind = 3 * generator.normal(size=(len(LAYERS), WIDTH))
    found = usual + generator.normal(0, 0.2, (images, len(LAYERS), PATCHES, WIDTH))
    for image in range(images - defects, images):
        found[image, :, generator.integers(PATCHES)] = kind + generator.normal(0, 0.2, WIDTH)
    return found.astype(np.float32)


@dataclass
class Category:
    """Images and references, whose tokens lie in rows of one file."""

    tokens: NDArray[np.float32]
    images: Sequence[int]
    references: Sequence[int]  # rows, in any order, among the images or of earlier nights
    pairs: Pairs = ()
    population: int | None = None
    passes: list[list[Array]] = field(default_factory=list)
    read: list[int] = field(default_factory=list)  # images at a time

    @property
    def mutual(self) -> bool:
        return set(self.references) <= set(self.images)

    @property
    def members(self) -> dict[str, Members]:
        population = len(self.references) if self.population is None else self.population
        return {"nut": Members(len(self.images), len(self.references), population, "d", GRID, self.mutual)}

    @property
    def features(self) -> CategoryFeatures:
        def read(wanted: Sequence[FeatureRef], layer: int) -> Array:
            self.read.append(len(wanted))
            return self.tokens[[row for _, row in wanted], LAYERS.index(layer)]

        place = {row: at for at, row in enumerate(self.references)}
        return CategoryFeatures(
            [("f", row) for row in self.images],
            [("f", row) for row in self.references],
            np.array([place.get(row, -1) for row in self.images]),
            np.array(sorted(self.pairs), np.int64).reshape(-1, 2),
            GRID,
            read,
            lambda of_pass, _: self.passes[of_pass] if of_pass < len(self.passes) else [],
        )

    def scored(self, operations: float = WHOLE, memory: float = 1e9) -> Array:
        """Return scores and errors (2, N, P), by as many units as that makes."""
        scorer, self.passes = make_scorer(config(), LAYER), []
        for of_pass in range(scorer.passes):
            units = scorer.units(of_pass, self.members, LAYERS, memory, operations)
            units = sorted(units, key=lambda unit: unit.start)
            tuning = scorer.untuned("cpu")
            self.passes.append([scorer.score(of_pass, unit, self.features, tuning, "cpu") for unit in units])
        found: Array = np.concatenate(self.passes[1], axis=1)
        return found

    def cut(self, operations: float = 1.0) -> int:
        """Return how many units the last pass has."""
        return len(make_scorer(config(), LAYER).units(1, self.members, LAYERS, 1e9, operations))


def everyone(of: NDArray[np.float32], pairs: Pairs = ()) -> Category:
    return Category(of, range(len(of)), range(len(of)), pairs)


def descriptors(of: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return z (N, P, L * D) of the docstrings, in fp64."""
    parts = []
    for layer in range(of.shape[1]):
        given_tokens = torch.from_numpy(of[:, layer]).double()
        both = (lnamd(given_tokens, GRID, 1).double() + lnamd(given_tokens, GRID, 3).double()).numpy()
        parts.append(both / np.linalg.norm(both, axis=2, keepdims=True))
    found = np.concatenate(parts, axis=2)
    unit: NDArray[np.float64] = found / np.linalg.norm(found, axis=2, keepdims=True)
    return unit


def plain(of: Category) -> Array:
    """Return patch scores (N, P), in loops and fp64: references score each other, those that stay score the images."""
    vectors = descriptors(of.tokens)
    image_of = {row: at for at, row in enumerate(of.images)}

    def compared(row: int, references: Sequence[int]) -> list[int]:
        apart = {of.references[b] for a, b in of.pairs if row in image_of and a == image_of[row]}
        return [other for other in references if other != row and other not in apart]

    def scores(row: int, references: Sequence[int], interval: float) -> Array:
        found = np.zeros(PATCHES)
        for p, patch in enumerate(vectors[row]):
            nearest = sorted(np.linalg.norm(vectors[other] - patch, axis=1).min() for other in references)
            found[p] = np.mean(nearest[: max(1, int(interval * len(nearest)))])
        return found

    count = max(1, round(POOLED * PATCHES))
    first = [np.sort(scores(row, compared(row, of.references), 0.3))[-count:].mean() for row in of.references]
    middle = (len(first) - 1) // 2
    median = sorted(first)[middle]
    deviation = 1.4826 * sorted(abs(score - median) for score in first)[middle]
    choices = [np.array([scores(row, compared(row, of.references), 0.1) for row in of.images])]
    for tolerance in (1, 2):
        enough = max(2, -(-len(first) // 2), sum(score <= median + tolerance * deviation for score in first))
        stay = [of.references[at] for at in np.argsort(first, kind="stable")[:enough]]
        rows = [scores(row, compared(row, stay) or compared(row, of.references), 0.05) for row in of.images]
        choices.append(np.array(rows))
    mean: Array = np.mean(choices, axis=0)
    return mean


@pytest.mark.parametrize("operations", [1.0, WHOLE])
@given(st.integers(0, 999), st.integers(17, 22), st.integers(0, 5))
@settings(max_examples=6)
def test_scores_are_those_of_plain_loops(operations: float, seed: int, images: int, defects: int) -> None:
    of = everyone(tokens(seed, images, defects))
    assert of.cut(operations) == (1 if operations == WHOLE else 2)
    scores, errors = of.scored(operations)
    np.testing.assert_allclose(scores, plain(of), rtol=0, atol=TIGHT)
    assert not errors.any()


@pytest.mark.parametrize("operations", [1.0, WHOLE])
def test_near_duplicates_do_not_vouch_for_each_other(operations: float) -> None:
    images = tokens(1, 20, 2)
    images[4] = images[9]
    pairs = {(4, 9), (9, 4), (0, 19), (19, 0), (18, 19), (19, 18)}
    apart, together = everyone(images, pairs), everyone(images)
    scores, _ = apart.scored(operations)
    np.testing.assert_allclose(scores, plain(apart), rtol=0, atol=TIGHT)
    assert together.scored(operations)[0][4].max() < 1e-3 < scores[4].min()


def test_references_of_earlier_nights_are_compared_and_cleaned_with_the_others() -> None:
    """Two of the earlier ones are defects, with which tonight's defects would else be compared."""
    images = tokens(2, 30, 4)
    order = [0, 1, 2, 28, 29, 3, 20, 21, 22, 26, 27, 23, 24, 25]  # of tonight are 0 to 19, 28 and 29
    of = Category(images, [*range(20), 28, 29], order, {(20, 4), (20, 9), (3, 0), (2, 7)})
    assert not of.mutual
    scores, errors = of.scored()
    np.testing.assert_allclose(scores, plain(of), rtol=0, atol=TIGHT)
    assert not errors.any()
    np.testing.assert_allclose(of.scored(1.0)[0], scores, rtol=0, atol=TIGHT)
    stays = np.isin(of.references, [26, 27, 28, 29], invert=True)
    found = clean(torch.from_numpy(np.concatenate(of.passes[0])), 2.0).numpy()
    assert not found[~stays].any() and found[stays].sum() >= 7


def test_pinned_references_may_be_few() -> None:
    of = Category(tokens(3, 9), range(9), [4, 7])
    for operations in (1.0, WHOLE):
        np.testing.assert_allclose(of.scored(operations)[0], plain(of), rtol=0, atol=TIGHT)


def test_of_a_sample_the_scores_have_errors_and_of_all_images_none() -> None:
    images = tokens(4, 40, 4)
    sample = Category(images, range(40), range(0, 40, 2), population=40)
    scores, errors = sample.scored()
    np.testing.assert_allclose(scores, plain(sample), rtol=0, atol=TIGHT)
    assert (errors > 0).all() and np.isfinite(errors).all()
    np.testing.assert_allclose(sample.scored(1.0)[1], errors, rtol=0, atol=TIGHT)
    whole = replace(sample, population=20)
    assert not whole.scored()[1].any() and np.array_equal(whole.scored()[0], scores)


def test_the_error_is_the_spread_over_samples() -> None:
    images = tokens(5, 120)
    generator = np.random.default_rng(0)
    found = [
        Category(images, range(6), sorted(generator.permutation(np.arange(6, 120))[:40]), population=114).scored()
        for _ in range(40)
    ]
    spread = np.std([scores for scores, _ in found], axis=0)
    told = np.mean([errors for _, errors in found], axis=0)
    assert 0.6 < np.median(told / spread) < 1.8


def test_an_image_none_of_whose_references_stay_is_compared_with_all() -> None:
    """Its near duplicates are all who are likely to be normal: it is compared with those that are not."""
    images = tokens(6, 18, 8)
    normal, defect = range(10), 17
    pairs = {(defect, reference) for reference in normal} | {(defect, reference) for reference in range(10, 14)}
    of = everyone(images, pairs)
    expected = plain(of)
    for operations in (1.0, WHOLE):
        scores, _ = of.scored(operations)
        assert np.isfinite(scores).all()
        np.testing.assert_allclose(scores, expected, rtol=0, atol=TIGHT)


def test_all_may_be_without_a_reference_that_stays() -> None:
    of = Category(tokens(7, 4), range(4), range(4), {(a, b) for a in range(4) for b in range(4) if abs(a - b) > 1})
    expected = plain(of)
    np.testing.assert_allclose(of.scored()[0], expected, rtol=0, atol=TIGHT)


def test_two_images_are_compared_with_each_other() -> None:
    of = everyone(tokens(8, 2))
    scores, errors = of.scored()
    vectors = descriptors(of.tokens)
    distances = np.linalg.norm(vectors[0][:, None] - vectors[1][None], axis=2)
    np.testing.assert_allclose(scores, [distances.min(axis=1), distances.min(axis=0)], rtol=0, atol=TIGHT)
    assert not errors.any()


@pytest.mark.parametrize("operations", [1.0, WHOLE])
def test_permuting_the_images_permutes_the_scores(operations: float) -> None:
    images = tokens(9, 20, 3)
    order = np.random.default_rng(0).permutation(20)
    scores = everyone(images).scored(operations)
    np.testing.assert_allclose(everyone(images[order]).scored(operations), scores[:, order], rtol=0, atol=TIGHT)


def test_defects_of_one_kind_do_not_vouch_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against all images their patches would find their like: two of three choices of the second round leave it out."""
    of = everyone(tokens(10, 30, 6))
    worst = of.scored()[0].max(axis=1)
    monkeypatch.setattr(rounds, "clean", lambda first, _: torch.ones_like(first, dtype=torch.bool))
    vouched = of.scored()[0].max(axis=1)
    assert (worst[24:] >= vouched[24:] - TIGHT).all() and worst[24:].mean() > 1.1 * vouched[24:].mean()
    assert worst[24:].mean() > 1.5 * worst[:24].mean()


def test_references_are_read_in_blocks_and_the_whole_category_once() -> None:
    of = everyone(tokens(11, 20))
    unit = Unit("nut", LAYERS, 0, 7, 20, 20, 20, *GRID, 3, "d")
    scorer = make_scorer(config(), LAYER)
    expected = of.scored()
    assert of.read == [20] * len(LAYERS)  # no first pass, and each layer once
    of.read.clear()
    part = scorer.score(1, unit, of.features, scorer.untuned("cpu"), "cpu")  # nobody did a first pass
    assert max(of.read) == 7
    np.testing.assert_allclose(part, expected[:, :7], rtol=0, atol=TIGHT)


def test_a_category_that_one_unit_holds_has_no_first_pass() -> None:
    scorer = make_scorer(config(), LAYER)
    small, large = Members(9, 9, 9, "s", GRID), Members(3000, 400, 3000, "l", GRID)
    categories = {"small": small, "large": large, "window": Members(5, 40, 40, "w", GRID, mutual=False)}
    first = scorer.units(0, categories, LAYERS, 1e9, 1e9)
    second = scorer.units(1, categories, LAYERS, 1e9, 1e9)
    assert {unit.category for unit in first} == {"large", "window"}
    assert {unit.category for unit in second} == set(categories)
    for name, total in (("large", 400), ("window", 40)):
        spans = sorted((unit.start, unit.stop) for unit in first if unit.category == name)
        assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])] and spans[-1][1] == total
        assert not any(unit.whole for unit in first)
        assert {unit.references for unit in first if unit.category == name} == {total}
    assert all(unit.layers == LAYERS for unit in [*first, *second])


@pytest.mark.parametrize("stored", [2, 4])
def test_what_is_compared_is_one_vector_of_all_layers(stored: int) -> None:
    scorer = LakeScorer(config(), Layer((3, 4), 32, stored, 2))
    assert scorer.shape == Shape(64, stored, 2, comparisons=1, compared=64)
    assert scorer.question()["compared"] == 64


@pytest.mark.parametrize("of_pass", [0, 1])
def test_halves_are_joined_to_what_the_whole_part_finds(of_pass: int) -> None:
    of = everyone(tokens(12, 20, 2))
    of.scored(1.0)
    scorer, tuning = make_scorer(config(), LAYER), Tuning("gemm", 1024, 1e9, 1e9, "fp32")
    part = Unit("nut", LAYERS, 0, 11, 20, 20, 20, *GRID, 4, "d")
    one, *halves = (
        scorer.score(of_pass, unit, of.features, tuning, "cpu")
        for unit in (part, replace(part, stop=5), replace(part, start=5))
    )
    assert one.shape == ((11,) if of_pass == 0 else (2, 11, PATCHES))
    np.testing.assert_allclose(scorer.join(of_pass, halves), one, rtol=0, atol=TIGHT)


def test_an_images_score_and_error_are_means_over_its_worst_patches() -> None:
    patches = 300
    generator = np.random.default_rng(0)
    found = generator.uniform(size=(2, 4, patches)).astype(np.float32)
    layer = replace(LAYER, grid=(15, 20))
    scores, errors = make_scorer(config(), layer).image_scores(found, np.empty(4, np.float32))
    for image in range(4):
        worst = np.argsort(found[0, image])[-3:]
        assert scores[image] == pytest.approx(found[0, image, worst].mean(), rel=1e-6)
        assert errors[image] == pytest.approx(found[1, image, worst].mean(), rel=1e-6)
    assert scores.dtype == np.float64


def test_a_few_patches_stand_out_of_an_image_with_many_more_than_usual() -> None:
    found = np.zeros((2, 2, 100 * PATCHES), np.float32)
    found[0, 0, 7] = 1.0
    scores, _ = make_scorer(config(), LAYER).image_scores(found, np.empty(2, np.float32))
    assert scores.tolist() == [1.0, 0.0]


def test_raw_scores_are_final_and_layers_are_not_averaged() -> None:
    scorer = make_scorer(config(), LAYER)
    found = np.ones((2, 3, PATCHES), np.float32)
    assert scorer.rescore(np.ones(3), pytest.fail) is None  # and reads no embeddings
    assert scorer.combine([found]) is found


def test_evidence_is_the_patch_that_is_nearest_by_the_compared_vectors() -> None:
    of = everyone(tokens(13, 9))
    patches, compared = np.array([[2, 0], [7, 11]]), [0, 1, 4, 8]
    refs = [("f", row) for row in compared]
    matches = make_scorer(config(), LAYER).explain(patches, [("f", 3), ("f", 5)], refs, of.features, LAYERS, block=1)
    vectors = descriptors(of.tokens)
    for at, (row, patch) in enumerate(((3, 2), (3, 0), (5, 7), (5, 11))):
        distances = np.linalg.norm(vectors[compared] - vectors[row, patch], axis=2)
        np.testing.assert_allclose(matches.distances[at], distances.min(axis=1), rtol=0, atol=TIGHT)
        np.testing.assert_array_equal(matches.patches[at], distances.argmin(axis=1))


def test_where_the_camera_was_moved_the_reach_is_longer_than_among_references_alone() -> None:
    """Alike places of all references lie at the same patch, those of tonight's images three patches further."""
    generator = np.random.default_rng(0)
    places = generator.normal(size=(1, 1, 16, 16, WIDTH))
    still = np.broadcast_to(places, (12, len(LAYERS), 16, 16, WIDTH)) + generator.normal(
        0, 0.05, (12, 2, 16, 16, WIDTH)
    )
    moved = np.roll(still[:6], 3, axis=3)
    everything = np.concatenate([still, moved]).reshape(18, len(LAYERS), 256, WIDTH).astype(np.float32)
    refs: list[FeatureRef] = [("f", row) for row in range(18)]
    scorer = make_scorer(config(), Layer((16, 16), WIDTH, 4, len(LAYERS)))

    def reach(images: Sequence[int]) -> int | None:
        features = CategoryFeatures(
            [refs[row] for row in images],
            refs[:12],
            np.full(len(images), -1),
            np.empty((0, 2), np.int64),
            (16, 16),
            lambda wanted, layer: everything[[row for _, row in wanted], LAYERS.index(layer)],
            lambda of_pass, unit: [],
        )
        return scorer.reach(features, LAYERS).radius

    assert reach(range(6)) == 1
    found = reach(range(12, 18))
    assert found is None or found >= 3


# references that are turned, thinned, or the nearest


def by_distances(distances: Array, own: Sequence[int], interval: float, stay: Collection[int]) -> Array:
    """Return patch scores (N, P) by distances (N, P, R) to references, of those that stay; inf does not count."""
    found = np.zeros(distances.shape[:2])
    for image, rows in enumerate(distances):
        compared = [r for r in stay if r != own[image] and np.isfinite(rows[0, r])]
        compared = compared or [r for r in range(rows.shape[1]) if r != own[image] and np.isfinite(rows[0, r])]
        nearest = np.sort(rows[:, compared], axis=1)
        found[image] = nearest[:, : max(1, int(interval * len(compared)))].mean(axis=1)
    return found


def brute(distances: Array, own: Sequence[int], of_references: Array) -> Array:
    """Return what both rounds make of distances (N, P, R) of images and (R, P, R) of references, in fp64."""
    count, every = max(1, round(POOLED * PATCHES)), range(distances.shape[2])
    first = np.sort(by_distances(of_references, list(every), 0.3, every), axis=1)[:, -count:].mean(axis=1)
    stays = [clean(torch.from_numpy(first), tolerance).nonzero().flatten().tolist() for tolerance in (1.0, 2.0)]
    rounds_ = [by_distances(distances, own, 0.1, every), *(by_distances(distances, own, 0.05, of) for of in stays)]
    mean: Array = np.mean(rounds_, axis=0)
    return mean


def nearest_patches(left: Array, right: Array, kept: Sequence[int] | slice = slice(None)) -> Array:
    """Return distances (A, P, B) of patches (A, P, C) to the nearest of some patches of each of (B, P, C)."""
    found: Array = np.linalg.norm(left[:, :, None, None] - right[None, None, :, kept], axis=4).min(axis=3)
    return found


def score_of(
    features: CategoryFeatures, references: dict[str, Any], members: Members, operations: float
) -> tuple[Array, list[Unit]]:
    """Return patch scores and errors (2, N, P) by units that hold so many operations, and the last pass's units."""
    scorer, passes = make_scorer(config(references=references), LAYER), list[list[Array]]()
    features = replace(features, earlier=lambda of_pass, _: passes[of_pass] if of_pass < len(passes) else [])
    units = list[Unit]()
    for of_pass in range(scorer.passes):
        units = scorer.units(of_pass, {"nut": members}, LAYERS, 1e9, operations)
        units = sorted(units, key=lambda unit: unit.start)
        passes.append([scorer.score(of_pass, unit, features, scorer.untuned("cpu"), "cpu") for unit in units])
    return np.concatenate(passes[1], axis=1), units


@pytest.mark.parametrize("operations", [1.0, WHOLE])
@pytest.mark.parametrize("turns", [4, 8])
def test_the_nearest_of_all_turns_of_a_reference_counts(turns: int, operations: float) -> None:
    images, generator = tokens(20, 20, 2), np.random.default_rng(0)
    others = [(images + generator.normal(0, 0.1, images.shape)).astype(np.float32) for _ in range(1, turns)]
    everything = np.concatenate([images, *others])
    category = everyone(everything)
    refs = [("f", row) for row in range(len(everything))]
    own = list(range(20))
    features = replace(
        category.features,
        images=refs[:20],
        references=refs[:20],
        self_index=np.arange(20),
        turned=[refs[20 * turn : 20 * turn + 20] for turn in range(1, turns)],
    )
    members = Members(20, 20, 20, "d", GRID, turns=turns, thin=1)
    found, units = score_of(features, {"turns": turns}, members, operations)
    assert not any(unit.whole for unit in units)  # pairs of a turned image are none the other way round
    vectors = descriptors(everything)
    parts = [nearest_patches(vectors[:20], vectors[20 * turn : 20 * turn + 20]) for turn in range(turns)]
    distances = np.min(parts, axis=0)
    np.testing.assert_allclose(found[0], brute(distances, own, distances), rtol=0, atol=TIGHT)
    assert (distances < parts[0]).mean() > 0.1  # it makes a difference


@pytest.mark.parametrize("operations", [1.0, WHOLE])
def test_an_image_is_compared_with_its_nearest_references_only(operations: float) -> None:
    images = tokens(21, 20, 2)
    generator = np.random.default_rng(0)
    places = [sorted(generator.permutation([r for r in range(20) if r != n])[:6].tolist()) for n in range(20)]
    places[3] = [*places[3][:4], -1, -1]  # of few that are allowed
    nearest = np.array(places, np.int32)
    features = replace(everyone(images).features, nearest=nearest, nearest_of_references=nearest)
    members = Members(20, 20, 20, "d", GRID, nearest=6)
    found, units = score_of(features, {"mode": "nearest", "count": 6}, members, operations)
    assert not any(unit.whole for unit in units)
    vectors = descriptors(images)
    distances = nearest_patches(vectors, vectors)
    for image, of in enumerate(places):
        distances[image, :, [r for r in range(20) if r not in of]] = np.inf
    np.testing.assert_allclose(found[0], brute(distances, range(20), distances), rtol=0, atol=TIGHT)
    assert np.isnan(found[1]).all()  # nobody knows the error of a choice by likeness


@pytest.mark.parametrize("operations", [1.0, WHOLE])
def test_of_references_every_second_row_and_column_is_compared_with(operations: float) -> None:
    images = tokens(22, 20, 2)
    members = Members(20, 20, 20, "d", GRID, thin=2)
    found, units = score_of(everyone(images).features, {"thin": 2}, members, operations)
    assert not any(unit.whole for unit in units)
    vectors = descriptors(images)
    distances = np.empty((20, vectors.shape[1], 20))
    for reference in range(20):  # which rows and columns they are differs from one to the next
        [(_, kept)] = Thinning(GRID, 2).parts(reference, 1)
        distances[:, :, [reference]] = nearest_patches(vectors, vectors[[reference]], kept.tolist())
    np.testing.assert_allclose(found[0], brute(distances, range(20), distances), rtol=0, atol=TIGHT)


@pytest.mark.parametrize(("references", "reach"), [({"turns": 4}, (None, 1, 1.0)), ({"thin": 3}, (None, 3, 1 / 9))])
def test_where_parts_lie_anyhow_the_whole_image_is_searched(references: dict[str, Any], reach: Any) -> None:
    found = make_scorer(config(references=references), Layer((16, 16), 8, 4, 2)).usual_reach((16, 16))
    assert (found.radius, found.thin, found.products) == pytest.approx(reach)
