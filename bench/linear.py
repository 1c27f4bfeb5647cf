"""The cost of a lake that grows: seconds, peak memory and tokens read of the scoring stage, references fixed or all.

    python -m bench.linear

Features are synthetic and are written to a feature store; units are planned and scored as a run does it, one after the
other in a process of its own for each size, so that its peak memory is its own.
"""

import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from matplotlib.figure import Figure

from bench.lists import feature_rows, write_lists
from bench.report import Report
from pipeline.config import ScoreConfig
from pipeline.io.storage import Location
from pipeline.plan.cost import total_cost
from pipeline.plan.sampling import choose_references
from pipeline.plan.units import UNIT_OPERATIONS, Members, Shape, plan_units
from pipeline.scoring.search import untuned
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder

GRID, WIDTH, LAYER = (10, 10), 128, 0
SIZES = (200, 400, 800, 1600, 3200)
ALL_SIZES = (200, 400, 800)
REFERENCES = 64
MEMORY_GB = 0.3
EXPONENT_AIM, MEMORY_AIM = 1.1, 15.0
BLOCK = 32


def main() -> None:
    report = Report("linear", f"A lake that grows, {GRID[0]} x {GRID[1]} patches of {WIDTH} values, one layer")
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as name:
        write_features(Location.parse(name), max(SIZES))
        for mode, sizes in (("sample", SIZES), ("all", ALL_SIZES)):
            rows += [[mode, size, *in_process_of_its_own(name, size, mode)] for size in sizes]
    columns = ["references", "images", "units", "multiply-adds", "GB read", "seconds", "peak MB", "driver MB"]
    report.table(f"Scoring, {REFERENCES} references or all, {MEMORY_GB:g} GB for a worker", columns, rows)
    sampled, full = [row for row in rows if row[0] == "sample"], [row for row in rows if row[0] == "all"]
    report.figure(f"exponent of time, {REFERENCES} references", exponent(sampled), EXPONENT_AIM, most=True)
    report.figure("exponent of time, all references", exponent(full))
    for column, name in ((6, "worker"), (7, "driver")):
        peaks = [row[column] for row in sampled]
        rise = 100 * (max(peaks) / min(peaks) - 1)
        report.figure(f"peak memory of the {name}, largest over smallest", rise, MEMORY_AIM, " %", most=True)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for found, label in ((sampled, f"{REFERENCES} references"), (full, "all with all")):
            axes.loglog([row[1] for row in found], [row[5] for row in found], "o-", label=label)
        axes.set_xlabel("images of the category")
        axes.set_ylabel("seconds")
        axes.legend()

    report.save(draw)


def exponent(rows: list[list[Any]]) -> float:
    """Fit seconds = c * images ** exponent."""
    return float(np.polyfit(np.log([row[1] for row in rows]), np.log([row[5] for row in rows]), 1)[0])


def store_at(root: Location) -> FeatureStore:
    return FeatureStore(root / "features", GRID, WIDTH, (LAYER,), "float16")


def write_features(root: Location, images: int) -> None:
    """Write random tokens, and an index of where they lie."""
    store, generator, places = store_at(root), np.random.default_rng(0), []
    for start in range(0, images, BLOCK):
        count = min(BLOCK, images - start)
        tokens = generator.normal(size=(count, 1, GRID[0] * GRID[1], WIDTH)).astype(np.float16)
        names = [f"{number:05d}" for number in range(start, start + count)]
        file = store.write("part", feature_rows(names), tokens, np.zeros((count, 1), np.float32))
        places += [[file, row] for row in range(count)]
    (root / "places.json").write_bytes(json.dumps(places).encode())


def in_process_of_its_own(root: str, images: int, mode: str) -> list[Any]:
    """Score so many of the images; return units, multiply-adds, GB read, seconds, peak memory of worker and driver."""
    context = multiprocessing.get_context("spawn")
    figures: list[Any] = []
    with context.Pool(1) as pool:
        driver = pool.apply(drive, (root, images, mode))
    with context.Pool(1) as pool:
        figures = pool.apply(work, (root, images, mode))
    return [*figures, driver]


def drive(root: str, images: int, mode: str) -> float:
    """Plan as the driver does, and write the index; return the peak memory in MB."""
    run, config = folder(root, images, mode), config_for(root)
    places = json.loads((Location.parse(root) / "places.json").read_bytes())[:images]
    uris = [f"{number:05d}" for number in range(images)]
    settings = config.references.model_copy(update={"mode": mode, "count": REFERENCES})
    write_lists(run, "part", places, choose_references(settings, uris))
    return peak_memory()


def work(root: str, images: int, mode: str) -> list[Any]:
    """Score all units as an actor does, in one thread pool of all cores."""
    from pipeline.stages import score  # Ray takes seconds to import

    score.this_node = lambda: "bench"  # type: ignore[attr-defined]  # no Ray here
    run, config, store = folder(root, images, mode), config_for(root), store_at(Location.parse(root))
    references = REFERENCES if mode == "sample" else images
    shape = Shape(GRID[0] * GRID[1], WIDTH, 2, 3, 3, WIDTH)
    members = {"part": Members(images, references, images, f"{mode}{images}")}
    units = plan_units(members, [LAYER], shape, MEMORY_GB * 1e9, UNIT_OPERATIONS["cpu"] / 100)
    worker = score.ScoreUnit(config, untuned("gemm", "cpu"), store, run, "cpu", torch.get_num_threads())
    start = time.perf_counter()
    for number, unit in enumerate(units):
        worker(pa.table({"unit": [number], **{name: [value] for name, value in vars(unit).items()}}))
    seconds = time.perf_counter() - start
    cost = total_cost(units, shape)
    return [len(units), cost.products, cost.read / 1e9, seconds, peak_memory()]


def folder(root: str, images: int, mode: str) -> RunFolder:
    return RunFolder(Location.parse(root) / "out", f"{mode}-{images}")


def config_for(root: str) -> ScoreConfig:
    return ScoreConfig.model_validate({"input": {"uri": root}, "output": {"uri": str(Path(root) / "out")}})


def peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
