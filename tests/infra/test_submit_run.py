"""The script of the nightly CronJob, on a real head."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient, JobType

from tests.cluster.conftest import Head, started_head
from tests.infra.conftest import INFRA

SCRIPT = INFRA / "k8s" / "base" / "submit_run.py"


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head that the tests of this file share."""
    with started_head() as head:
        yield head


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module, for what needs no head."""
    spec = importlib.util.spec_from_file_location("submit_run", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


@pytest.mark.parametrize(
    ("job", "run"),
    [
        ("nightly-29394720", "2025-11-21"),
        ("nightly-29396159", "2025-11-21"),
        ("nightly-29396160", "2025-11-22"),
        ("2025-11-21", "2025-11-21"),  # kubectl create job --from=cronjob/nightly 2025-11-21
        ("nightly-by-hand", "nightly-by-hand"),
        ("20251121", "20251121"),
        ("nightly-20251121", "nightly-20251121"),
    ],
)
def test_which_night_it_is(script: ModuleType, job: str, run: str) -> None:
    assert script.run_id(job) == run


def test_what_another_process_does_is_waited_for(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = iter([4, 4, 3])
    waits: list[float] = []
    monkeypatch.setattr(script, "connect", lambda: None)
    monkeypatch.setattr(script, "submit", lambda *_: "id")
    monkeypatch.setattr(script, "follow", lambda *_: next(codes))
    monkeypatch.setattr(script.time, "sleep", waits.append)
    monkeypatch.setattr(script.signal, "signal", lambda *_: None)
    assert script.main("x", ["true"]) == 3
    assert waits == [60, 60]


class Broken:
    """A client whose log breaks off at first and then lacks its end, and whose head knows the jobs given."""

    def __init__(self, *later: list[JobDetails]) -> None:
        self.pieces: Iterator[list[str | Exception]] = iter(
            [["one ", "two", RuntimeError("closed")], ["one t", "wo three\n"], []]
        )
        self.later = iter(later)

    async def tail_job_logs(self, _: str) -> AsyncIterator[str]:
        for piece in next(self.pieces):
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def get_job_logs(self, _: str) -> str:
        return "one two three\n"

    def list_jobs(self) -> list[JobDetails]:
        return next(self.later)


def details(status: JobStatus, **more: Any) -> JobDetails:
    return JobDetails(type=JobType.SUBMISSION, submission_id="x.1", status=status, entrypoint="true", **more)


def test_a_log_that_breaks_off_goes_on(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script.time, "sleep", lambda _: None)
    client = Broken([details(JobStatus.RUNNING)], [details(JobStatus.SUCCEEDED)])
    assert script.follow(client, "x.1") == 0
    assert capsys.readouterr().out == "one two three\n"


def test_a_new_head_knows_no_job(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.follow(Broken([]), "x.1") == 1
    assert "it was replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (details(JobStatus.SUCCEEDED, driver_exit_code=0), 0),
        (details(JobStatus.FAILED, driver_exit_code=2), 2),
        (details(JobStatus.FAILED, driver_exit_code=-9), 1),
        (details(JobStatus.FAILED), 1),
        (details(JobStatus.STOPPED), 143),
    ],
)
def test_how_a_job_ended(script: ModuleType, job: JobDetails, code: int) -> None:
    assert script.exit_code(job) == code
