"""A soak: runs whose driver is killed at random times, and started again until they end by themselves.

    .venv/bin/python -m tests.cluster.soak --runs 30

All runs are of one small lake into one output. Before every second one the features are deleted; in every third one a
worker is killed too. Prints a row for each run, and exits with 1 if anything was wrong.
"""

import argparse
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pandas as pd

from tests.conftest import TINY, python_path
from tests.running import JOB, flags, read_scores, settings, small_lake

KILLED_WITHIN = 1.2  # of the seconds of an undisturbed run
MOST_KILLS = 6  # of one run
TRY_SECONDS = 300
LEAVE_SECONDS = 150  # Ray's agents outlive a killed driver by a minute or more: they look for it now and then only
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What became of one run: a row of the table."""

    run: str
    ends: str  # exit code of each try; -9 is a killed driver
    killed_after: str  # the last stage that the log of each killed driver tells of
    workers: int  # processes killed
    seconds: float  # of all tries
    encoded: int  # by the last try
    reused: int
    lost: int  # rows
    twice: int
    partial: int  # files below the output that nobody will finish, of all runs so far
    alive: int  # processes of all drivers killed so far
    wrong: str


class Soak:
    """A small lake, the scores of a run that nobody disturbed, and runs that are."""

    def __init__(self, folder: Path, seed: int, most_kills: int = MOST_KILLS) -> None:
        self._lake, self._output, self._logs = small_lake(folder / "lake"), folder / "out", folder / "logs"
        self._logs.mkdir()
        self._seed, self._most_kills = seed, most_kills
        self._killed: list[int] = []
        start, log = time.monotonic(), self._logs / "plain"
        if code := self._start(folder / "plain", "plain", log).wait(TRY_SECONDS):
            raise RuntimeError(f"a run that nobody disturbed ended with exit code {code}: {_last_line(log)}")
        self.seconds = time.monotonic() - start
        self._expected = read_scores(folder / "plain", "plain").set_index("uri")

    def run(self, number: int) -> Outcome:
        """Do one run, with as many tries as it takes."""
        name, rng = f"soak-{number:03d}", random.Random(f"{self._seed} {number}")
        if number % 2:
            shutil.rmtree(self._output / "features", ignore_errors=True)
        start, workers = time.monotonic(), 0
        ends: list[int] = []
        stages: list[str] = []
        wrong: list[str] = []
        while 0 not in ends and len(ends) < self._most_kills + 2:
            log = self._logs / f"{name}-{len(ends)}"
            driver = self._start(self._output, name, log)
            life = rng.uniform(0, KILLED_WITHIN * self.seconds)
            if number % 3 == 1 and not workers:
                workers += _kill_worker(driver, self.seconds / 4, rng)
            if len(stages) < self._most_kills and not _ends(driver, life):
                self._kill(driver)
                stages.append(_stage(log))
            if not _ends(driver, TRY_SECONDS):
                self._kill(driver)
                wrong.append(f"hung after {_stage(log)}")
            ends.append(driver.wait())
            if ends[-1] not in (0, -signal.SIGKILL):
                wrong.append(f"exit code {ends[-1]}: {_last_line(log)}")
        seconds = time.monotonic() - start
        if ends == [0]:  # the first run of all is slow: nothing was in the machine's caches yet
            self.seconds = min(self.seconds, seconds)
        found, counts = self._expected[:0], {"images": 0, "features_reused": 0}
        if 0 in ends:
            found = read_scores(self._output, name).set_index("uri")
            counts = json.loads((self._results(name) / "run.json").read_text())["counts"]
        return Outcome(
            run=name,
            ends=" ".join(map(str, ends)),
            killed_after=" ".join(stages),
            workers=workers,
            seconds=round(seconds, 1),
            encoded=counts["images"] - counts["features_reused"],
            reused=counts["features_reused"],
            lost=len(self._expected.index.difference(found.index)),
            twice=int(found.index.duplicated().sum()),
            partial=sum(1 for _ in self._output.rglob(".*.partial")),
            alive=len(self.alive()),
            wrong="; ".join(wrong + self._problems(name, found)),
        )

    def alive(self) -> list[str]:
        """Return the names of the processes that killed drivers have left and that are still there."""
        return [name for driver in self._killed for name in _session(driver).values()]

    def wait_until_all_have_left(self) -> None:
        """Wait until no process of a killed driver is there any more, some minutes at most."""
        deadline = time.monotonic() + LEAVE_SECONDS
        while pids := [pid for driver in self._killed for pid in _session(driver)]:
            if (seconds := deadline - time.monotonic()) <= 0:
                return
            with suppress(ProcessLookupError), open(os.pidfd_open(pids[0]), "rb", buffering=0) as end:
                select.select([end], [], [], seconds)

    def _start(self, output: Path, name: str, log: Path) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        with log.open("wb") as said:
            return subprocess.Popen(
                [
                    sys.executable,
                    str(JOB),
                    *flags(settings(self._lake, output, output__run_id=name, report__images=20)),
                ],
                env=environment | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": python_path(TINY)},
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,  # everything that Ray starts for it stays in its session
            )

    def _kill(self, driver: subprocess.Popen[bytes]) -> None:
        driver.kill()  # and nothing that Ray started for it
        driver.wait()
        self._killed.append(driver.pid)

    def _results(self, name: str) -> Path:
        return self._output / "runs" / f"run_id={name}"

    def _problems(self, name: str, found: pd.DataFrame) -> list[str]:
        """Say what is wrong with a published run, beside its rows."""
        if found.empty:
            return ["never ended by itself"]
        problems = []
        columns = ["score", "score_raw"]
        once = found[~found.index.duplicated()].reindex(self._expected.index)
        difference = (once[columns] - self._expected[columns]).abs().max().max()
        if not difference <= TOLERANCE:
            problems.append(f"scores differ by {difference}")
        latest = json.loads((self._output / "latest.json").read_text())
        if latest["run_id"] != name or not (self._output / latest["run"] / "run.json").exists():
            problems.append(f"latest.json names {latest['run_id']}")
        if left := [path for path in (self._output / "work").rglob("*") if path.is_file()]:
            problems.append(f"work is left: {left[0]}")
        return problems


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Tell whether a process ends by itself within some seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _session(driver: int) -> dict[int, str]:
    """Return the processes of a driver's session, itself too, by id: what each calls itself."""
    found = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # ended meanwhile
            if folder.name.isdigit() and os.getsid(int(folder.name)) == driver:
                found[int(folder.name)] = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
    return {pid: name for pid, name in found.items() if name}  # a process that nobody has waited for has none


