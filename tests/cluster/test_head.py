"""On a real head node: what `ray job submit` and the nightly CronJob's script submit, and a driver that joins it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from tests.cluster.conftest import Head, started_head
from tests.cluster.test_same_scores import largest_difference
from tests.conftest import REPOSITORY, PlainRun
from tests.infra.conftest import INFRA
from tests.running import flags, read_scores, run_job, settings

SCRIPT = INFRA / "k8s" / "base" / "submit_run.py"
ON_CPU = {"ray.encode.gpus": 0, "ray.score.gpus": 0}


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head node that says that it has a GPU."""
    with started_head(gpus=1) as head:
        yield head


def test_ray_job_submit_gives_the_scores_of_the_plain_run(head: Head, plain_run: PlainRun, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "ray"), "job", "submit", "--address", head.jobs]
    command += [
        "--working-dir",
        ".",
        "--",
        "python",
        "jobs/score_dataset.py",
        *flags(settings(plain_run.lake, tmp_path, report__images=20) | ON_CPU),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert largest_difference(plain_run.scores, read_scores(tmp_path)) <= 1e-6


def test_workers_that_hold_a_gpu_give_the_scores_of_the_plain_run(
    head: Head, plain_run: PlainRun, tmp_path: Path
) -> None:
    on_gpus = {"ray.address": head.address, "ray.encode.gpus": 1, "ray.score.gpus": 1}
    imagined = "from pipeline.engine.cluster import Pool; Pool.device = 'cpu'"  # so torch computes on the CPU
    done = run_job(*flags(settings(plain_run.lake, tmp_path) | on_gpus), before=imagined)
    assert done.returncode == 0, done.stderr
    assert largest_difference(plain_run.scores, read_scores(tmp_path)) <= 1e-6


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(head: Head) -> Iterator[Start]:
    """Start the script for a Kubernetes job of some name and a command; end it after the test."""
    with ExitStack() as stack:

        def start(job: str, *command: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, SCRIPT, *command],
                env=os.environ | {"RAY_API_SERVER_ADDRESS": head.jobs, "JOB_NAME": job},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def test_the_exit_code_is_that_of_the_run(head: Head, start: Start) -> None:
    good = start("nightly-29394720", "sh", "-c", "echo the arguments: $0")
    bad = start("by-hand", "sh", "-c", "echo nothing to score; exit 3")
    said, log = good.communicate(timeout=120)
    assert (good.returncode, said.splitlines().count("the arguments: --output.run_id=2025-11-21")) == (0, 1), log
    said, log = bad.communicate(timeout=120)
    assert (bad.returncode, said.splitlines().count("nothing to score")) == (3, 1), log
    assert "exit code 3" in log
    again = start("by-hand", "sh", "-c", "exit 2")
    _, log = again.communicate(timeout=120)
    assert again.returncode == 2, log
    ids = {job.submission_id for job in JobSubmissionClient(head.jobs).list_jobs()}
    assert {"2025-11-21.1", "by-hand.1", "by-hand.2"} <= ids


def test_a_second_start_follows_the_first_and_a_stopped_run_is_no_success(head: Head, start: Start) -> None:
    command = ["sh", "-c", "echo begun; exec sleep 600"]
    processes = []
    for _ in range(2):
        process = start("stopped", *command)
        assert process.stdout and "begun\n" in iter(process.stdout.readline, "")
        processes.append(process)
    processes[0].send_signal(signal.SIGTERM)
    for process in processes:
        _, log = process.communicate(timeout=120)
        assert process.returncode == 143, log
    ours = {job.submission_id: job.status for job in JobSubmissionClient(head.jobs).list_jobs()}
    assert ours["stopped.1"] == JobStatus.STOPPED and "stopped.2" not in ours
