"""Defects of 6 to 24 pixels on images of thousands of pixels a side: squeezed to a square, and in tiles.

    python -m bench.small

The lakes are trays of the photographs in ../shared/data (or LAKESCORE_SHARED), see `bench.trays`, scored by whole runs
of the default method with the sample's ViT-S/14.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure

from bench.report import Cell, Report, start
from bench.runs import Settings, percent, runs, seconds
from bench.trays import Tray, write_trays
from pipeline.result import Result

AIM = 95.0  # percent of image AUROC with tiles
MEMORY = 12.0  # GB: one unit holds the category, and multiplies each pair once
SAID = ("image_auroc", "image_ap", "pixel_ap", "pixel_aupro")
CATEGORY, SQUARE = "trays", "square"


@dataclass(frozen=True)
class Sizes:
    """The trays, each with the scales of its tiles; pixels of a side of the square and of tiles, overlap of these;
    radius in patches.

    No radius is found by the run: where it finds none, scoring whole images of 21,000 patches takes hours.
    """

    trays: tuple[tuple[Tray, tuple[float, ...]], ...]
    square: int
    tile: int
    overlap: int
    radius: int


ALIKE, DIFFERENT, LARGE = Tray(2048, 1, 14, 6), Tray(2048, 4, 14, 6), Tray(4096, 1, 8, 6)
FULL = Sizes(((ALIKE, (1.0, 2.0)), (LARGE, (1.0,)), (DIFFERENT, (1.0,))), 518, 224, 32, 3)
TOY = Sizes(((Tray(224, 2, 4, 3, pitch=112, shown=98), (1.0, 2.0)),), 56, 56, 14, 1)


def ways(sizes: Sizes, scales: tuple[float, ...]) -> dict[str, Settings]:
    """Return the settings of each way to see an image: the square, and tiles at some scales."""
    found: dict[str, Settings] = {SQUARE: {"encoder": {"size": sizes.square}, "tiles": {"scale": "none"}}}
    for scale in scales:
        found[f"tiles, scale {scale:g}"] = {
            "encoder": {"size": sizes.tile},  # as many patches decide as a tile has
            "tiles": {"scale": scale, "size": sizes.tile, "overlap": sizes.overlap},
            "search": {"radius": sizes.radius, "memory_gb": MEMORY},
        }
    return found


def main(report: Report, sizes: Sizes) -> None:
    report.title("Defects of 6 to 24 pixels on large images")
    rows, found = list[list[Cell]](), dict[tuple[str, str], Result]()
    with TemporaryDirectory() as folder, runs() as run:
        for tray, scales in sizes.trays:
            of = f"{tray.side} pixels, {tray.parts} parts"
            lake = Path(folder) / of
            write_trays(lake, tray)
            for number, (name, settings) in enumerate(ways(sizes, scales).items()):
                result = found[of, name] = run(lake, f"{of}, {number}", settings)
                metrics = [percent(result, CATEGORY, metric) for metric in SAID]
                rows.append([of, result.run.counts.scored, name, *metrics, *seconds(result)])
    columns = ["trays", "images", "view", "image AUROC", "image AP", "pixel AP", "AUPRO", "encode s", "score s"]
    report.table("Metrics in percent, and seconds", columns, rows)
    for trays in dict.fromkeys(of for of, _ in found):
        by_way = {name: below(result) for (of, name), result in found.items() if of == trays}
        lines: list[list[Cell]] = [
            [defect, *(shares[defect] for shares in by_way.values())] for defect in by_way[SQUARE]
        ]
        report.table(f"Normal images below a defective one, percent: {trays}", ["defect", *by_way], lines)
    for (trays, name), result in found.items():
        if name != SQUARE:
            auroc = percent(result, CATEGORY, SAID[0])
            assert not isinstance(auroc, str), "lakes have labels"
            report.figure(f"image AUROC, {trays}, {name}", auroc, AIM, " %")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for (trays, name), result in found.items():
            shares = below(result)
            axes.plot([_length(of) for of in shares], list(shares.values()), "o-", label=f"{trays}: {name}")
        axes.set(xlabel="pixels of the defect", ylabel="normal images below it, percent")
        axes.legend(fontsize="small")

    report.save(draw)


def below(result: Result) -> dict[str, float]:
    """Return the percentage of normal images with a lower score, of each defective one, by its kind and its length."""
    scores = {str(uri): float(raw) for uri, raw in _scores(result)}
    normal = np.array([raw for uri, raw in scores.items() if "/good/" in uri])
    return dict(
        sorted(
            ((_named(uri), 100 * float((normal < raw).mean())) for uri, raw in scores.items() if "/good/" not in uri),
            key=lambda of: _length(of[0]),
        )
    )


def _scores(result: Result) -> Iterator[tuple[str, float]]:
    return zip(result.scores["uri"].to_pylist(), result.scores["score_raw"].to_pylist(), strict=True)


def _named(uri: str) -> str:
    path = Path(uri)
    return f"{path.parent.name}-{path.stem.partition('_')[2]}"


def _length(defect: str) -> int:
    return int(defect.rpartition("-")[2])


if __name__ == "__main__":
    start(main, FULL, TOY)
