"""A run over several nodes, which share the work, and go and come while it is on, as spot nodes do."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.test_same_scores import largest_difference
from tests.conftest import PlainRun
from tests.running import flags, read_scores, settings

# In a process of its own: a cluster in this one would be joined by every later test
DRIVER = """
import sys

from ray.cluster_utils import Cluster
from ray.data import DataContext

from pipeline.command import job_parser, parse_settings
from pipeline.progress import Progress
from pipeline.run import score_lake

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
nodes = [cluster.add_node(num_cpus=2)]
cluster.wait_for_nodes()
# the work is so small that the first worker would have done it before the last one is up
DataContext.get_current().wait_for_min_actors_s = 120

changed = []
add = Progress.add

def add_and_change(self, count):
    add(self, count)
    if self.stage in ("extract", "score") and self.stage not in changed and self._done < self._total:
        changed.append(self.stage)
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        nodes.append(cluster.add_node(num_cpus=2))

Progress.add = add_and_change
arguments = [*sys.argv[1:], f"--ray.address={cluster.address}"]
nodes_of = score_lake(parse_settings(job_parser(None), arguments)[0]).run.nodes
assert changed == ["extract", "score"], changed
assert len(nodes_of.units) > 1, nodes_of
cluster.shutdown()
"""


@pytest.mark.daily
@pytest.mark.timeout(500)
def test_nodes_that_share_the_work_and_go_and_come_change_no_score(plain_run: PlainRun, tmp_path: Path) -> None:
    # four actors of a CPU each: the head does not hold them all
    pools = ["--ray.encode.min=2", "--ray.encode.max=4", "--ray.score.min=4", "--ray.score.max=4"]
    command = [sys.executable, "-c", DRIVER, *flags(settings(plain_run.lake, tmp_path / "many")), *pools]
    done = subprocess.run(command, capture_output=True, text=True, timeout=450, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert largest_difference(plain_run.scores, read_scores(tmp_path / "many")) <= 1e-6
