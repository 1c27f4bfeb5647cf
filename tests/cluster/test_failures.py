"""What a fleet sees: processes that die at any moment, and images that kill. The scores stay the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from pipeline.io import lock
from pipeline.io.lock import RunLock
from pipeline.io.storage import Location
from pipeline.run import score_lake
from tests.cluster.test_same_scores import largest_difference
from tests.conftest import PlainRun, not_run, python_path
from tests.running import JOB, flags, parse, read_scores, run_job, run_job_here, settings

HOSTILE = Path(__file__).parent / "hostile"


@pytest.fixture
def lake(plain_run: PlainRun) -> Path:
    return plain_run.lake


@pytest.fixture
def undisturbed(plain_run: PlainRun) -> pd.DataFrame:
    return plain_run.scores


def check(undisturbed: pd.DataFrame, output: Path) -> None:
    """No row is lost or twice, the scores are the same, and nothing is left behind."""
    scores = read_scores(output)
    assert scores["uri"].is_unique and len(scores) == len(undisturbed)
    assert largest_difference(undisturbed, scores) <= 1e-6
    assert not (output / "work" / "run_id=test").exists() and not any((output / "locks").iterdir())
    assert json.loads((output / "latest.json").read_bytes())["run_id"] == "test"


class Job:
    """The job in a process of its own, with its log lines as they come."""

    def __init__(self, *arguments: str, **env: str) -> None:
        command = [sys.executable, str(JOB), *arguments, "--log=json"]
        self.process = subprocess.Popen(
            command, env=os.environ | env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self.said: list[str] = []

    def lines(self) -> Iterator[dict[str, Any]]:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("{"):
                yield json.loads(line)

    def wait(self) -> int:
        for _ in self.lines():
            pass
        assert self.process.stderr is not None
        self.process.stderr.close()
        return self.process.wait(timeout=120)

    def until(self, reached: Callable[[dict[str, Any]], bool]) -> bool:
        """Read lines until one is reached; false when the job ends before."""
        return any(reached(line) for line in self.lines())


def said(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: text in line["message"]


def ended(stage: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line.get("stage") == stage and "total" in line


def stored(output: Path) -> dict[Path, int]:
    """Return the files of features, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in (output / "features").rglob("*.parquet")}


