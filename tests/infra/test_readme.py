"""What infra/README.md shows is what commands print, and what it names is there."""

import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.infra.conftest import INFRA

README = (INFRA / "README.md").read_text()


def size_cluster(*arguments: str) -> str:
    command = [sys.executable, "jobs/size_cluster.py", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def test_the_tables_of_sizes_are_what_the_command_prints() -> None:
    assert f"```\n{size_cluster()}```" in README
    tables, assumed, _ = size_cluster("--images", "10000000", "--gpus", "256").partition("\nASSUMED")
    assert assumed and f"```\n{tables}```" in README  # what is assumed stands above


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"infra/[\w./-]+|(?<=\.\./)docs/[\w./-]+|jobs/\w+\.py", README)))
)
def test_what_it_names_is_there(path: str) -> None:
    assert (REPOSITORY / path.rstrip(".")).exists() or path.endswith("terraform.env")