def _workers(driver: subprocess.Popen[bytes]) -> list[int]:
    return [pid for pid, name in sorted(_session(driver.pid).items()) if re.match("ray::(?!.*Agent$)", name)]


def _kill_worker(driver: subprocess.Popen[bytes], within: float, rng: random.Random) -> bool:
    """Kill a worker within some seconds of the first one's beginning, if the driver lives to see that."""
    while not _workers(driver):
        if _ends(driver, 0.1):
            return False
    _ends(driver, rng.uniform(0, within))
    if workers := _workers(driver):
        with suppress(ProcessLookupError):
            os.kill(rng.choice(workers), signal.SIGKILL)
    return bool(workers)


def _stage(log: Path) -> str:
    """Return the stage that a log's last line about one tells of."""
    stages: list[str] = re.findall(r"^([a-z]+) ", log.read_text(), re.MULTILINE)
    return stages[-1] if stages else "start"


def _last_line(log: Path) -> str:
    return ([""] + log.read_text().splitlines())[-1]


def _row(values: tuple[object, ...]) -> str:
    widths = (8, 22, 40, 7, 7, 7, 6, 4, 5, 7, 5, 0)
    return "  ".join(str(value).ljust(width) for value, width in zip(values, widths, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), arguments.seed)
        print(f"an undisturbed run takes {soak.seconds:.1f} s\n{_row(tuple(field.name for field in fields(Outcome)))}")
        bad = 0
        for number in range(arguments.runs):
            outcome = soak.run(number)
            print(_row(astuple(outcome)), flush=True)
            bad += bool(outcome.lost or outcome.twice or outcome.wrong)
        soak.wait_until_all_have_left()
        print(f"{bad} runs were wrong; processes left of killed drivers: {soak.alive() or 'none'}")
    return 1 if bad or soak.alive() else 0


if __name__ == "__main__":
    sys.exit(main())
