"""The script of the nightly CronJob: its decisions. tests/cluster/test_head.py has it submit to a real head."""

import importlib.util
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest
from ray.job_submission import JobDetails, JobStatus, JobType

from tests.infra.conftest import INFRA

SCRIPT = INFRA / "k8s" / "base" / "submit_run.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module, for what needs no head."""
    spec = importlib.util.spec_from_file_location("submit_run", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