def test_a_driver_that_is_killed_and_one_that_is_stopped_are_taken_up_where_they_were(
    lake: Path, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    """The first dies in the first pass of scoring, the second is stopped between the passes."""
    arguments = flags(settings(lake, tmp_path, search__memory_gb=0.0002))  # units of two passes
    killed = Job(*arguments)
    assert killed.until(lambda line: "unit" in line), "".join(killed.said)
    killed.process.kill()
    killed.wait()
    assert not (tmp_path / "latest.json").exists()
    features = stored(tmp_path)
    assert len(features) == 6  # of each category two, and its index

    stopped = Job(*arguments)
    assert stopped.until(ended("pass 1")), "".join(stopped.said)
    first_pass = sum('"unit"' in line for line in stopped.said)
    stopped.process.send_signal(signal.SIGTERM)
    timer = threading.Timer(30, stopped.process.kill)
    timer.start()
    assert stopped.wait() == 143, "".join(stopped.said)
    timer.cancel()
    assert any("taking over the lock of process" in line for line in stopped.said)
    assert "a run is taken up by the same command with its output.run_id" in stopped.said[-1]
    assert list((tmp_path / "locks").iterdir()) == [] and not (tmp_path / "latest.json").exists()

    again = run_job_here(*arguments, "--log=json")
    assert again.returncode == 0, again.stderr
    assert "was begun before" in again.stderr and "taking over" not in again.stderr
    lines = [json.loads(line) for line in again.stderr.splitlines()]
    [score] = [line for line in lines if ended("score")(line)]
    [first] = [line for line in lines if ended("pass 1")(line)]
    assert score["done"] == score["total"] >= 4 and first["done"] == first["total"] > first_pass > 0
    again_done = sum("unit" in line for line in lines)
    assert again_done <= score["total"]  # those of before are not done again
    assert stored(tmp_path) == features  # encoded once
    check(undisturbed, tmp_path)


@pytest.mark.daily
@pytest.mark.timeout(900)
def test_a_driver_that_is_killed_in_each_stage_is_taken_up_where_it_stopped(
    lake: Path, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    arguments = flags(settings(lake, tmp_path))
    features: dict[Path, int] = {}
    moments = [
        said("catalog "),
        said("plan "),
        ended("extract"),
        ended("compare"),
        lambda line: "unit" in line,
        ended("maps"),
    ]
    for moment in moments:
        job = Job(*arguments)
        assert job.until(moment), "".join(job.said)
        job.process.kill()
        job.wait()
        assert not (tmp_path / "latest.json").exists()
        if features:
            assert {path: path.stat().st_mtime_ns for path in features} == features  # encoded once
        features = stored(tmp_path)
    assert len(features) == 6  # of each category two, and its index
    last = Job(*arguments)
    assert last.wait() == 0, "".join(last.said)
    assert any("taking over the lock of process" in line for line in last.said)
    units = [json.loads(line) for line in last.said if line.startswith("{") and '"score ' in line]
    assert len(units) == 1 and "8/8 units" in units[0]["message"]
    assert sum('"unit"' in line for line in last.said) < 8  # those of before are not done again
    check(undisturbed, tmp_path)


def test_a_second_start_is_told_of_the_first(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEWED_EVERY", 0.05)
    with RunLock(Location.parse(str(tmp_path)), "test"):
        second = run_job_here(*flags(settings(lake, tmp_path)))
    assert second.returncode == 4, second.stderr
    assert f"run test is being done by process {os.getpid()} on" in second.stderr
    assert not (tmp_path / "runs").exists() and not (tmp_path / "work").exists()


def test_workers_that_are_killed_at_each_kind_of_work_cost_no_row(
    lake: Path, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    victims = ["DecodeBlock", "EncodeBlock", "ScoreUnits", "WriteMaps"]
    with Killer(victims) as killer:
        score_lake(parse(flags(settings(lake, tmp_path))))
    assert killer.killed == victims
    check(undisturbed, tmp_path)


class Killer:
    """Kills a worker of this process's Ray as soon as it does the work of some name, once for each name, in order."""

    def __init__(self, names: list[str]) -> None:
        self._left, self.killed = list(names), list[str]()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while self._left and not self._stopped.wait(0.02):
            for pid, title in _workers():
                if self._left[0] in title:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        self.killed.append(self._left.pop(0))
                    break


def _workers() -> list[tuple[int, str]]:
    """Return the workers below this process, and what each says that it does."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found.append((process.pid, (process.cmdline() or [""])[0]))
    return [(pid, title) for pid, title in found if title.startswith("ray::")]


def test_images_that_crash_or_hang_the_decoder_cost_their_own_row(
    lake: Path, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    grown = tmp_path / "lake"
    shutil.copytree(lake, grown)
    for name in ("crash", "hang"):
        (grown / "brick" / "test" / "good" / f"{name}.png").write_bytes(f"{name} it".encode())
    arguments = [*flags(settings(grown, tmp_path / "out")), "--input.max_seconds=2"]
    done = run_job(*arguments, env={"PYTHONPATH": python_path(HOSTILE)})
    assert done.returncode == 0, done.stderr
    scores = read_scores(tmp_path / "out")
    bad = scores[scores["status"] == "quarantined"].set_index("reason")["detail"].to_dict()
    assert set(bad) == {"crashed", "timeout"}
    assert "SIGABRT" in bad["crashed"] and "within 2 seconds" in bad["timeout"]
    good = scores[scores["status"] == "scored"].reset_index(drop=True)
    good["uri"] = [uri.replace(str(grown), str(lake)) for uri in good["uri"]]
    assert largest_difference(undisturbed, good) <= 1e-6


def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(lake: Path, undisturbed: pd.DataFrame, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        not_run(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        arguments = flags(settings(lake, disk))
        full = run_job_here(*arguments)
        assert full.returncode == 1, full.stderr
        last = full.stderr.rpartition("error:")[2]
        assert "No space left on device" in last and str(disk) in last and "Traceback" not in last
        assert not any(disk.rglob("run.json"))
        assert not (disk / "latest.json").exists()
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        done = run_job_here(*arguments)
        assert done.returncode == 0, done.stderr
        check(undisturbed, disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
