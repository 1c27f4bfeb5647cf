"""A cluster without workers: nodes come when a run asks for them, and go when it is done."""

import shlex
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient
from ray.util.state import list_nodes

from pipeline.io.storage import Location
from pipeline.result import read_result
from pipeline.store.run_folder import RunFolder
from tests.cluster.conftest import Head, started_head
from tests.cluster.test_same_scores import largest_difference
from tests.conftest import REPOSITORY, PlainRun
from tests.running import flags, read_scores, settings

MEMORY = 200_000_000  # bytes of a node's object store
# Nodes are processes of this machine, their GPUs words by which Ray places work. They go when they idle for 8 s.
NODES: Mapping[str, Any] = {
    "cluster_name": "test",
    "max_workers": 4,
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 2, "object_store_memory": MEMORY}, "node_config": {}, "max_workers": 2},
        "gpu": {"resources": {"CPU": 1, "GPU": 1, "object_store_memory": MEMORY}, "node_config": {}, "max_workers": 2},
    },
    "head_node_type": "head",
    "idle_timeout_minutes": 8 / 60,
    "upscaling_speed": 1.0,
    **dict.fromkeys(["auth", "docker", "file_mounts"], {}),
    **dict.fromkeys(["cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands"], []),
    **dict.fromkeys(["setup_commands", "head_setup_commands", "worker_setup_commands"], []),
    **dict.fromkeys(["head_start_ray_commands", "worker_start_ray_commands"], []),
    "file_mounts_sync_continuously": False,
}

# The job, but for two things. GPUs are logical here, so torch computes on the CPU. And no unit is scored before two
# workers are up: by itself, so small a run would be over before the second node has come.
JOB = """
import os, runpy, sys, threading, time
from pathlib import Path

sys.path.insert(0, {repository!r})
from pipeline.engine import cluster
from pipeline.stages import score

workers = Path({workers!r})

class TwoScore(score.ScoreUnits):
    def setup(self, device, threads):
        super().setup(device, threads)
        (workers / str(os.getpid())).touch()

    def __call__(self, block):
        deadline = time.monotonic() + 60
        while len(list(workers.iterdir())) < 2:
            assert time.monotonic() < deadline, "the pool stays at one worker"
            threading.Event().wait(0.2)
        return super().__call__(block)

cluster.Pool.device = "cpu"
score.ScoreUnits = TwoScore
runpy.run_path({repository!r} + "/jobs/score_dataset.py", run_name="__main__")
"""


def counted(head: Head) -> dict[str, int]:
    """Return how many nodes of each kind there are; the head has no CPU, and is none of them."""
    nodes = [node.resources_total for node in list_nodes(address=head.jobs) if node.state == "ALIVE"]
    gpu = sum("GPU" in resources for resources in nodes)
    return {"cpu": sum("CPU" in resources for resources in nodes) - gpu, "gpu": gpu}


@pytest.mark.daily
@pytest.mark.timeout(400)
def test_nodes_come_for_a_run_and_go_after_it(plain_run: PlainRun, tmp_path: Path) -> None:
    workers, job = tmp_path / "workers", tmp_path / "job.py"
    workers.mkdir()
    job.write_text(JOB.format(repository=str(REPOSITORY), workers=str(workers)))
    pools: dict[str, object] = {
        f"ray.{pool}.{name}": value for pool in ("encode", "score") for name, value in (("gpus", 1), ("max", 2))
    }
    pools |= {"search.dtype": "fp32", "search.memory_gb": 4}  # these GPUs are none
    with started_head(cpus=0, nodes=NODES) as head:
        assert counted(head) == {"cpu": 0, "gpu": 0}
        client, begin = JobSubmissionClient(head.jobs), time.monotonic()
        command = ["python", str(job), *flags(settings(plain_run.lake, tmp_path / "grown") | pools)]
        submitted = client.submit_job(entrypoint=shlex.join(command))
        seen: list[
            tuple[int, JobStatus, dict[str, int]]
        ] = []  # seconds, how the job stands, and the nodes, whenever that changes
        while True:
            status, nodes = client.get_job_status(submitted), counted(head)
            seconds = time.monotonic() - begin
            if not seen or seen[-1][1:] != (status, nodes):
                seen.append((round(seconds), status, nodes))
                print(f"{seconds:5.0f} s  {status:9}  {nodes['cpu']} cpu  {nodes['gpu']} gpu")
            if status == JobStatus.FAILED:
                pytest.fail(client.get_job_logs(submitted))
            if status == JobStatus.SUCCEEDED and nodes == {"cpu": 0, "gpu": 0}:
                break
            assert seconds < 300, seen
            threading.Event().wait(0.5)
    assert max(nodes["cpu"] for *_, nodes in seen) >= 1  # decoding
    assert max(nodes["gpu"] for *_, nodes in seen) == 2
    run = read_result(RunFolder(Location.parse(str(tmp_path / "grown")), "test")).run
    assert len(run.nodes.units) == 2
    assert largest_difference(plain_run.scores, read_scores(tmp_path / "grown")) <= 1e-6
