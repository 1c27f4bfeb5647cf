"""A writer is paused as it publishes, another one takes its run over and publishes: then the first one goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.io import lock
from pipeline.run import score_lake
from tests.conftest import PlainRun
from tests.running import JOB, flags, parse, read_scores, settings

# Says when it is about to write the scores, and waits until it is told to go on
PAUSED = f"""
import runpy
from pipeline.io.storage import Location
write = Location.write_bytes
def paused(self, content, over=None):
    if "/scores/part-" in self.path:
        print("publishing", flush=True)
        input()
    write(self, content, over)
Location.write_bytes = paused
runpy.run_path({str(JOB)!r}, run_name="__main__")
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_published_stays_and_the_late_writer_says_so(
    plain_run: PlainRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "TAKEN_OVER_AFTER", 8.0)  # longer than a sign of life
    values = flags(settings(plain_run.lake, tmp_path / "out"))
    command = [sys.executable, "-c", PAUSED, *values]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        assert first.stdin is not None and first.stdout is not None and first.stderr is not None
        assert first.stdout.readline() == "publishing\n", first.stderr.read()
        os.kill(first.pid, signal.SIGSTOP)
        result = score_lake(parse(values))
        assert result.run.attempt == 1
        published = contents(tmp_path / "out" / "runs")
        os.kill(first.pid, signal.SIGCONT)
        first.stdin.write("\n")
        first.stdin.flush()
        _, said = first.communicate(timeout=120)
    assert first.returncode in (1, 4), said
    assert "published by another process" in said or "taken over by another process" in said
    assert contents(tmp_path / "out" / "runs") == published
    assert read_scores(tmp_path / "out")["score_raw"].tolist() == plain_run.scores["score_raw"].tolist()
