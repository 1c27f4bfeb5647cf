"""What a second night costs: the same lake and ten images more, scored as a batch or against the window.

python -m bench.nights
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from bench.report import Report, start
from pipeline.sample.lake import CROPS, _photograph
from pipeline.sample.weights import ENCODER, sample_weights
from tests.running import JOB, flags, run_job_here


@dataclass(frozen=True)
class Sizes:
    """Images of the first night, those that the second has more, and settings of both beside the bench's own.

    `apart`: a night is a process of its own that starts a Ray, or works on the Ray of this one.
    """

    images: int
    new: int
    settings: dict[str, int]
    apart: bool


FULL = Sizes(images=150, new=10, settings={"encoder.size": 224}, apart=True)
SPARING = {"report.images": 0, "ray.encode.max": 1, "ray.score.max": 1}  # no report, and no second worker
TOY = Sizes(images=4, new=2, settings={"encoder.size": 28} | SPARING, apart=False)


@dataclass(frozen=True)
class Night:
    """What a night did, as the table shows it; seconds of all and of three stages."""

    name: str
    images: int
    encoded: int
    scored: int
    whole: float
    extract: float
    score: float
    reduce: float

    @property
    def work(self) -> float:
        return self.extract + self.score


def main(report: Report, sizes: Sizes) -> None:
    report.title(f"A night of {sizes.images} images, and the next one with {sizes.new} more")
    with tempfile.TemporaryDirectory() as folder:
        lake, output = Path(folder) / "lake", Path(folder) / "out"
        write(lake, range(sizes.images))
        first = night("first", lake, output, "window", sizes)
        write(lake, range(sizes.images, sizes.images + sizes.new))
        window = night("second, window", lake, output, "window", sizes)
        batch = night("second, batch", lake, output, "batch", sizes)
    nights = [first, window, batch]
    columns = ["night", "images", "encoded", "scored", "all s", "extract s", "score s", "reduce s"]
    report.table("Nights", columns, [astuple(of) for of in nights])
    report.figure("encoded in the second night", window.encoded, sizes.new, most=True)
    report.figure("extract and score, first night against the second by window", first.work / window.work, unit="x")
    report.figure("extract and score, first night against the second as a batch", first.work / batch.work, unit="x")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        below = np.zeros(len(nights))
        for stage in ("extract", "score", "reduce"):
            seconds = np.array([getattr(of, stage) for of in nights])
            axes.bar([of.name for of in nights], seconds, bottom=below, label=stage)
            below += seconds
        axes.set(ylabel="seconds", title="Seconds of a night's stages")
        axes.legend()

    report.save(draw)


def write(lake: Path, numbers: range) -> None:
    """Write crops of one photograph as images of one product."""
    photograph = _photograph("brick")
    folder = lake / "brick"
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        crop = CROPS["brick"](photograph, np.random.default_rng(number))
        Image.fromarray(np.clip(crop, 0, 255).astype(np.uint8)).save(folder / f"{number:04d}.png")


def night(name: str, lake: Path, output: Path, source: str, sizes: Sizes) -> Night:
    """Run the job, and read what it did."""
    run_id = name.replace(", ", "-")
    settings = {
        "input.uri": lake,
        "output.uri": output,
        "output.run_id": run_id,
        "encoder.name": ENCODER,
        "encoder.weights": sample_weights(),
        "references.source": source,
        "references.count": 100,
    } | sizes.settings
    began = time.perf_counter()
    run(flags(settings), sizes.apart)
    seconds = time.perf_counter() - began
    found = json.loads((output / "runs" / f"run_id={run_id}" / "run.json").read_bytes())
    counts, stages = found["counts"], found["seconds"]
    scored = counts["scored"] - counts["carried"]
    encoded = scored - counts["features_reused"]
    return Night(name, counts["images"], encoded, scored, seconds, stages["extract"], stages["score"], stages["reduce"])


def run(arguments: list[str], apart: bool) -> None:
    """Run the job; raises SystemExit with what it said when it fails."""
    if apart:
        environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
        command = [sys.executable, str(JOB), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    else:
        done = run_job_here(*arguments)
    if done.returncode:
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    start(main, FULL, TOY)
