"""Scoring on several workers: what two do on this machine, and what 256 GPUs would do with a million images.

    python -m bench.workers

The same units of work run on one and on two worker processes of one thread each. Then the plan of a large lake is
handed out to simulated workers. The rates of a GPU are assumed and not measured: there was none.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ray
from matplotlib.figure import Figure

from bench.report import Cell, Report, start
from bench.stages import feature_rows, score_on, write_lists
from pipeline.config import InputConfig, OutputConfig, RayConfig, ReferencesConfig, ScoreConfig, SearchConfig
from pipeline.engine.calibrate import measure
from pipeline.engine.cluster import cluster
from pipeline.io.storage import Location
from pipeline.plan.cost import Cost, Rates, unit_cost
from pipeline.plan.sampling import expected_references
from pipeline.plan.schedule import Schedule, schedule
from pipeline.plan.units import UNIT_OPERATIONS, Members, Shape, Unit, plan_units
from pipeline.scoring.scorer import Layer
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder

AIM = 1.8
SMALL_LAYERS = (5, 11)
SPREAD = 1.5  # sigma of the lognormal sizes of a large lake's categories
LAYERS = (5, 11, 17, 23)
GRID = (37, 37)
SHAPE = Shape(width=1024, bytes=2, degrees=3, comparisons=3, compared=1024)
GPU = Rates(products=3e13, aggregated=1e11, read=1e9)
ASSUMED = (
    "GPU rates are ASSUMED, not measured: 60 TFLOP/s of bf16 products; LNAMD bound by 3 TB/s of memory, some 30 bytes "
    "for a value and degree; 1 GB/s of storage for each GPU, read before it is computed with; nothing for "
    "start-up, handing out and writing"
)
GPUS = (1, 4, 16, 64, 256)
FACTORS = (0.25, 1, 4, 16)
MEMORIES = (4, 16, 40)
AHEAD = 1  # Ray Data sends an actor one unit more than the one at hand


@dataclass(frozen=True)
class Sizes:
    """Images of the small lake's categories, patches of an image and values of a patch; how often all is timed.

    And images and categories of the large lake.
    """

    small: tuple[tuple[str, int], ...]
    grid: tuple[int, int]
    width: int
    rounds: int
    images: int
    categories: int

    @property
    def shape(self) -> Shape:
        return Shape(self.width, bytes=2, degrees=3, comparisons=3, compared=self.width)

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    def units(self) -> list[Unit]:
        """Return the small lake's units, of two seconds each: each worker has several."""
        members = {category: Members(total, total, total, "", self.grid) for category, total in self.small}
        operations = 16 * max(total for _, total in self.small) * self.shape.pair(self.patches)
        return plan_units(members, [(layer,) for layer in SMALL_LAYERS], self.shape, 4e9, operations)


FULL = Sizes((("nuts", 64), ("bolts", 48)), (16, 16), 384, rounds=2, images=1_000_000, categories=200)
TOY = Sizes((("nuts", 6), ("bolts", 4)), (4, 4), 16, rounds=1, images=2_000, categories=4)


@dataclass(frozen=True)
class Run:
    """Seconds of one run: all of it, from the first worker's beginning to each unit's end, and of CPU that all had."""

    whole: float
    ends: list[float]
    cpu: float

    @property
    def working(self) -> float:
        return self.ends[-1]


class StampedRun(RunFolder):
    """A run's folder where each worker notes when it began, and the CPU seconds it had had then and at its last unit.

    A worker asks for an index before its first unit, and for the place of a unit's scores at its end.
    """

    def index(self, category: str) -> Location:
        if not self._note("began").exists():
            self._note("began").write_text(str(time.process_time()))
        return super().index(category)

    def unit_results(self, of_pass: int) -> Location:
        self._note("ended").write_text(str(time.process_time()))
        return super().unit_results(of_pass)

    def _note(self, moment: str) -> Path:
        folder = Path((self.work / moment).path)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / str(os.getpid())


