"""What infra/README.md shows is what commands print, and what it names is there."""

import re
import subprocess
import sys

import pytest
import yaml

from pipeline import cluster_plan
from pipeline.plan import sizing
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


def test_nodes_and_settings_are_planned_as_they_are_here() -> None:
    ray = yaml.safe_load((INFRA / "k8s/base/raycluster.yaml").read_text())["spec"]
    [group] = [group for group in ray["workerGroupSpecs"] if group["groupName"] == "gpu"]
    [worker] = group["template"]["spec"]["containers"]
    assert worker["resources"]["requests"]["cpu"] == str(cluster_plan.CPUS)
    [head, *_] = ray["headGroupSpec"]["template"]["spec"]["containers"]
    gib = int(head["resources"]["limits"]["memory"].removesuffix("Gi"))
    store = int(ray["headGroupSpec"]["rayStartParams"]["object-store-memory"]) / 1e9
    assert gib - store >= sizing.HEAD_SHARE * sizing.HEAD_GB
    settings = yaml.safe_load((INFRA / "k8s/overlays/production/score.yaml").read_text())
    assert settings["search"] == {"dtype": "fp16", "memory_gb": cluster_plan.MEMORY_GB}
    assert (settings["encoder"]["dtype"], settings["encoder"]["batch_size"]) == ("fp16", cluster_plan.BATCH)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"infra/[\w./-]+|(?<=\.\./)docs/[\w./-]+|jobs/\w+\.py", README)))
)
def test_what_it_names_is_there(path: str) -> None:
    assert (REPOSITORY / path.rstrip(".")).exists() or path.endswith("terraform.env")
