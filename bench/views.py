"""What of an image should be seen: squashed to a square, at its own aspect, or in tiles, on real sets.

    python -m bench.views

The sets are those of ../shared/data and ../shared/more_data (or LAKESCORE_SHARED), scored by whole runs of the default
method with the sample's ViT-S/14.
"""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bench.report import Cell, Report, start
from bench.runs import Settings, percent, runs, seconds
from bench.sets import SHARED, beside, sample_folder
from pipeline.result import Result

SAID = ("image_auroc", "image_ap", "pixel_ap", "pixel_aupro")
SQUARE = "square"


@dataclass(frozen=True)
class Sizes:
    """Pixels of a side, overlap of tiles, and whether the real sets are taken: else the embedded sample."""

    side: int
    overlap: int
    real: bool


FULL = Sizes(224, 32, real=True)
TOY = Sizes(56, 14, real=False)


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
    roots = _roots(sizes)
    found: dict[str, list[Result]] = {}
    with runs() as run:
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


def _roots(sizes: Sizes) -> list[Path]:
    if not sizes.real:
        return [sample_folder()]
    more = SHARED / "more_data"
    return [beside("data"), *([more] if more.is_dir() else [])]


if __name__ == "__main__":
    start(main, FULL, TOY)
