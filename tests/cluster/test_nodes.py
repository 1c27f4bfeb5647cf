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
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from pipeline import run
from pipeline.command import job_parser, parse_settings
from pipeline.progress import Progress
from pipeline.stages import encode

folder = Path(sys.argv.pop(1))

def shared(stage):
    # begins when two nodes have workers: the work is so small that one node would have done it all by then
    class Shared(stage):
        def __call__(self, block):
            places = folder / stage.__name__
            places.mkdir(exist_ok=True)
            (places / ray.get_runtime_context().get_node_id()).touch()
            deadline = time.monotonic() + 120
            while len(list(places.iterdir())) < 2:
                assert time.monotonic() < deadline, "one node does all the work"
                threading.Event().wait(0.1)
            return super().__call__(block)

    return Shared

def add_node():
    try:
        return cluster.add_node(num_cpus=2)
    except Exception:  # Ray waits 30 s for a node, which a busy machine may need
        return cluster.add_node(num_cpus=2)

encode.EncodeBlock, run.ScoreUnits = shared(encode.EncodeBlock), shared(run.ScoreUnits)
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
nodes = [add_node()]
cluster.wait_for_nodes()

changed = []
add = Progress.add

def add_and_change(self, count):
    add(self, count)
    if self.stage in ("extract", "score") and self.stage not in changed and self._done < self._total:
        changed.append(self.stage)
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        nodes.append(add_node())

Progress.add = add_and_change
arguments = [*sys.argv[1:], f"--ray.address={cluster.address}"]
nodes_of = run.score_lake(parse_settings(job_parser(None), arguments)[0]).run.nodes
assert changed == ["extract", "score"], changed
assert len(nodes_of.units) > 1, nodes_of
cluster.shutdown()
"""


@pytest.mark.daily
@pytest.mark.timeout(500)
def test_nodes_that_share_the_work_and_go_and_come_change_no_score(plain_run: PlainRun, tmp_path: Path) -> None:
    # of two CPUs each: the head holds one of them
    pools = [f"--ray.{stage}.{name}=2" for stage in ("encode", "score") for name in ("cpus", "max")]
    command = [sys.executable, "-c", DRIVER, str(tmp_path), *flags(settings(plain_run.lake, tmp_path / "many")), *pools]
    done = subprocess.run(command, capture_output=True, text=True, timeout=450, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert largest_difference(plain_run.scores, read_scores(tmp_path / "many")) <= 1e-6
