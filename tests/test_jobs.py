"""What all jobs share: one look, help at once, and errors of one line."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.command import EXIT_CODES

JOBS = sorted((Path(__file__).parents[1] / "jobs").glob("*.py"))
HEAVY = {
    "ray",
    "torch",
    "timm",
    "open_clip",
    "faiss",
    "pyarrow",
    "pandas",
    "numpy",
    "scipy",
    "PIL",
    "matplotlib",
    "boto3",
}
every_job = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)


def run(job: Path, *arguments: str, python: tuple[str, ...] = (), **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *python, str(job), *arguments],
        env={**os.environ, "COLUMNS": "80", "LAKESCORE_TRACEBACK": "", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@every_job
def test_help_has_the_look_of_all_jobs(job: Path) -> None:
    done = run(job, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    usage, description, *_, examples, codes = done.stdout.rstrip("\n").split("\n\n")
    assert usage.startswith(f"usage: {job.name} ") and len(usage.splitlines()) == 1
    summary = (ast.get_docstring(ast.parse(job.read_text())) or "").partition("\n\n")[0]
    assert " ".join(description.split()) == " ".join(summary.split())
    heading, *lines = examples.splitlines()
    assert heading == "examples:" and all(line.startswith(f"  {job.name}") or line[:4] == "    " for line in lines)
    assert " ".join(codes.split()).startswith(f"exit codes: {EXIT_CODES}")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not re.search(r"type: |class '|default: null|default: False", done.stdout)


@every_job
def test_help_does_not_wait_for_what_takes_seconds_to_import(job: Path) -> None:
    done = run(job, "--help", python=("-X", "importtime"))
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "jsonargparse" in imported  # or the times are not where they are looked for
    assert not imported & HEAVY


@every_job
def test_an_unknown_flag_is_an_error_of_one_printable_line(job: Path) -> None:
    done = run(job, "--nonsense\x1b[2J\n=1", "a", "b", "c")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ") and line.endswith("(see --help)") and line.isprintable()


def fail(how: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a job that fails, as every job is run."""
    script = f"""
import sys
from pipeline.command import exit_code
from pipeline.errors import RunLocked
from pipeline.log import show_log

def main():
    {how}

show_log()
sys.exit(exit_code(main))
"""
    given = {**os.environ, "LAKESCORE_TRACEBACK": "", **env}
    return subprocess.run([sys.executable, "-c", script], env=given, capture_output=True, text=True, check=False)


def test_an_error_of_ours_is_one_line_and_its_exit_code_also_where_a_traceback_is_asked_for() -> None:
    done = fail("raise RunLocked('run \\x1b]0;a\\x07 is locked')")
    assert (done.returncode, done.stderr) == (4, "error: run \\x1b]0;a\\x07 is locked\n")
    done = fail("raise RunLocked('run \\x1b]0;a\\x07 is locked')", LAKESCORE_TRACEBACK="1")
    assert done.returncode == 4 and done.stderr.startswith("Traceback") and "\x1b" not in done.stderr
    assert done.stderr.splitlines()[-1] == "error: run \\x1b]0;a\\x07 is locked"


def test_an_error_that_nobody_foresaw_is_one_line_too() -> None:
    done = fail("{}['\\x1b[2J']")
    assert done.returncode == 1
    assert done.stderr == (
        "error: KeyError: '\\x1b[2J' (not foreseen: LAKESCORE_TRACEBACK=1 shows where it came from)\n"
    )
    assert "in main" in fail("{}['a']", LAKESCORE_TRACEBACK="1").stderr
