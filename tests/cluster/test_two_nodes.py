"""A run over two nodes: both work, and the scores are those of one."""

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
from pipeline.stages.run import score_lake

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
cluster.add_node(num_cpus=2)
cluster.wait_for_nodes()
# the work is so small that the first worker would have done it before the last one is up
DataContext.get_current().wait_for_min_actors_s = 120
result = score_lake(parse_settings(job_parser(None), [f"--ray.address={cluster.address}", *sys.argv[1:]])[0])
nodes = result.run["nodes"]
assert len(set(nodes["images"]) | set(nodes["units"])) == 2, nodes
print(nodes)
cluster.shutdown()
"""


@pytest.mark.timeout(400)
def test_two_nodes_share_the_work_and_give_the_same_scores(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", images=8)
    plain = run_job(*flags(settings(lake, tmp_path / "one")))
    assert plain.returncode == 0, plain.stderr
    # four actors of a CPU each: one node does not hold them all
    pools = ["--ray.encode.min=2", "--ray.encode.max=2", "--ray.score.min=4", "--ray.score.max=4"]
    command = [sys.executable, "-c", DRIVER, *flags(settings(lake, tmp_path / "two")), *pools]
    two = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert two.returncode == 0, two.stdout + two.stderr
    assert largest_difference(read_scores(tmp_path / "one"), read_scores(tmp_path / "two")) <= 1e-6
