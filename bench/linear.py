"""The cost of a lake that grows: seconds, peak memory and tokens read of scoring, by preset, references fixed or all.

    python -m bench.linear

Features are synthetic and are written to a feature store; units are planned and scored as a run does it, one after the
other in a process of its own for each size, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.processes import Processes, peak_memory
from bench.report import Report, start
from bench.stages import feature_rows, score_here, write_lists
from pipeline.config import ScoreConfig
from pipeline.io.storage import Location
from pipeline.plan.cost import Cost
from pipeline.plan.sampling import choose_references
from pipeline.plan.units import UNIT_OPERATIONS, Members
from pipeline.scoring.scorer import make_scorer
from pipeline.stages.reach import within
from pipeline.stages.score import layer_of, lists_of
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYERS = {"paper": (0, 1, 2, 3), "lakescore": (1, 2), "subspace": (0, 1, 2, 3)}
MEMORY_GB = 0.3
EXPONENT_AIM, MEMORY_AIM = 1.1, 15.0
BLOCK = 32


@dataclass(frozen=True)
class Sizes:
    """Patches of an image and values of a patch; images of the category, those scored all by all, and references.

    `apart`: each size in a process of its own, or all in one.
    """

    grid: tuple[int, int]
    width: int
    images: tuple[int, ...]
    images_all: tuple[int, ...]
    references: int
    apart: bool

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]


FULL = Sizes((10, 10), 64, (200, 400, 800, 1600, 3200), (200, 400), references=64, apart=True)
TOY = Sizes((3, 3), 8, (6, 12), (6, 12), references=3, apart=False)


@dataclass(frozen=True)
class Case:
    """One category and how it is scored, below `root`."""

    root: str
    sizes: Sizes
    preset: Literal["paper", "lakescore", "subspace"]
    mode: Literal["sample", "all"]
    images: int

    @property
    def run(self) -> RunFolder:
        return RunFolder(Location.parse(self.root) / "out", f"{self.preset}-{self.mode}-{self.images}")

    @property
    def config(self) -> ScoreConfig:
        output = str(Path(self.root) / "out")
        method = {"preset": self.preset}
        return ScoreConfig.model_validate({"input": {"uri": self.root}, "output": {"uri": output}, "method": method})


@dataclass(frozen=True)
class Row:
    """What a case took, as the table shows it; memory in MB."""

    preset: str
    references: str
    images: int
    units: int
    products: float
    gigabytes: float
    seconds: float
    worker: float
    driver: float


def main(report: Report, sizes: Sizes) -> None:
    report.title(f"A lake that grows, {sizes.grid[0]} x {sizes.grid[1]} patches of {sizes.width} values")
    with tempfile.TemporaryDirectory() as root, Processes(sizes.apart) as call:
        write_features(root, sizes)
        sampled = [measure(call, Case(root, sizes, "lakescore", "sample", images)) for images in sizes.images]
        paper = [measure(call, Case(root, sizes, "paper", "sample", images)) for images in sizes.images]
        full = [measure(call, Case(root, sizes, "lakescore", "all", images)) for images in sizes.images_all]
        full_paper = [measure(call, Case(root, sizes, "paper", "all", images)) for images in sizes.images_all]
        subspace = [measure(call, Case(root, sizes, "subspace", "all", images)) for images in sizes.images]
    columns = ["preset", "references", "images", "units", "multiply-adds", "GB read", "seconds", "peak MB", "driver MB"]
    name = f"Scoring, {sizes.references} references or all, {MEMORY_GB:g} GB for a worker"
    report.table(name, columns, [astuple(row) for row in sampled + paper + full + full_paper + subspace])
    report.figure(f"exponent of time, {sizes.references} references", exponent(sampled), EXPONENT_AIM, most=True)
    report.figure(f"exponent of time, paper, {sizes.references} references", exponent(paper), EXPONENT_AIM, most=True)
    report.figure("exponent of time, all references", exponent(full))
    for ours, theirs, what in (
        (sampled, paper, f"{sizes.references} references"),
        (full, full_paper, "all references"),
    ):
        for place in (0, -1):
            name = f"lakescore against paper, {ours[place].images} images, {what}"
            report.figure(f"{name}: products", ours[place].products / theirs[place].products)
            report.figure(f"{name}: seconds", ours[place].seconds / theirs[place].seconds)
    report.figure("exponent of time, subspace", exponent(subspace), EXPONENT_AIM, most=True)
    peaks = {
        "worker": [row.worker for row in sampled],
        "driver": [row.driver for row in sampled],
        "worker, subspace": [row.worker for row in subspace],
    }
    for name, of in peaks.items():
        rise = 100 * (max(of) / min(of) - 1)
        report.figure(f"peak memory of the {name}, largest over smallest", rise, MEMORY_AIM, " %", most=True)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        lines = (
            (sampled, f"lakescore, {sizes.references} references"),
            (paper, f"paper, {sizes.references} references"),
            (full, "lakescore, all"),
            (full_paper, "paper, all"),
            (subspace, "subspace, all"),
        )
        for found, label in lines:
            axes.loglog([row.images for row in found], [row.seconds for row in found], "o-", label=label)
        axes.set_xlabel("images of the category")
        axes.set_ylabel("seconds")
        axes.legend()

    report.save(draw)


def exponent(rows: list[Row]) -> float:
    """Fit seconds = c * images ** exponent."""
    return float(np.polyfit(np.log([row.images for row in rows]), np.log([row.seconds for row in rows]), 1)[0])


def store_at(root: str, sizes: Sizes, layers: tuple[int, ...]) -> FeatureStore:
    place = Location.parse(root) / "features" / str(len(layers))
    return FeatureStore(place, sizes.grid, sizes.width, layers, "float16")


def write_features(root: str, sizes: Sizes) -> None:
    """Write random tokens, alike at the same place of all images, and an index of where they lie."""
    images = max(sizes.images + sizes.images_all)
    for layers in set(LAYERS.values()):
        store, generator, places = store_at(root, sizes, layers), np.random.default_rng(0), list[tuple[str, int]]()
        of_places = 2 * generator.normal(size=(1, 1, sizes.patches, sizes.width))
        for first in range(0, images, BLOCK):
            count = min(BLOCK, images - first)
            tokens = of_places + generator.normal(size=(count, len(layers), sizes.patches, sizes.width))
            names = [f"{number:05d}" for number in range(first, first + count)]
            file = store.write("part", feature_rows(names), tokens.astype(np.float16), np.zeros((count, 1), np.float32))
            places += [(file, row) for row in range(count)]
        (Path(root) / f"places-{len(layers)}.json").write_text(json.dumps(places))


def measure(call: Processes, case: Case) -> Row:
    """Plan in one process and score in another."""
    driver = call(drive, case)
    units, products, gigabytes, seconds, worker = call(work, case)
    return Row(case.preset, case.mode, case.images, units, products, gigabytes, seconds, worker, driver)


def drive(case: Case) -> float:
    """Choose the references and write the lists, as the driver does; return the peak memory in MB."""
    places = json.loads((Path(case.root) / f"places-{len(LAYERS[case.preset])}.json").read_text())[: case.images]
    uris = [f"{number:05d}" for number in range(case.images)]
    settings = case.config.references.model_copy(update={"mode": case.mode, "count": case.sizes.references})
    write_lists(case.run, "part", places, case.sizes.grid, choose_references(settings, uris))
    return peak_memory() / 2**20


def work(case: Case) -> tuple[int, float, float, float, float]:
    """Score all units, in one thread pool of all cores; return units, products, GB, seconds and peak memory in MB."""
    sizes = case.sizes
    references = sizes.references if case.mode == "sample" else case.images
    store = store_at(case.root, sizes, LAYERS[case.preset])
    scorer = make_scorer(case.config, layer_of(store))
    reach = scorer.reach(lists_of(store, case.run, "part").features, store.layers)
    members = within(
        {"part": Members(case.images, references, case.images, case.run.run_id, sizes.grid)}, {"part": reach}
    )
    operations = UNIT_OPERATIONS["cpu"] / 100
    passes = [scorer.units(of, members, store.layers, MEMORY_GB * 1e9, operations) for of in range(scorer.passes)]
    seconds = score_here(passes, case.config, store, case.run)
    units = list(chain.from_iterable(passes))
    cost = sum(map(scorer.cost, units), Cost())
    return len(units), cost.products, cost.read / 1e9, seconds, peak_memory() / 2**20


if __name__ == "__main__":
    start(main, FULL, TOY)
