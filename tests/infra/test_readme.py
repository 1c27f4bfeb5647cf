"""What infra/README.md shows is what commands print, and what it names is there."""

import re
import subprocess
import sys

import pytest
import yaml

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


def test_the_operator_may_run_where_the_head_does() -> None:
    pools = list(yaml.safe_load_all((INFRA / "k8s" / "base" / "node-pools.yaml").read_text()))
    head = next(pool for pool in pools if pool["metadata"]["name"] == "ray-head")
    (taint,) = head["spec"]["template"]["spec"]["taints"]
    operator = f'{{"key":"{taint["key"]}","operator":"Equal","value":"{taint["value"]}","effect":"{taint["effect"]}"}}'
    assert f"'tolerations=[{operator}]'" in README
    assert '\'nodeSelector={"karpenter.sh/nodepool":"ray-head"}\'' in README
