"""Runs over several nodes, which share the work, and go and come while a run is on, as spot nodes do."""

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

steady, changing, *arguments = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
nodes = [cluster.add_node(num_cpus=2)]
cluster.wait_for_nodes()
# the work is so small that the first worker would have done it before the last one is up
DataContext.get_current().wait_for_min_actors_s = 120
arguments.append(f"--ray.address={cluster.address}")

def score(*more):
    return score_lake(parse_settings(job_parser(None), [*arguments, *more])[0])

shared = score(steady).run["nodes"]
assert len(set(shared["images"]) | set(shared["units"])) == 2, shared

changed = []
add = Progress.add

def add_and_change(self, count):
    add(self, count)
    if self._stage in ("extract", "score") and self._stage not in changed and self._done < self._total:
        changed.append(self._stage)
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        nodes.append(cluster.add_node(num_cpus=2))

Progress.add = add_and_change
score(changing)
assert changed == ["extract", "score"], changed
cluster.shutdown()
"""


@pytest.mark.timeout(500)
def test_nodes_that_share_the_work_or_go_and_come_change_no_score(tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", images=8)
    plain = run_job(*flags(settings(lake, tmp_path / "one")))
    assert plain.returncode == 0, plain.stderr
    # four actors of a CPU each: the head does not hold them all
    pools = ["--ray.encode.min=2", "--ray.encode.max=4", "--ray.score.min=4", "--ray.score.max=4"]
    outputs = [f"--output.uri={tmp_path / name}" for name in ("steady", "changing")]
    command = [sys.executable, "-c", DRIVER, *outputs, *flags(settings(lake, tmp_path / "none")), *pools]
    done = subprocess.run(command, capture_output=True, text=True, timeout=450, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("steady", "changing"):
        assert largest_difference(read_scores(tmp_path / "one"), read_scores(tmp_path / name)) <= 1e-6
