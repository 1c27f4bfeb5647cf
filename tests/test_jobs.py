"""What all jobs share: one look, help at once, and errors of one line."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.command import EXIT_CODES
from tests.published import publish, row

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
def test_help_comes_at_once_and_has_the_look_of_all_jobs(job: Path) -> None:
    done = run(job, "--help", python=("-X", "importtime"))
    assert done.returncode == 0
    times = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert times == done.stderr.splitlines()  # and nothing else is said
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in times}
    assert "jsonargparse" in imported  # or the times are not where they are looked for
    assert not imported & HEAVY  # each takes seconds
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
def test_an_unknown_flag_is_an_error_of_one_printable_line(job: Path) -> None:
    done = run(job, "--nonsense\x1b[2J\n=1", "a", "b", "c")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ") and line.endswith("(see --help)") and line.isprintable()


# a job, what it is given, its exit code, and what it says
WRONG: list[tuple[str, list[str], int, str]] = [
    ("collect_features.py", ["{tmp}"], 2, "there are no features below {tmp}; give the output.uri of the runs"),
    ("collect_features.py", ["{tmp}", "--hours=-1"], 2, "hours: "),
    ("inspect_run.py", [], 2, "required: output"),
    ("inspect_run.py", [""], 2, "an empty path was given"),
    ("inspect_run.py", ["ftp://a/b"], 2, "ftp:// is not supported; use a local path or s3://, "),
    ("inspect_run.py", ["{tmp}/\x1b[2J"], 1, "no run was published below {tmp}/\\x1b[2J"),
    ("inspect_run.py", ["{tmp}", "--run_id=\x1b[2J"], 2, "runs/run_id=\\x1b[2J; give the id of another one"),
    ("inspect_run.py", ["{damaged}"], 1, "no run was published below {damaged}"),
    ("make_sample.py", ["{damaged}/latest.json"], 1, "cannot write {damaged}/latest.json/lake/"),
    ("make_sample.py", ["/proc/nowhere"], 1, "no folder can be made there"),
    ("plot_run.py", ["{tmp}", "plots"], 1, "no run was published below {tmp}, or it is no output.uri"),
    ("plot_run.py", ["{tmp}"], 2, "required: folder"),
    ("plot_run.py", ["{tmp}", "plots", "--worst=0"], 2, "worst: "),
    ("score_dataset.py", [], 2, "required: input.uri, output.uri"),
    ("score_dataset.py", ["--config={tmp}/absent.yaml"], 2, "File does not exist: '{tmp}/absent.yaml'"),
    ("score_dataset.py", ["--input.uri={tmp}/a", "--output.uri={tmp}"], 2, "there is nothing at {tmp}/a; a folder, "),
    ("score_dataset.py", ["--input.uri={tmp}", "--output.uri={tmp}"], 3, "no image in {tmp}"),
    ("score_dataset.py", ["--input.layout=mvtek"], 2, "Expected one of 'auto', 'mvtec', 'visa', "),
    (
        "score_dataset.py",
        ["--input.uri=a", "--output.uri=b", "--decision.image.rule=fixed"],
        2,
        "rule fixed needs a value",
    ),
    ("size_cluster.py", ["--size=5"], 2, "--size 5 is less than one patch of 14 pixels"),
    ("size_cluster.py", ["--images", "5", "1000000000"], 2, "--images 1,000,000,000 is more than can be planned"),
    ("size_cluster.py", ["--new=1.5"], 2, "new: "),
    ("size_cluster.py", ["--preset=subspace"], 2, "preset: "),
    ("size_cluster.py", ["--rates={tmp}/absent.json"], 2, "--rates {tmp}/absent.json: No such file or directory"),
]


@pytest.mark.parametrize(
    ("job", "arguments", "code", "said"), WRONG, ids=[f"{job}-{said}" for job, _, _, said in WRONG]
)
def test_what_is_wrong_is_said_in_one_printable_line(
    job: str, arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "latest.json").write_text("{")
    names = {"tmp": str(tmp_path / "empty"), "damaged": str(damaged)}
    (tmp_path / "empty").mkdir()
    done = run(JOBS[0].with_name(job), *(argument.format(**names) for argument in arguments))
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    *before, line = done.stderr.splitlines()
    assert line.startswith("error: ") and line.isprintable() and said.format(**names) in line
    assert "not foreseen" not in line and not any("Traceback" in more for more in before)


def test_the_examples_of_the_planner_work() -> None:
    job = JOBS[0].with_name("size_cluster.py")
    hours, gpus = re.findall(r"^size_cluster.py (.+)$", job.read_text(), re.MULTILINE)
    done = run(job, *hours.split())
    assert done.returncode == 0 and done.stdout.splitlines()[4].startswith("250,000 "), done.stderr
    assert "Prices: $0.45 a node" in done.stdout
    done = run(job, *gpus.split())
    assert done.returncode == 0 and "first, 256 GPUs  nightly, 256 GPUs" in done.stdout, done.stderr


def fail(how: str, form: str = "text", **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a job that fails, as every job is run."""
    script = f"""
import sys
from pipeline.command import exit_code
from pipeline.errors import RunLocked
from pipeline.log import show_log

def main():
    {how}

show_log({form!r})
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


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("how", "begin", "end"),
    [
        ("raise pyarrow.lib.ArrowInvalid(LONG)", "ArrowInvalid: begin ", "shows where it came from)"),
        ("raise LakeScoreError(f'cannot read x: {LONG}; send it again')", "cannot read x: begin ", "; send it again"),
        ("raise ArgumentError(None, LONG)", "begin ", "(see --help)"),
        ("raise OSError(5, LONG, '/a/b.parquet')", "OSError: [Errno 5] begin ", "shows where it came from)"),
    ],
)
def test_an_error_is_no_longer_than_a_line_and_keeps_both_ends(form: str, how: str, begin: str, end: str) -> None:
    before = "import pyarrow; from jsonargparse import ArgumentError; from pipeline.errors import LakeScoreError"
    done = fail(f"LONG = 'begin ' + 'x\\n\\x1b ' * 2000 + 'end'; {before}; {how}", form)
    [line] = done.stderr.splitlines()
    said = json.loads(line)["message"] if form == "json" else line
    assert said.startswith("error: ") and said.endswith(end) and begin in said and " ... " in said
    assert len(said) <= 500 and said.isprintable()


def test_only_a_run_is_taken_up_after_a_signal() -> None:
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    done = fail(stop)
    assert (done.returncode, done.stderr) == (143, "error: asked to stop; start it again\n")
    done = fail(f"from pipeline.log import context; context['run_id'] = 'a'; {stop}")
    assert done.returncode == 143 and done.stderr.endswith("by the same command with its output.run_id\n")


READERS = [
    ("export_run.py", ["{out}", "{tmp}/a.json"]),
    ("inspect_run.py", ["{out}"]),
    ("make_report.py", ["{out}", "{tmp}/report"]),
    ("pin_normals.py", ["{out}", "{tmp}/labels.csv", "{tmp}/normals.csv"]),
    ("plot_run.py", ["{out}", "{tmp}/plots"]),
]


@pytest.mark.parametrize(("job", "arguments"), READERS, ids=[job for job, _ in READERS])
def test_a_damaged_run_is_named_and_the_advice_is_of_the_job(job: str, arguments: list[str], tmp_path: Path) -> None:
    folder = publish(tmp_path / "out", "one", [row("a", "x", 0.25)], [])
    Path(str(folder.results / "run.json")).write_bytes(b"{")
    (tmp_path / "labels.csv").write_text("uri,label\nx,normal\n")
    names = {"out": str(tmp_path / "out"), "tmp": str(tmp_path)}
    done = run(JOBS[0].with_name(job), *(argument.format(**names) for argument in arguments))
    assert done.returncode == 1, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ") and "run_id=one" in line and len(line) <= 500
    assert "--run_id" in line and "output.run_id" not in line and "not foreseen" not in line