class SmallLake:
    """Random features, and the same units of work for any number of workers."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self._output, self._runs, self._sizes = Location.parse(str(folder)), itertools.count(), sizes
        self._store = FeatureStore(self._output / "features", sizes.grid, sizes.width, SMALL_LAYERS, "float16")
        self._config = ScoreConfig(input=InputConfig(uri="none"), output=OutputConfig(uri=self._output.path))
        generator = np.random.default_rng(0)
        self._places = {}
        for category, total in sizes.small:
            shape = (total, len(SMALL_LAYERS), sizes.patches, sizes.width)
            tokens = generator.normal(size=shape).astype(np.float32)
            names = [f"{category}{image}" for image in range(total)]
            vectors = np.zeros((total, 1), np.float32)
            self._places[category] = self._store.write(category, feature_rows(names), tokens, vectors)
        self.units = sizes.units()

    def __call__(self, workers: int) -> Run:
        """Score all units on so many workers."""
        run = StampedRun(self._output, str(next(self._runs)))
        for category, total in self._sizes.small:
            places = [(self._places[category], row) for row in range(total)]
            write_lists(RunFolder(run.output, run.run_id), category, places, self._sizes.grid, range(total))
        began = time.perf_counter()
        score_on(workers, self.units, self._config, self._store, run)
        whole = time.perf_counter() - began
        work = Path(run.work.path)
        first = min(note.stat().st_mtime for note in (work / "began").iterdir())
        ends = sorted(file.stat().st_mtime - first for file in (work / "unit_results" / "0").iterdir())
        cpu = {
            moment: sum(float(note.read_text()) for note in (work / moment).iterdir()) for moment in ("began", "ended")
        }
        return Run(whole, ends, cpu["ended"] - cpu["began"])

    def rates(self) -> Rates:
        """Return what one worker of one thread was measured to do, as a run measures it."""
        layer = Layer(self._sizes.grid, self._sizes.width, 2)
        config = self._config.model_copy(update={"search": SearchConfig(kind="gemm")})
        tuning, read = ray.get(ray.remote(measure).remote(config, layer, "cpu", 1, self._output / "probe"))
        return Rates(tuning.products, tuning.aggregated, read)


class Plan:
    """The large lake cut into units in one way: seconds of each unit in several orders."""

    def __init__(self, members: dict[str, Members], memory: float, factor: float) -> None:
        units = plan_units(
            members, [(layer,) for layer in LAYERS], SHAPE, memory * 1e9, factor * UNIT_OPERATIONS["cuda"]
        )
        seconds = [GPU.seconds(unit_cost(unit, SHAPE)) for unit in units]
        places = sorted(range(len(units)), key=lambda place: _in_catalog(units[place]))
        self.orders = {
            "as planned": seconds,
            "longest first": sorted(seconds, reverse=True),
            "catalog order": [seconds[place] for place in places],
        }
        self.read = sum((unit_cost(unit, SHAPE) for unit in units), Cost()).read  # bytes
        self.reading = self.read / GPU.read / sum(seconds)  # share of the time

    def on(self, gpus: int, order: str = "as planned", ahead: int = 0) -> Schedule:
        """Return how an order of the units runs on so many GPUs."""
        return schedule(self.orders[order], gpus, ahead)


def _in_catalog(unit: Unit) -> tuple[str, tuple[int, ...], int]:
    return unit.category, unit.layers, unit.start


def large_lake(images: int, categories: int) -> dict[str, Members]:
    """Return images in categories of lognormal sizes and at least two images each."""
    weights = np.random.default_rng(0).lognormal(sigma=SPREAD, size=categories)
    totals = 2 + np.floor(weights / weights.sum() * (images - 2 * categories)).astype(int)
    totals[totals.argmax()] += images - totals.sum()
    config = ReferencesConfig()
    print(
        f"\n{images} images in {categories} categories of lognormal sizes (sigma {SPREAD}): {totals.min()} to "
        f"{totals.max()}, median {np.median(totals):.0f}; {(totals > config.limit).sum()} of them with {config.count} "
        f"references\n{ASSUMED}"
    )
    return {
        f"{number:03d}": Members(total, expected_references(config, total), total, "", GRID)
        for number, total in enumerate(totals.tolist())
    }


def measure_two(report: Report, sizes: Sizes) -> None:
    """Time one and two workers on the same units, and compare with what is predicted."""
    with tempfile.TemporaryDirectory() as folder, cluster(RayConfig()):
        lake = SmallLake(Path(folder), sizes)
        runs, measured = [], []
        for _ in range(sizes.rounds):
            runs += [(workers, lake(workers)) for workers in (1, 2)]
            measured.append(lake.rates())
    rates = max(measured, key=lambda found: found.products)
    rows = [
        [workers, run.whole, run.whole - run.working, run.working, 100 * run.cpu / run.working / workers]
        for workers, run in runs
    ]
    images, shape = sum(total for _, total in sizes.small), sizes.shape
    name = f"{len(lake.units)} units of {images} images, {sizes.patches} patches x {shape.width}, seconds"
    report.table(name, ["workers", "whole run", "start and end", "working", "CPU had while working, %"], rows)
    one, two = (min((run for workers, run in runs if workers == n), key=lambda run: run.working) for n in (1, 2))
    report.figure("two workers against one, working", one.working / two.working, AIM, "x")
    shortest = [min(run.whole for workers, run in runs if workers == n) for n in (1, 2)]
    report.figure("two workers against one, whole run", shortest[0] / shortest[1], unit="x")
    print(
        "The aim is of the working time: start-up is paid once a run, whatever its length. Of the rounds the fastest "
        "counts: others on the machine only add. Where workers had clearly less than 100 % of their CPUs, they did."
    )
    units = np.diff([0, *one.ends]).tolist()  # of a single worker, in the order of the plan
    predicted = [rates.seconds(unit_cost(unit, shape)) for unit in lake.units]
    rows = []
    for workers, run in ((1, one), (2, two)):
        by_rates, by_units = (schedule(seconds, workers, AHEAD).makespan for seconds in (predicted, units))
        rows.append([workers, by_rates, by_units, run.working, by_rates / run.working])
    name = f"Simulated by rates of this core ({rates.products:.2g} multiply-adds/s, {rates.aggregated:.2g} values/s)"
    columns = ["workers", "by rates", "by one worker's units", "measured", "by rates / measured"]
    report.table(f"{name}, and measured", columns, rows)
    report.figure("two workers against one, as their units allow", one.working / rows[1][2], unit="x")
    report.figure("two workers' time against what their units allow", two.working / rows[1][2], unit="x")


def simulate(report: Report, sizes: Sizes) -> dict[int, Plan]:
    """Hand the plans of the large lake out to GPUs; return those of the default unit size by memory in GB."""
    members, most = large_lake(sizes.images, sizes.categories), GPUS[-1]
    plans = {(memory, factor): Plan(members, memory, factor) for memory in MEMORIES for factor in FACTORS}
    columns = ["GB a GPU, GPUs", "hours", "TB read", "GB/s read by all"]
    columns += ["idle % as planned", "longest first", "catalog order", f"planned, {AHEAD} ahead"]
    rows: list[list[Cell]] = []
    for memory, gpus in itertools.product(MEMORIES, GPUS):
        plan = plans[memory, 1]
        found = [plan.on(gpus), plan.on(gpus, "longest first"), plan.on(gpus, "catalog order")]
        found.append(plan.on(gpus, ahead=AHEAD))
        seconds = found[0].makespan
        idle = [f"{100 * of.idle:.2f}" for of in found]
        rows.append([f"{memory}, {gpus}", seconds / 3600, plan.read / 1e12, plan.read / 1e9 / seconds, *idle])
    report.table("Orders, by memory and GPUs", columns, rows)
    columns = ["GB a GPU, operations", "units", "median s", "longest s", "TB read", "reading %", "hours on 1"]
    rows = []
    for (memory, factor), plan in plans.items():
        units = plan.orders["longest first"]
        row: list[Cell] = [f"{memory}, x{factor:g}", len(units), units[len(units) // 2], units[0], plan.read / 1e12]
        last = plan.on(most)
        hours = [plan.on(1).makespan / 3600, last.makespan / 3600]
        rows.append([*row, 100 * plan.reading, *hours, f"{100 * last.idle:.2f}"])
    report.table("Unit sizes, as planned", [*columns, f"hours on {most}", "idle %"], rows)
    print(*said(plans), sep="\n")
    return {memory: plans[memory, 1] for memory in MEMORIES}


def said(plans: dict[tuple[int, float], Plan]) -> Iterator[str]:
    """Yield what the figures say about order and unit size, a sentence each."""
    few, much, most = MEMORIES[0], MEMORIES[-1], GPUS[-1]
    low, high = plans[few, 1], plans[much, 1]
    order = [100 * (plan.on(most, "catalog order").makespan / plan.on(most).makespan - 1) for plan in (low, high)]
    yield (
        f"Order: on {most} GPUs catalog order ends {order[0]:+.1f} % after the plan's at {few} GB a GPU, "
        f"{order[1]:+.1f} % at {much} GB."
    )
    exact = [100 * (plan.on(most, "longest first").makespan / plan.on(most).makespan - 1) for plan in plans.values()]
    ahead = [100 * (plan.on(most, ahead=AHEAD).makespan / plan.on(most).makespan - 1) for plan in plans.values()]
    yield f"Longest first by cost instead of by pairs: {min(exact):+.2f} to {max(exact):+.2f} % of the time there."
    yield f"Units sent ahead to workers that are busy: {min(ahead):+.2f} to {max(ahead):+.2f} %."
    yield (
        f"Memory: {much} GB instead of {few} read {high.read / low.read:.2f} times the bytes and change the "
        f"GPU-hours by {100 * (high.on(1).makespan / low.on(1).makespan - 1):+.1f} %; reading is "
        f"{100 * high.reading:.0f} instead of {100 * low.reading:.0f} % of them."
    )
    for memory in MEMORIES:
        hours = {factor: plans[memory, factor].on(most).makespan for factor in FACTORS}
        changes = ", ".join(f"x{factor:g} {100 * (of / hours[1] - 1):+.1f} %" for factor, of in hours.items())
        yield f"UNIT_OPERATIONS at {memory} GB, hours on {most} GPUs: {changes}."


def main(report: Report, sizes: Sizes) -> None:
    report.title("Several workers")
    measure_two(report, sizes)
    plans = simulate(report, sizes)

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for memory, plan in plans.items():
            left.plot(GPUS, [plan.on(gpus).makespan / 3600 for gpus in GPUS], "o-", label=f"{memory} GB a GPU")
        best = plans[MEMORIES[-1]]
        left.plot(GPUS, [best.on(1).makespan / 3600 / gpus for gpus in GPUS], "k:", label=f"ideal, {MEMORIES[-1]} GB")
        left.set(
            xscale="log", yscale="log", xlabel="GPUs", ylabel="hours", title=f"{sizes.images:,} images, assumed rates"
        )
        for memory, style in zip((MEMORIES[0], MEMORIES[-1]), ("o--", "o-"), strict=True):
            for order in best.orders:
                idle = [100 * plans[memory].on(gpus, order).idle for gpus in GPUS]
                right.plot(GPUS, idle, style, label=f"{order}, {memory} GB")
        right.set(xscale="log", xlabel="GPUs", ylabel="idle share, %", title="Idle workers")
        for axes in (left, right):
            axes.set_xticks(GPUS, [str(gpus) for gpus in GPUS])
            axes.legend(fontsize=8)

    report.save(draw)


if __name__ == "__main__":
    start(main, FULL, TOY)
