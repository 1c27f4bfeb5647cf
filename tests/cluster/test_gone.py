"""A run whose Ray does not come up, or dies under it, ends in words, leaves nothing, and is taken up."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.cluster.conftest import started_head
from tests.cluster.test_same_scores import largest_difference
from tests.conftest import PlainRun
from tests.running import JOB, flags, read_scores, run_job_here, settings

# The job, whose workers hold on to their units for ever, and say that they do
HELD = f"""
import runpy, threading
from pathlib import Path
from pipeline.engine import cluster
from pipeline.stages import score

class Held(score.ScoreUnits):
    def __call__(self, block):
        (Path({{begun!r}})).touch()
        threading.Event().wait()

score.ScoreUnits, cluster.Pool.device = Held, "cpu"  # GPUs are logical here
runpy.run_path({str(JOB)!r}, run_name="__main__")
"""


@contextmanager
def held(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the job, and wait until a worker holds a unit."""
    begun = folder / "begun"
    command = [sys.executable, "-c", HELD.format(begun=str(begun)), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 120
            while not begun.exists():
                assert time.monotonic() < deadline and process.poll() is None
                threading.Event().wait(0.1)
            yield process
        finally:
            process.kill()


def kill(name: str, above: int, told: str) -> None:
    """Kill the process of some name below another one that was told something on its command line."""
    children = psutil.Process(above).children(recursive=True)
    [victim] = [child for child in children if child.name() == name and told in " ".join(child.cmdline())]
    victim.kill()


def ended(process: subprocess.Popen[str]) -> str:
    """Return the last line of a job that has to end, in words, within a minute."""
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    last = said.splitlines()[-1]
    assert last.startswith("error: Ray is gone") and "output.run_id" in last and len(last) <= 500, said
    return last


@pytest.mark.parametrize("victim", ["raylet", "gcs_server"])
def test_a_local_ray_that_dies_ends_the_run_which_is_taken_up(plain_run: PlainRun, tmp_path: Path, victim: str) -> None:
    output = tmp_path / "out"
    arguments = flags(settings(plain_run.lake, output))
    with tempfile.TemporaryDirectory() as rays:  # Ray's sockets bear no long path
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_TMPDIR", rays)
            with held(tmp_path, *arguments) as process:
                kill(victim, process.pid, str(process.pid))
                ended(process)
        assert not list(Path(rays).iterdir())
    done = run_job_here(*arguments)
    assert done.returncode == 0 and "was begun before" in done.stderr
    assert largest_difference(plain_run.scores, read_scores(output)) <= 1e-6


@pytest.mark.daily
@pytest.mark.parametrize("victim", ["raylet", "gcs_server"])
def test_a_cluster_that_dies_ends_the_run_also_on_actors(plain_run: PlainRun, tmp_path: Path, victim: str) -> None:
    with started_head(gpus=1) as head:
        on_gpus = {"ray.address": head.address, "ray.encode.gpus": 1, "ray.score.gpus": 1}
        with held(tmp_path, *flags(settings(plain_run.lake, tmp_path / "out") | on_gpus)) as process:
            kill(victim, os.getpid(), head.address.rpartition(":")[2])
            ended(process)


@pytest.mark.daily
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
@pytest.mark.parametrize("held_back", [1, 3])
def test_a_ray_that_does_not_come_up_on_a_busy_machine(
    plain_run: PlainRun, tmp_path: Path, name: str, held_back: int
) -> None:
    arguments = flags(settings(plain_run.lake, tmp_path / "out"))
    stopped = list[psutil.Process]()
    with tempfile.TemporaryDirectory() as rays:  # Ray's sockets bear no long path
        command, environment = [sys.executable, str(JOB), *arguments], os.environ | {"RAY_TMPDIR": rays}
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            above = psutil.Process(process.pid)
            while process.poll() is None:
                for child in above.children():
                    if child.name() == name and child not in stopped and len(stopped) < held_back:
                        child.suspend()
                        stopped.append(child)
                threading.Event().wait(0.05)
            assert process.stderr
            said = process.stderr.read()
        assert not list(Path(rays).rglob("session_*"))
    assert said.count("starting them once more") == min(held_back, 2), said
    assert len(stopped) == held_back and not any(child.is_running() for child in stopped)
    if held_back == 1:
        assert process.returncode == 0, said
        assert largest_difference(plain_run.scores, read_scores(tmp_path / "out")) <= 1e-6
    else:
        assert process.returncode == 1, said
        last = said.splitlines()[-1]
        assert (
            "Ray did not start on this machine in 3 tries" in last and "not foreseen" not in last and len(last) <= 500
        )
