"""What comparing fewer patches costs in accuracy and gains in time, and how both grow with the patches of an image.

    python -m bench.patches

The sets are those in ../shared/data (or LAKESCORE_SHARED), encoded by the sample's ViT-S/14, scored all with all by the
default method. Seconds are those of processors, in scoring alone: others may be at work, too.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bench.processes import Processes, peak_memory
from bench.report import Cell, Report, start
from bench.sets import beside, sample_encoder, sets_of
from pipeline.config import ScoreConfig
from pipeline.encoders.encoder import Encoder
from pipeline.images import decode
from pipeline.plan.units import UNIT_OPERATIONS, Members, Reach
from pipeline.scoring.nearest_images import nearest_references
from pipeline.scoring.scorer import CategoryFeatures, FeatureRef, Layer, UnitResult, make_scorer
from pipeline.stages.reach import within
from pipeline.views import View

SETS = ("aws_l4v/alien", "bsdata/ballscrew")
GROWN = "aws_l4v/alien"
LAYERS = (1, 2)  # of the four of a set: those of preset lakescore
MEMORY = 4e9  # bytes, as by default
NEAREST = 0.3  # share of the images that an image is compared with
GROWTH_AIM = 1.1  # power of the number of patches that seconds grow with


@dataclass(frozen=True)
class Sizes:
    """Pixels a side and images of a set at most; a radius in patches; steps of thinning; then, for the growth by
    patches: pixels of a photograph's side, photographs of a side, images, rounds, and whether each size has a process
    of its own.
    """

    side: int
    images: int
    radius: int
    thin: tuple[int, ...]
    photograph: int
    photographs: tuple[int, ...]
    grown: int
    rounds: int
    apart: bool


FULL = Sizes(518, 40, 3, (2, 3), 224, (1, 2, 4, 8), 6, 3, apart=True)
TOY = Sizes(56, 6, 1, (2,), 56, (1, 2), 2, 1, apart=False)


@dataclass(frozen=True)
class Vectors:
    """What is scored of a category: tokens (N, L, P, D), fp16, embeddings (N, E), the grid (H, W) in patches."""

    tokens: NDArray[np.float16]
    embeddings: NDArray[np.float32]
    grid: tuple[int, int]


@dataclass(frozen=True)
class Scored:
    """Scores (N,) of images, where their patches were compared, and processor seconds: of finding that, of scoring."""

    scores: NDArray[np.float64]
    reach: Reach
    looked: float
    seconds: float


def main(report: Report, sizes: Sizes) -> None:
    report.title("Comparing fewer patches")
    fewer(report, sizes)
    seconds = growth(report, sizes)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.loglog(list(seconds), list(seconds.values()), "o-")
        axes.set(xlabel="patches of an image", ylabel="processor seconds of scoring")

    report.save(draw)


def fewer(report: Report, sizes: Sizes) -> None:
    """Print what each way to compare fewer patches takes, and what it changes."""
    rows: list[list[Cell]] = []
    for name in SETS:
        [of] = sets_of(beside("data") / name.partition("/")[0], sizes.side, sizes.images, name.partition("/")[2])
        vectors = Vectors(of.tokens[:, list(LAYERS)].numpy(), of.embeddings.numpy(), of.grid)
        count = max(3, round(NEAREST * len(of.labels)))
        ways: dict[str, dict[str, object]] = {
            "whole": {"search": {"radius": "whole"}},
            "radius auto": {},
            f"radius {sizes.radius}": {"search": {"radius": sizes.radius}},
            **{f"whole, thin {step}": {"references": {"thin": step}} for step in sizes.thin},
            f"whole, nearest {count}": {
                "search": {"radius": "whole"},
                "references": {"mode": "nearest", "count": count},
            },
        }
        base: float | None = None
        for way, settings in ways.items():
            found = score(vectors, settings)
            auroc = 100 * float(roc_auc_score(of.labels, found.scores))
            base = auroc if base is None else base
            radius = found.reach.radius
            cells: list[Cell] = ["whole" if radius is None else radius, found.looked, found.seconds]
            rows.append([of.name, len(of.labels), way, *cells, auroc, auroc - base])
    columns = ["set", "images", "compared", "radius", "s to find it", "s of scoring", "image AUROC", "change"]
    report.table(f"Scoring at {sizes.side} pixels", columns, rows)


def growth(report: Report, sizes: Sizes) -> dict[int, float]:
    """Print seconds and memory by the number of patches; return the seconds by it."""
    rows, seconds = list[list[Cell]](), dict[int, float]()
    encoded = _encoded(sizes.photograph)
    with TemporaryDirectory() as folder, Processes(sizes.apart) as call:
        for side in sizes.photographs:
            path = Path(folder) / f"{side}.npz"
            grown = _side_by_side(encoded, side, sizes.grown)
            np.savez(path, tokens=grown.tokens, embeddings=grown.embeddings, grid=grown.grid)
            patches = grown.tokens.shape[2]
            seconds[patches], peak = call(measure, str(path), sizes.radius, sizes.rounds)
            rows.append([patches, sizes.grown, seconds[patches], 1e3 * seconds[patches] / patches, peak / 1e6])
    columns = ["patches", "images", "s of scoring", "s of 1,000 patches", "MB at most"]
    report.table(f"Photographs side by side, radius {sizes.radius}", columns, rows)
    power = float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])
    report.figure("power of the patches that seconds grow with", power, GROWTH_AIM, most=True)
    return seconds


def measure(path: str, radius: int, rounds: int) -> tuple[float, int]:
    """Return the fewest processor seconds of scoring what a file holds, and the most bytes of the process."""
    torch.set_num_threads(1)
    with np.load(path) as kept:
        height, width = kept["grid"].tolist()
        vectors = Vectors(kept["tokens"], kept["embeddings"], (height, width))
    found = [score(vectors, {"search": {"radius": radius}}).seconds for _ in range(rounds)]
    return min(found), peak_memory()


def score(of: Vectors, settings: dict[str, object]) -> Scored:
    """Score a category as a run does, all with all."""
    config = ScoreConfig.model_validate({"input": {"uri": "in"}, "output": {"uri": "out"}, **settings})
    count, layers = len(of.tokens), of.tokens.shape[1]
    scorer = make_scorer(config, Layer(of.grid, of.tokens.shape[3], 2, layers))
    nearest = config.references.count if config.references.mode == "nearest" else 0
    features, stored = _features(of, nearest), tuple(range(layers))
    began = time.process_time()
    reach = scorer.reach(features, stored)
    looked = time.process_time() - began
    planned = Members(count, count, count, "", of.grid, nearest=nearest)
    members = within({"": planned}, {"": reach})
    results: list[list[UnitResult]] = []
    features = replace(features, earlier=lambda of_pass, unit: results[of_pass])
    began = time.process_time()
    for of_pass in range(scorer.passes):
        units = scorer.units(of_pass, members, stored, MEMORY, UNIT_OPERATIONS["cpu"])
        in_order = sorted(units, key=lambda unit: unit.start)
        tuning = scorer.untuned("cpu")
        results.append([scorer.score(of_pass, unit, features, tuning, "cpu") for unit in in_order])
    seconds = time.process_time() - began
    patches = np.concatenate(results[-1], axis=1).astype(np.float32)
    return Scored(scorer.image_scores(patches, patches[0].max(axis=1))[0], reach, looked, seconds)


def _features(of: Vectors, nearest: int) -> CategoryFeatures:
    refs: list[FeatureRef] = [("", row) for row in range(len(of.tokens))]
    own, no_pairs = np.arange(len(refs)), np.empty((0, 2), np.int64)
    found = nearest_references(of.embeddings, of.embeddings, own, no_pairs, nearest) if nearest else None
    return CategoryFeatures(
        refs,
        refs,
        own,
        no_pairs,
        of.grid,
        lambda wanted, layer: of.tokens[[row for _, row in wanted], layer],
        lambda of_pass, unit: [],
        nearest=found,
        nearest_of_references=found,
    )


def _encoded(side: int) -> Vectors:
    """Encode all normal photographs of a set."""
    encoder, tokens, embeddings = Encoder(sample_encoder(side)), [], []
    for path in sorted((beside("data") / GROWN / "test/good").iterdir()):
        pixels, _ = decode(path.read_bytes(), View((side, side)), 10**8)
        encoded = encoder(pixels[None], torch.float16, batch=1)
        tokens.append(encoded.tokens[0, list(LAYERS)].numpy())
        embeddings.append(encoded.embeddings[0].numpy())
    patches = side // encoder.spec.patch
    return Vectors(np.stack(tokens), np.stack(embeddings), (patches, patches))


def _side_by_side(of: Vectors, side: int, count: int) -> Vectors:
    """Return images made of side x side photographs, other ones in each image: as much detail in every patch."""
    cells = np.arange(side * side)
    chosen = (np.arange(count)[:, None] + cells) % len(of.tokens)  # (count, side * side)
    layers, width, (height, length) = of.tokens.shape[1], of.tokens.shape[3], of.grid
    placed = of.tokens[chosen].reshape(count, side, side, layers, height, length, width)
    tokens = placed.transpose(0, 3, 1, 4, 2, 5, 6).reshape(count, layers, -1, width)
    return Vectors(tokens, of.embeddings[:count], (side * height, side * length))


if __name__ == "__main__":
    start(main, FULL, TOY)
