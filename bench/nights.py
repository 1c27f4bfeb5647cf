"""What a second night costs: the same lake and ten images more, scored as a batch or against the window.

python -m bench.nights
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from bench.report import Report
from pipeline.sample.lake import CROPS, _photograph
from pipeline.sample.weights import ENCODER, sample_weights

IMAGES, NEW = 150, 10
JOB = Path(__file__).parents[1] / "jobs" / "score_dataset.py"


def main() -> None:
    report = Report("nights", f"A night of {IMAGES} images, and the next one with {NEW} more")
    with tempfile.TemporaryDirectory() as folder:
        lake, output = Path(folder) / "lake", Path(folder) / "out"
        write(lake, range(IMAGES))
        rows = [["first", *night(lake, output, "first", "window")]]
        write(lake, range(IMAGES, IMAGES + NEW))
        rows.append(["second, window", *night(lake, output, "window", "window")])
        rows.append(["second, batch", *night(lake, output, "batch", "batch")])
    columns = ["night", "images", "encoded", "scored", "all s", "extract s", "score s", "reduce s"]
    report.table("Nights", columns, rows)
    first, window, batch = rows
    report.figure("encoded in the second night", batch[2], NEW, most=True)
    report.figure("extract and score, first night against the second by window", work(first) / work(window), unit="x")
    report.figure("extract and score, first night against the second as a batch", work(first) / work(batch), unit="x")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        below = np.zeros(len(rows))
        for place, stage in enumerate(("extract", "score", "reduce")):
            seconds = np.array([float(row[5 + place]) for row in rows])
            axes.bar([str(row[0]) for row in rows], seconds, bottom=below, label=stage)
            below += seconds
        axes.set(ylabel="seconds", title="Seconds of a night's stages")
        axes.legend()

    report.save(draw)


def work(row: list[Any]) -> float:
    return float(row[5] + row[6])


def write(lake: Path, numbers: range) -> None:
    """Write crops of one photograph as images of one product."""
    photograph = _photograph("brick")
    folder = lake / "brick"
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        crop = CROPS["brick"](photograph, np.random.default_rng(number))
        Image.fromarray(np.clip(crop, 0, 255).astype(np.uint8)).save(folder / f"{number:04d}.png")


def night(lake: Path, output: Path, run_id: str, source: str) -> list[Any]:
    """Run the job; return images, encoded, scored, seconds of all, and of three stages."""
    flags = {
        "input.uri": lake,
        "output.uri": output,
        "output.run_id": run_id,
        "encoder.name": ENCODER,
        "encoder.weights": sample_weights(),
        "encoder.size": 224,
        "references.source": source,
        "references.count": 100,
    }
    command = [sys.executable, str(JOB), *(f"--{name}={value}" for name, value in flags.items())]
    start = time.perf_counter()
    subprocess.run(command, env=os.environ | {"RAY_AUTH_MODE": "disabled"}, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    run = json.loads((output / "runs" / f"run_id={run_id}" / "run.json").read_bytes())
    counts = run["counts"]
    scored = counts["scored"] - counts["carried"]
    stages = [run["seconds"][stage] for stage in ("extract", "score", "reduce")]
    return [counts["images"], scored - counts["features_reused"], scored, seconds, *stages]


if __name__ == "__main__":
    main()
