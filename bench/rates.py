"""What a plan goes by: how long a core takes for each stage that needs no GPU, and the head for each image of a lake.

    python -m bench.rates

Stages run in this process, on features and photographs that are made up, with one thread; the head's work runs in a
process of its own, against a stand-in that answers the listings of S3. `jobs/size_cluster.py --rates
out/bench/measured.json` plans by what was found; `pipeline.plan.rates` has the usual figures.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import gaussian_filter

from bench.head import Head, drive
from bench.large import picture
from bench.listing import Listing, serving
from bench.metrics import synthetic
from bench.processes import Processes
from bench.report import Report, start
from bench.stages import feature_rows, write_lists
from pipeline.config import InputConfig, OutputConfig, ScoreConfig
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.images import decode, image_stats
from pipeline.io.storage import Location
from pipeline.metrics.category import streamed_pixel_metrics
from pipeline.metrics.stream import histogram
from pipeline.plan.rates import ClusterRates
from pipeline.plan.units import Unit
from pipeline.schema.tables import UNITS
from pipeline.scoring.musc.rscin import rscin
from pipeline.scoring.scorer import Layer
from pipeline.scoring.search.radius import choose_radius
from pipeline.stages.maps import WriteMaps
from pipeline.stages.near_duplicates import FindNearDuplicates
from pipeline.stages.ranges import Range
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_table, write_array, write_table
from pipeline.views import View

PATCH, WIDTH, EMBEDDING = 14, 1024, 768  # of ViT-L/14
BLOCK = 32  # images of a file
CATEGORY = "part"
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Sizes:
    """Pixels a side of a photograph, patches a side of a grid, and images of each measurement.

    `embedded` of near duplicates, of the store and of re-scoring, `maps`, `sampled` of a radius, and objects of the
    head's lakes, rising. `apart`: each lake in a process of its own, or all in one.
    """

    photograph: int
    side: int
    embedded: int
    references: int
    maps: int
    sampled: int
    objects: tuple[int, int]
    apart: bool


FULL = Sizes(2236, 37, 8192, 256, 64, 10, (20_000, 200_000), apart=True)
TOY = Sizes(64, 4, 64, 8, 4, 3, (1_500, 3_000), apart=False)


def main(report: Report, sizes: Sizes) -> None:
    report.title("Rates of one core and of the head, for a plan")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = photographs(sizes) | embeddings(Path(folder), sizes) | maps(Path(folder), sizes) | radius(sizes)
    with serving() as address, Processes(sizes.apart) as call:
        few, many = (_head(call, address, objects) for objects in sizes.objects)
    found |= many.rates | {"remembered": (many.peak - few.peak) / (many.objects - few.objects)}
    usual = ClusterRates()
    report.table(
        "Rates, as pipeline.plan.rates has them",
        ["rate", "measured", "usual"],
        [[name, value, float(getattr(usual, name))] for name, value in found.items()],
    )
    report.keep("measured", found)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(list(found), [value / getattr(usual, name) for name, value in found.items()])
        axes.set(xlabel="measured, times the usual figure")

    report.save(draw)


def photographs(sizes: Sizes) -> dict[str, float]:
    """Decode a photograph, a JPEG of waves with noise, and take its image stats."""
    content = io.BytesIO()
    Image.fromarray(picture(sizes.photograph)).save(content, "jpeg", quality=90)
    view = View((sizes.side * PATCH, sizes.side * PATCH))

    def run() -> None:
        image_stats(decode(content.getvalue(), view, MAX_PIXELS)[0])

    return {"decoded": seconds(run), "photograph": float(len(content.getvalue()))}


def embeddings(folder: Path, sizes: Sizes) -> dict[str, float]:
    """Look for near duplicates, find what is stored, re-score."""
    generator, count = np.random.default_rng(0), sizes.embedded
    run = RunFolder(Location.parse(str(folder)), "near")
    store = FeatureStore(run.features / "any", (1, 1), 1, (0,), "float16")
    vectors = generator.normal(size=(count, EMBEDDING)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places: list[tuple[str, int]] = []
    for first in range(0, count, BLOCK):
        names = [f"{number:09d}" for number in range(first, min(first + BLOCK, count))]
        tokens = np.zeros((len(names), 1, 1, 1), np.float16)
        file = store.write(CATEGORY, feature_rows(names), tokens, vectors[first : first + BLOCK])
        places += [(file, row) for row in range(len(names))]
    write_lists(run, CATEGORY, places, (1, 1), range(sizes.references))
    index = run.index(CATEGORY)
    listed = read_table(index)
    write_table(index, listed.append_column("image", pa.array(range(count), pa.int64())))
    stage = FindNearDuplicates(store, run, 0.9997)
    stage.setup("cpu", 1)
    block = Range(CATEGORY, 0, count).table()
    near = seconds(lambda: stage(block))
    stored = seconds(lambda: store.find(CATEGORY))
    raw, tensors = torch.linspace(0, 1, count), torch.from_numpy(vectors)
    with torch.inference_mode():
        rescored = seconds(lambda: rscin(raw, tensors, (1, 2, 3)))
    return {"near_duplicates": near / count, "found": stored / count, "rescored": count**2 / rescored}


def radius(sizes: Sizes) -> dict[str, float]:
    """Look for the radius of a category whose descriptors are random."""
    patches, values = sizes.side**2, 2 * WIDTH
    vectors = torch.from_numpy(
        np.random.default_rng(0).normal(size=(sizes.sampled, patches, values)).astype(np.float32)
    )
    pairs = sizes.sampled * (sizes.sampled - 1) / 2
    with torch.inference_mode():
        took = seconds(lambda: choose_radius(vectors, (sizes.side, sizes.side)), rounds=1)
    return {"reached": pairs * patches**2 * values / took}


def maps(folder: Path, sizes: Sizes) -> dict[str, float]:
    """Write maps of smooth scores, and measure them against masks."""
    generator, count, side = np.random.default_rng(0), sizes.maps, sizes.side
    pixels = side * PATCH
    run = RunFolder(Location.parse(str(folder)), "maps")
    config = ScoreConfig(input=InputConfig(uri="any"), output=OutputConfig(uri=str(folder)))
    numbers: list[object] = list(range(count))
    index = {"position": numbers, "image": numbers, "uri": [f"{number}.png" for number in numbers]}
    index |= {"width": [pixels] * count, "height": [pixels] * count, "input": [True] * count}
    nothing = pa.nulls(count, pa.string())
    write_table(run.index(CATEGORY), pa.table(index).append_column("counted", nothing))
    write_table(run.references(CATEGORY), pa.table({"position": numbers}))
    unit = Unit(CATEGORY, (0, 1), 0, count, count, count, count, side, side, count, "any")
    write_table(run.units(CATEGORY, 1), UNITS.rows([unit]))
    scores = 0.5 + 0.1 * gaussian_filter(generator.normal(size=(count, side, side)), (0, 1, 1)).astype(np.float32)
    found = np.stack([scores.reshape(count, -1), np.zeros((count, side * side), np.float32)])
    write_array(run.unit_results(1) / f"{unit.id}.npy", found)
    write = WriteMaps(config, Layer((side, side), WIDTH, 2, 2), LakeGeometry(Geometry(PATCH, (pixels, pixels))), run)
    write.setup("cpu", 1)
    block, megapixels = Range(CATEGORY, 0, count).table(), count * pixels**2 / 1e6
    mapped = seconds(lambda: write(block))
    size = sum(file.stat().st_size for file in Path((run.output / run.maps).path).rglob("*.parquet"))
    with_masks = synthetic(count, pixels)
    measured = seconds(lambda: streamed_pixel_metrics(histogram(*with_masks), "exact"))
    return {"mapped": mapped / megapixels, "map_bytes": size / megapixels, "measured": measured / megapixels}


def _head(call: Processes, address: str, objects: int) -> Head:
    Listing.objects = objects
    return call(drive, address, objects)


def seconds(run: Callable[[], object], rounds: int = 3) -> float:
    """Return the processor seconds of the fastest of some rounds: neighbours on the machine only add."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return min(found)


if __name__ == "__main__":
    start(main, FULL, TOY)
