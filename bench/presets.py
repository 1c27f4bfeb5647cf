"""What the default method costs beside the paper: products, and seconds of mutual scoring, on real images.

    python -m bench.presets

The sample's brick at three sizes, encoded by its ViT-S/14. Each preset scores the category as a run does, one unit for
each layer or for all of them, both in turns.
"""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from bench.report import Cell, Report, interleaved, start
from bench.sets import Set, sample_set
from pipeline.config import ScoreConfig
from pipeline.plan.cost import Cost
from pipeline.plan.units import Members, Unit
from pipeline.scoring.scorer import CategoryFeatures, FeatureRef, Layer, Scorer, make_scorer
from pipeline.stages.reach import within

MEMORY, OPERATIONS = 8e9, 1e18  # one unit holds the category
SPEED_AIM, PRODUCTS_AIM = 15.0, 20.0
STORED = {"paper": (0, 1, 2, 3), "lakescore": (1, 2)}  # of the four layers of a set


@dataclass(frozen=True)
class Sizes:
    """Pixels a side with the number of images, and rounds of timing."""

    images: tuple[tuple[int, int], ...]
    rounds: int


FULL = Sizes(((224, 40), (336, 24), (518, 10)), 3)
TOY = Sizes(((56, 4),), 1)


def main(report: Report, sizes: Sizes) -> None:
    report.title("The default method beside the paper, one category, all with all")
    rows: list[list[Cell]] = []
    speed, saved = list[float](), list[float]()
    for side, count in sizes.images:
        presets = {name: Preset.of(name, sample_set("brick", side, count)) for name in STORED}
        seconds = interleaved({name: preset.score for name, preset in presets.items()}, sizes.rounds)
        for name, preset in presets.items():
            radius = preset.units[0].radius
            where = "whole" if radius is None else radius
            rows.append([side, count, name, where, preset.cost.products, preset.cost.aggregated, seconds[name]])
        speed.append(seconds["paper"] / seconds["lakescore"])
        saved.append(presets["paper"].cost.products / presets["lakescore"].cost.products)
        report.figure(f"mutual scoring against the paper, {side} pixels", speed[-1], SPEED_AIM, "x")
        aim = PRODUCTS_AIM if side == max(of for of, _ in sizes.images) else None
        report.figure(f"products of the paper over ours, {side} pixels", saved[-1], aim, "x")
    columns = ["pixels", "images", "preset", "radius", "products", "averaged values", "seconds"]
    report.table("Scoring of a category", columns, rows)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        sides = [str(side) for side, _ in sizes.images]
        axes.plot(sides, speed, "o-", label="seconds")
        axes.plot(sides, saved, "o-", label="products")
        axes.set(xlabel="pixels a side", ylabel="of the paper, times ours")
        axes.legend()

    report.save(draw)


@dataclass(frozen=True)
class Preset:
    """A preset's scorer, its units for a category, and what they read."""

    scorer: Scorer
    units: list[Unit]
    features: CategoryFeatures

    @classmethod
    def of(cls, name: str, category: Set) -> "Preset":
        """Plan a category as a run does."""
        settings = {"input": {"uri": "in"}, "output": {"uri": "out"}, "method": {"preset": name}}
        scorer = make_scorer(ScoreConfig.model_validate(settings), _layer(category, len(STORED[name])))
        features = _features(category)
        reach = scorer.reach(features, STORED[name])
        count = len(category.tokens)
        members = within({"brick": Members(count, count, count, "", category.grid)}, {"brick": reach})
        return cls(scorer, scorer.units(scorer.passes - 1, members, STORED[name], MEMORY, OPERATIONS), features)

    @property
    def cost(self) -> Cost:
        return sum(map(self.scorer.cost, self.units), Cost())

    def score(self) -> None:
        """Score all units."""
        for unit in self.units:
            self.scorer.score(self.scorer.passes - 1, unit, self.features, self.scorer.untuned("cpu"), "cpu")


def _layer(category: Set, count: int) -> Layer:
    return Layer(category.grid, category.tokens.shape[3], 2, count)


def _features(category: Set) -> CategoryFeatures:
    refs: list[FeatureRef] = [("f", row) for row in range(len(category.tokens))]
    tokens = category.tokens.to(torch.float16).numpy()
    return CategoryFeatures(
        refs,
        refs,
        np.arange(len(refs)),
        np.empty((0, 2), np.int64),
        category.grid,
        lambda wanted, layer: tokens[[row for _, row in wanted], layer],
        lambda of_pass, unit: [],
    )


if __name__ == "__main__":
    start(main, FULL, TOY)
