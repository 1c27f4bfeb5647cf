"""A whole job on a lake that grows: seconds of each stage, memory of each process, files; and the night after.

    python -m bench.lake

The images are small and the encoder (tests/tiny) costs nothing: what is measured is all that the job does beside the
encoder. The lake has a category that grows and one that stays small. It is scored in its first night, in the next one
by the window's references with some images more, and by preset paper.
"""

import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from matplotlib.figure import Figure
from PIL import Image

from bench.report import Cell, Report, start
from pipeline.io.storage import Location
from pipeline.store.run_folder import RunFolder
from tests.conftest import TINY
from tests.running import JOB, flags, run_job_here, tiny_weights

SIDE = 56  # pixels of an image
DEFECTS = 50  # one image of so many has a defect, and a mask
EVERY = 0.1  # seconds between two looks at the processes
EXPONENT_AIM = 1.1
SHORTEST = 1.0  # second of a stage, below which its exponent is noise
STAGES = ("catalog", "start", "extract", "compare", "score", "reduce", "regions", "draw", "rest")
FIRST, NEXT, PAPER = RUNS = ("first", "next night", "paper")
PROCESSES = (  # the driver, and workers by the stage that they do
    *("driver", "DecodeBlock", "EncodeBlock", "FindNearDuplicates", "ScoreUnits", "WriteMaps", "RescoreCategory"),
    *("MeasureCategory", "FindRegions", "FindFamilies", "FindEvidence"),
)


@dataclass(frozen=True)
class Sizes:
    """Images of the lakes, of the small category in each, and those that the next night has more; other settings.

    `apart`: a run is a process of its own that starts a Ray, or works on the Ray of this one.
    """

    images: tuple[int, ...]
    small: int
    new: int
    settings: dict[str, int]
    apart: bool


FULL = Sizes((2_000, 8_000, 32_000), small=100, new=100, settings={"report.images": 20}, apart=True)
SPARING = {"report.images": 0, "ray.encode.max": 1, "ray.score.max": 1}  # no report, and no second worker
TOY = Sizes((12, 20), small=4, new=2, settings=SPARING, apart=False)


@dataclass(frozen=True)
class Ran:
    """What a run took: seconds by stage; what its processes took, by what they did; files and bytes that it wrote."""

    run: str
    images: int
    seconds: dict[str, float]
    processes: "Watch"
    features: tuple[int, int]
    results: tuple[int, int]


def main(report: Report, sizes: Sizes) -> None:
    report.title(
        f"A lake that grows, of {SIDE} x {SIDE} pixels, {sizes.small} of the images in a category of their own"
    )
    ran: list[Ran] = []
    for images in sizes.images:
        with tempfile.TemporaryDirectory() as folder:
            lake, output = Path(folder) / "lake", Path(folder) / "out"
            write(lake / "small", range(sizes.small))
            write(lake / "large", range(images - sizes.small))
            ran.append(measure(FIRST, lake, output, images, sizes))
            write(lake / "large", range(images - sizes.small, images - sizes.small + sizes.new))
            ran.append(measure(NEXT, lake, output, images, sizes))
            ran.append(measure(PAPER, lake, output, images, sizes))
    ran.sort(key=lambda of: RUNS.index(of.run))
    report.table(
        "Seconds",
        ["run", "images", *STAGES, "all"],
        [[of.run, of.images, *(seconds_of(of, name) for name in (*STAGES, "all"))] for of in ran],
    )
    columns = ["process", *(f"{of.run} {of.images}" for of in ran)]
    spent: list[list[Cell]] = [[name, *(of.processes.spent[name] for of in ran)] for name in PROCESSES]
    report.table("Seconds of processors", columns, spent)
    memory: list[list[Cell]] = [[name, *(of.processes.most[name] / 1e6 for of in ran)] for name in PROCESSES]
    report.table("Peak MB of a process", columns, memory)
    columns = ["run", "images", "files of features", "MB of features", "files of the run", "MB of the run"]
    files: list[list[Cell]] = [
        [of.run, of.images, of.features[0], of.features[1] / 1e6, of.results[0], of.results[1] / 1e6] for of in ran
    ]
    report.table("Files", columns, files)
    pairs = [(before, after) for before, after in zip(ran, ran[1:], strict=False) if before.run == after.run]
    for what, names in (("stages", (*STAGES, "all")), ("processes", PROCESSES)):
        grown: list[list[Cell]] = [
            [after.run, before.images, after.images, *(shown(exponent(before, after, name)) for name in names)]
            for before, after in pairs
        ]
        report.table(f"Exponents of seconds, of {what}", ["run", "images", "then", *names], grown)
    for before, after in pairs:
        found = {name: exponent(before, after, name) for name in (*STAGES, *PROCESSES)}
        name = max(found, key=lambda of: found[of] or 0.0)
        about = f"highest exponent, {after.run}, {before.images} to {after.images} images: {name}"
        report.figure(about, found[name] or 0.0, EXPONENT_AIM, most=True)

    def draw(figure: Figure) -> None:
        for axes, run in zip(figure.subplots(1, len(RUNS), sharey=True), RUNS, strict=True):
            of_run = [of for of in ran if of.run == run]
            for stage in STAGES:
                axes.loglog([of.images for of in of_run], [of.seconds[stage] for of in of_run], "o-", label=stage)
            axes.set(title=run, xlabel="images", ylabel="seconds")
        axes.legend()

    report.save(draw)


