"""Parts that lie anyhow: references seen as they are, or as 4 or 8 turned images; and what that costs upright parts.

    python -m bench.turned

The sets are those of ../shared/data and ../shared/more_data (or LAKESCORE_SHARED), every image turned at random by
quarters, or by any angle on a square canvas; scored by whole runs of the default method with the sample's ViT-S/14.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from bench.report import Cell, Report, start
from bench.runs import percent, runs, seconds
from bench.sets import beside

SETS = {
    "alien": "data/aws_l4v/alien",
    "cookie": "data/aws_l4v/cookie",
    "ballscrew": "data/bsdata/ballscrew",
    "transistor": "more_data/mvtec_ad/transistor",
}
SAID = ("image_auroc", "image_ap", "pixel_ap")
ENCODE = ("extract", "compare")  # stages: turned references are encoded when these are known
UPRIGHT, QUARTERS, CANVAS, ANY = "upright", "by quarters", "upright, on a square canvas", "by any angle"


@dataclass(frozen=True)
class Sizes:
    """Sets by name; images of each, normal and defective; pixels a side; `references.turns` of each lake."""

    sets: tuple[str, ...]
    normal: int
    defective: int
    side: int
    turns: tuple[tuple[str, tuple[int, ...]], ...]


FULL = Sizes(tuple(SETS), 24, 12, 224, ((UPRIGHT, (1, 4)), (QUARTERS, (1, 4, 8)), (CANVAS, (1,)), (ANY, (1, 4, 8))))
TOY = Sizes(("ballscrew",), 3, 2, 56, ((UPRIGHT, (1,)), (QUARTERS, (1, 4))))


def main(report: Report, sizes: Sizes) -> None:
    report.title(f"Images that are turned, {sizes.side} pixels a side")
    rows, costs = list[list[Cell]](), list[list[Cell]]()
    found: dict[tuple[str, int], list[float]] = {}
    with TemporaryDirectory() as folder, runs() as run:
        for number, (name, turns) in enumerate(sizes.turns):
            lake = Path(folder) / str(number)
            write(lake, name, sizes)
            encode = 0.0  # what is encoded for fewer turns is there for more
            for of in turns:
                settings: dict[str, object] = {"encoder": {"size": sizes.side}, "references": {"turns": of}}
                result = run(lake, str(number), settings, str(of))
                for category in sizes.sets:
                    rows.append([name, of, category, *(percent(result, category, metric) for metric in SAID)])
                aurocs = [value for row in rows[-len(sizes.sets) :] if not isinstance(value := row[3], str)]
                found[name, of] = aurocs
                encode += sum(result.run.seconds[stage] for stage in ENCODE)
                costs.append([name, of, float(np.mean(aurocs)), encode, seconds(result)[1]])
    report.table("Metrics in percent", ["images", "turns", "set", "image AUROC", "image AP", "pixel AP"], rows)
    report.table("Means, and seconds of all sets", ["images", "turns", "image AUROC", "encode s", "score s"], costs)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for (name, of), aurocs in found.items():
            axes.plot(list(sizes.sets), aurocs, "o-", label=f"{name}: turns {of}")
        axes.set(ylabel="image AUROC, percent")
        axes.legend(fontsize="small")

    report.save(draw)


def write(lake: Path, name: str, sizes: Sizes) -> None:
    """Write the sets as MVTec AD lays them out, their images and masks turned alike."""
    rng = np.random.default_rng(0)
    for category in sizes.sets:
        for path, mask in _images(category, sizes):
            angle = {QUARTERS: 90 * float(rng.integers(4)), ANY: rng.uniform(0, 360)}.get(name, 0.0)
            image = Image.open(path).convert("RGB")
            fill = _border(image)
            _save(_turned(image, name, angle, fill), lake / category / "test" / path.parent.name / path.name)
            if mask is not None:
                drawn = _turned(Image.open(mask).convert("L").point(lambda value: 255 * (value > 0)), name, angle, 0)
                _save(drawn, lake / category / "ground_truth" / path.parent.name / f"{path.stem}_mask.png")


def _images(category: str, sizes: Sizes) -> Iterator[tuple[Path, Path | None]]:
    """Yield images of a set with their masks, of the defective ones all kinds in turn."""
    group, _, rest = SETS[category].partition("/")
    root = beside(group) / rest
    normal = sorted((root / "test/good").glob("*.png"))
    others = sorted((root / "test").glob("[!g]*/*.png"), key=lambda path: (path.stem, path.parent.name))
    for path in [*normal[: sizes.normal], *others[: sizes.defective]]:
        mask = root / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
        yield path, mask if mask.exists() else None


def _turned(image: Image.Image, name: str, angle: float, fill: int | tuple[int, ...]) -> Image.Image:
    """Return an image turned by quarters, or on a square canvas that holds it at any angle."""
    if name in (UPRIGHT, QUARTERS):
        return image.rotate(angle, expand=True)
    side = int(np.ceil(np.hypot(*image.size)))
    canvas = Image.new(image.mode, (side, side), fill)
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    smooth = Image.Resampling.NEAREST if image.mode == "L" else Image.Resampling.BICUBIC
    return canvas.rotate(angle, smooth, fillcolor=fill)


def _border(image: Image.Image) -> tuple[int, ...]:
    """Return the median colour of the outermost pixels."""
    values = np.asarray(image)
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    return tuple(int(value) for value in np.median(edge, axis=0))


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, compress_level=1)


if __name__ == "__main__":
    start(main, FULL, TOY)
