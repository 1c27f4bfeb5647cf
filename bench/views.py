"""What of an image should be seen: squashed to a square, at its own aspect, or in tiles, on real sets.

    python -m bench.views

The sets are those of ../shared/data and ../shared/more_data (or LAKESCORE_SHARED), scored by whole runs of the default
method with the sample's ViT-S/14.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from bench.report import Cell, Report, start
from bench.runs import Settings, percent, runs, seconds
from bench.sets import SHARED, beside
from pipeline.result import Result
from pipeline.sample.lake import samples

SAID = ("image_auroc", "image_ap", "pixel_ap", "pixel_aupro")
SQUARE = "square"


@dataclass(frozen=True)
class Sizes:
    """Pixels of a side, overlap of tiles, and images: None for all of the real sets, else so many of the sample."""

    side: int
    overlap: int
    images: int | None


FULL = Sizes(224, 32, images=None)
TOY = Sizes(56, 14, images=8)


def views(sizes: Sizes) -> dict[str, Settings]:
    """Return the settings of each way to see an image."""
    side = sizes.side
    return {
        SQUARE: {"encoder": {"size": side}},
        "auto: its aspect, as many pixels": {"encoder": {"size": {"area": side}}},
        "short: its aspect, shorter side": {"encoder": {"size": {"short": side}}},
        "tiles": {"encoder": {"size": side}, "tiles": {"scale": 1.0, "size": side, "overlap": sizes.overlap}},
    }


def main(report: Report, sizes: Sizes) -> None:
    report.title(f"Ways to see an image, {sizes.side} pixels a side or a tile")
    found: dict[str, list[Result]] = {}
    with TemporaryDirectory() as folder, runs() as run:
        roots = _roots(sizes, Path(folder))
        for number, (name, settings) in enumerate(views(sizes).items()):
            found[name] = [run(root, f"{number}-{place}", settings) for place, root in enumerate(roots)]
    rows: list[list[Cell]] = []
    gains: dict[str, list[float]] = {name: [] for name in found}
    for place in range(len(roots)):
        for category in found[SQUARE][place].metrics:
            base = percent(found[SQUARE][place], category, SAID[0])
            for name, results in found.items():
                cells = [percent(results[place], category, metric) for metric in SAID]
                rows.append([category, name, *cells])
                if not isinstance(base, str) and not isinstance(cells[0], str):
                    gains[name].append(cells[0] - base)
    report.table("Metrics in percent", ["set", "view", "image AUROC", "image AP", "pixel AP", "AUPRO"], rows)
    costs: list[list[Cell]] = []
    for name, results in found.items():
        encode, score = (sum(of) for of in zip(*map(seconds, results), strict=True))
        costs.append([name, sum(result.run.counts.scored for result in results), encode, score])
    report.table("Seconds of all sets", ["view", "images", "encode s", "score s"], costs)
    for name, of in gains.items():
        if of and name != SQUARE:
            report.figure(f"least gain in image AUROC over the square, {name}", min(of), 0, " points")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, of in gains.items():
            axes.plot(of, "o-", label=name)
        axes.set(xlabel="set", ylabel="image AUROC over the square, points")
        axes.legend()

    report.save(draw)


def _roots(sizes: Sizes, folder: Path) -> list[Path]:
    if sizes.images is not None:
        _write_some(folder, sizes.images)
        return [folder]
    more = SHARED / "more_data"
    return [beside("data"), *([more] if more.is_dir() else [])]


def _write_some(folder: Path, images: int) -> None:
    """Write the first images of the sample's brick, with the masks of those that are defective."""
    for number, sample in enumerate(islice(samples("brick"), images)):
        of_image: dict[str, NDArray[np.float64]] = {f"test/{sample.defect}/{number}.png": sample.image}
        if sample.defect != "good":
            of_image[f"ground_truth/{sample.defect}/{number}_mask.png"] = sample.mask * np.float64(255)
        for name, values in of_image.items():
            path = folder / "brick" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)


if __name__ == "__main__":
    start(main, FULL, TOY)
