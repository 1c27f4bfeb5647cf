"""The bench of a GPU, which stands alone: in Triton's interpreter, and what it says where there is no GPU."""

import os
import re
import subprocess
import sys

import pytest
import torch

from bench.report import ABSENT
from tests.conftest import REPOSITORY, not_run

COMMAND = [sys.executable, str(REPOSITORY / "bench" / "gpu.py")]
ELSEWHERE = """
import runpy, sys
sys.argv = ["gpu.py", "--toy"]
try:
    runpy.run_path({path!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
found = {{"ray", "pyarrow", "pydantic", "faiss", "timm", "pandas", "matplotlib", "sklearn"}} & set(sys.modules)
assert not found, found
"""


def test_a_toy_shows_that_all_searches_give_the_same_and_asks_for_nothing_else() -> None:
    pytest.importorskip("triton", reason="NOT RUN: there is no Triton here")
    command = [sys.executable, "-c", ELSEWHERE.format(path=COMMAND[1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    rows = [re.split(" {2,}", line.strip()) for line in done.stdout.splitlines()[3:]]
    assert [(row[0].split()[0], "fused" in " ".join(row)) for row in rows] == [("3,", False), ("3,", True)] * 2
    assert "NOT THE SAME" not in done.stdout and done.stdout.startswith("Triton's interpreter")


def test_it_says_that_there_is_no_gpu() -> None:
    if torch.cuda.is_available():
        not_run("there is a GPU here")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert (done.returncode, done.stdout) == (ABSENT, "")
    assert done.stderr == "NOT RUN: gpu: there is no GPU here\n"