def write(folder: Path, numbers: range) -> None:
    """Write images of a category, each a texture of its own, some of them with a defect and its mask."""
    for number in numbers:
        rng = np.random.default_rng([number, len(folder.name)])
        coarse = Image.fromarray(rng.integers(90, 150, (5, 5), np.uint8)).resize((SIDE, SIDE))
        pixels = np.asarray(coarse).astype(np.int16) + rng.integers(-8, 9, (SIDE, SIDE), np.int16)
        defect = "scratch" if number % DEFECTS == DEFECTS - 1 else "good"
        if defect != "good":
            mask = np.zeros((SIDE, SIDE), np.uint8)
            top, left = rng.integers(0, SIDE - 16, 2)
            mask[top : top + 16, left : left + 16] = 255
            pixels[mask > 0] += rng.integers(-80, 81, (16, 16), np.int16).ravel()
            _save(folder / "ground_truth" / defect / f"{number:06d}_mask.png", mask)
        _save(folder / "test" / defect / f"{number:06d}.png", np.clip(pixels, 0, 255).astype(np.uint8))


def _save(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def measure(run: str, lake: Path, output: Path, images: int, sizes: Sizes) -> Ran:
    """Run the job, watch its processes, and read what it says of itself."""
    run_id = run.replace(" ", "-")
    features = output / "features"
    before = held(features)
    settings = {
        "input.uri": lake,
        "output.uri": output,
        "output.run_id": run_id,
        "encoder.name": "tiny:any",
        "encoder.weights": tiny_weights(),
        "encoder.size": SIDE,
        "method.preset": "paper" if run == PAPER else "lakescore",
        "references.source": "batch" if run == PAPER else "window",
    } | sizes.settings
    began = time.perf_counter()
    processes = watched(flags(settings), sizes.apart)
    whole = time.perf_counter() - began
    folder = RunFolder(Location.parse(str(output)), run_id)
    found = folder.finished()
    assert found is not None, "the job ended well"
    seconds = {stage: found.seconds.get(stage, 0.0) for stage in STAGES}
    seconds["rest"] = whole - sum(found.seconds.values())  # starting Python, ending Ray, and publishing
    now = held(features)
    results = held(output / "runs" / f"run_id={run_id}")
    return Ran(run, images, seconds, processes, (now[0] - before[0], now[1] - before[1]), results)


def watched(arguments: list[str], apart: bool) -> "Watch":
    """Run the job, and watch its processes; raises SystemExit with what it said when it fails."""
    if not apart:
        with Watch(os.getpid()) as watch:
            done = run_job_here(*arguments)
        code, said = done.returncode, done.stderr
    else:
        path = os.pathsep.join([str(TINY), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": path}
        with tempfile.TemporaryFile("w+") as log:
            job = subprocess.Popen([sys.executable, str(JOB), *arguments], env=environment, stdout=log, stderr=log)
            with Watch(job.pid) as watch:
                code = job.wait()
            log.seek(0)
            said = log.read()
    if code:
        raise SystemExit(said)
    return watch


class Watch:
    """Looks at a process and those below it, by what each does: `most` bytes of one, seconds `spent` of processors."""

    def __init__(self, pid: int) -> None:
        self.most = defaultdict[str, int](int)
        self.spent = defaultdict[str, float](float)
        self._before = dict[psutil.Process, float]()
        self._pid, self._ended = pid, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(EVERY):
            with suppress(psutil.Error):
                driver = psutil.Process(self._pid)
                self._note("driver", driver)
                for process in driver.children(recursive=True):
                    with suppress(psutil.Error, IndexError):
                        title = process.cmdline()[0]
                        if title.startswith("ray::"):  # Ray calls a worker by its work
                            self._note(title.removeprefix("ray::").removesuffix("()"), process)

    def _note(self, what: str, process: psutil.Process) -> None:
        times = process.cpu_times()
        seconds = times.user + times.system
        self.spent[what] += seconds - self._before.get(process, 0.0)  # since the last look: what it did then, about
        self._before[process] = seconds
        self.most[what] = max(self.most[what], process.memory_info().rss)


def held(folder: Path) -> tuple[int, int]:
    """Return how many files there are below a folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def seconds_of(of: Ran, name: str) -> float:
    """Return the seconds of a stage, of all of them, or of processors in a kind of process."""
    seconds = of.seconds | {"all": sum(of.seconds.values())}
    return seconds[name] if name in seconds else of.processes.spent[name]


def exponent(before: Ran, after: Ran, name: str) -> float | None:
    """Return the power of the images that seconds grew with; None where they are too few to say."""
    now = seconds_of(after, name)
    if now < SHORTEST:
        return None
    return math.log(now / max(seconds_of(before, name), EVERY)) / math.log(after.images / before.images)


def shown(power: float | None) -> Cell:
    """Return what a table shows of an exponent."""
    return "-" if power is None else power


if __name__ == "__main__":
    start(main, FULL, TOY)
