"""Nodes that go and come while a run is on, as spot nodes do."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.test_same_scores import largest_difference
from tests.running import flags, read_scores, run_job, settings, small_lake

# In a process of its own: a cluster in this one would be joined by every later test
DRIVER = """
import sys

from ray.cluster_utils import Cluster
from ray.data import DataContext

from pipeline.command import job_parser, parse_settings
from pipeline.stages.progress import Progress
from pipeline.stages.run import score_lake

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
nodes = [cluster.add_node(num_cpus=2)]
cluster.wait_for_nodes()
DataContext.get_current().wait_for_min_actors_s = 120
changed = []
add = Progress.add

def add_and_change(self, count):
    add(self, count)
    if self._stage in ("extract", "score") and self._stage not in changed and self._done < self._total:
        changed.append(self._stage)
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        nodes.append(cluster.add_node(num_cpus=2))

Progress.add = add_and_change
score_lake(parse_settings(job_parser(None), [f"--ray.address={cluster.address}", *sys.argv[1:]])[0])
assert changed == ["extract", "score"], changed
cluster.shutdown()
"""


@pytest.mark.timeout(400)
def test_nodes_that_go_and_come_in_each_stage_change_no_score(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", images=8)
    plain = run_job(*flags(settings(lake, tmp_path / "one")))
    assert plain.returncode == 0, plain.stderr
    # four actors of a CPU each: the head does not hold them all
    pools = ["--ray.encode.min=2", "--ray.encode.max=4", "--ray.score.min=3", "--ray.score.max=4"]
    command = [sys.executable, "-c", DRIVER, *flags(settings(lake, tmp_path / "two")), *pools]
    two = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert two.returncode == 0, two.stdout + two.stderr
    assert largest_difference(read_scores(tmp_path / "one"), read_scores(tmp_path / "two")) <= 1e-6
