"""What infra/README.md shows is what commands print, and what it names is there."""

import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.infra.conftest import INFRA

README = (INFRA / "README.md").read_text()


def test_the_table_of_sizes_is_what_the_command_prints() -> None:
    command = [sys.executable, "jobs/size_cluster.py"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)
    assert f"```\n{done.stdout}```" in README


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"infra/[\w./-]+|(?<=\.\./)docs/[\w./-]+|jobs/\w+\.py", README)))
)
def test_what_it_names_is_there(path: str) -> None:
    assert (REPOSITORY / path.rstrip(".")).exists() or path.endswith("terraform.env")
