"""Which Ray a run works on."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayError

from pipeline.config import PoolConfig, RayConfig
from pipeline.engine.cluster import cluster
from pipeline.errors import ConfigError, LakeScoreError


def test_the_ray_of_this_process_is_taken_and_left_as_it_was(ray_here: None) -> None:
    node = ray.get_runtime_context().get_node_id()
    with cluster(RayConfig()):
        assert ray.get_runtime_context().get_node_id() == node
    assert ray.is_initialized()


def test_another_cluster_cannot_be_joined_from_a_process_that_has_one(ray_here: None) -> None:
    with (
        pytest.raises(ConfigError, match="the Ray cluster at 127.0.0.1:1 cannot be used"),
        cluster(RayConfig(address="127.0.0.1:1")),
    ):
        pass
    assert ray.is_initialized()


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup. This could happen because ...\nand more"),
        RuntimeError("Failed to start GCS."),
        RayError("Deadline Exceeded"),
        TimeoutError(),
    ],
    ids=repr,
)
def test_a_ray_that_is_not_up_in_its_time_is_started_twice_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, error: Exception
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    starts = started_by(monkeypatch, [error, error, None])
    with cluster(RayConfig()):
        assert starts == [] and caplog.text.count("once more") == 2
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    started_by(monkeypatch, [error, error, error])
    with pytest.raises(LakeScoreError, match="did not start .* in 3 tries: .*ray start --head") as found:
        with cluster(RayConfig()):
            pass
    assert "\n" not in str(found.value) and list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "absent"))
    started_by(monkeypatch, [None])
    with pytest.raises(ConfigError, match="absent/.*name one by RAY_TMPDIR"), cluster(RayConfig()):
        pass


def test_what_a_try_left_running_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    left: list[subprocess.Popen[bytes]] = []

    def start(**options: Any) -> None:
        assert all(process.poll() is not None for process in left), "the try before still runs"
        left.append(subprocess.Popen([sys.executable, "-c", "input()", options["_temp_dir"]], stdin=subprocess.PIPE))
        raise RuntimeError("not yet")

    with subprocess.Popen([sys.executable, "-c", "input()", "/tmp/ray"], stdin=subprocess.PIPE) as another:
        monkeypatch.setattr(ray, "init", start)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "shutdown", lambda **_: None)
        with pytest.raises(LakeScoreError, match="not yet"), cluster(RayConfig()):
            pass
        assert another.poll() is None
        another.kill()
    for process in left:
        assert process.stdin and process.wait(timeout=60) is not None
        process.stdin.close()
    assert len(left) == 3


def test_a_cluster_that_cannot_be_joined_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RuntimeError("no such cluster"), Exception("no such cluster"), RayError("no such cluster")):
        started_by(monkeypatch, [error])
        with pytest.raises(ConfigError, match="no such cluster"), cluster(RayConfig(address="any")):
            pass


SMALL = {"Alive": True, "Resources": {"CPU": 8.0}}
GPU = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}}
DEAD = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
FIXED = {"autoscaler_report": {"active_nodes": {f"node_{'0a' * 28}": 1}}}
GROWS = {"autoscaler_report": {"active_nodes": {"ray.head.default": 1}}}


@pytest.mark.parametrize(
    ("asked", "nodes", "status", "said"),
    [
        ({"gpus": 1}, [SMALL, DEAD], FIXED, "workers of 1 GPUs, and no node of this cluster has more than 0"),
        ({"gpus": 2}, [GPU, GPU], FIXED, "workers of 2 GPUs, and no node of this cluster has more than 1"),
        ({"cpus": 9}, [SMALL, SMALL], FIXED, "workers of 9 CPUs, and no node of this cluster has more than 8"),
        ({"cpus": 9, "gpus": 0}, [GPU, SMALL], FIXED, "workers of 9 CPUs"),
        ({"cpus": 9}, [GPU], FIXED, ""),  # by default on the GPU, of which the threads need no CPUs
        ({"gpus": 0.5}, [GPU], FIXED, ""),
        ({"cpus": 8}, [SMALL], FIXED, ""),
        ({"gpus": 1}, [SMALL], GROWS, ""),
        ({"gpus": 1}, [], GROWS, ""),
        ({"gpus": 1}, [SMALL], None, ""),  # as on Kubernetes, before its autoscaler has said anything
        ({"gpus": 1}, [SMALL], {"autoscaler_report": {"active_nodes": {}}}, ""),
    ],
)
@pytest.mark.parametrize("pool", ["encode", "score"])
def test_workers_that_no_node_can_hold_are_refused_where_none_will_come(
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, float],
    nodes: list[dict[str, Any]],
    status: dict[str, Any] | None,
    said: str,
    pool: str,
) -> None:
    started_by(monkeypatch, [None])
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    content = None if status is None else json.dumps(status).encode()
    monkeypatch.setattr("pipeline.engine.cluster._internal_kv_get", lambda _: content)
    config = RayConfig.model_validate({"address": "any", pool: asked})
    with pytest.raises(ConfigError, match=f"ray.{pool} asks for {said}") if said else nullcontext(), cluster(config):
        pass


def test_a_ray_of_ones_own_does_not_grow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    started_by(monkeypatch, [None])
    monkeypatch.setattr(ray, "nodes", lambda: [SMALL])
    with pytest.raises(ConfigError, match="GPUs"), cluster(RayConfig(score=PoolConfig(gpus=1))):
        pass


def test_a_local_ray_has_a_token_of_its_own_and_leaves_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", OWN_TOKEN], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


# Without the RAY_AUTH_MODE of the tests; twice, since Ray keeps the token of the first
OWN_TOKEN = """
import os, stat, tempfile
from pathlib import Path

import ray
from ray._raylet import AuthenticationMode, get_authentication_mode

from pipeline.config import RayConfig
from pipeline.engine.cluster import cluster

del os.environ["RAY_AUTH_MODE"]
home, rays = tempfile.TemporaryDirectory(), tempfile.TemporaryDirectory()
os.environ["HOME"], os.environ["RAY_TMPDIR"] = home.name, rays.name
tokens = set()
for _ in range(2):
    with cluster(RayConfig()):
        assert get_authentication_mode() == AuthenticationMode.TOKEN
        [folder] = Path(rays.name).iterdir()
        token = folder / "auth_token"
        assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(token.stat().st_mode)) == (0o700, 0o600)
        tokens.add(token.read_text())
        assert ray.get(ray.remote(lambda: os.getpid()).remote()) != os.getpid()
    assert list(Path(rays.name).iterdir()) == [] and list(Path(home.name).iterdir()) == []
    assert "RAY_AUTH_MODE" not in os.environ and get_authentication_mode() == AuthenticationMode.DISABLED
assert len(tokens) == 2
"""


def started_by(monkeypatch: pytest.MonkeyPatch, errors: list[Exception | None]) -> list[Exception | None]:
    """Have Ray start by raising these, one after the other, and return those that are left."""

    def start(**_: object) -> None:
        if error := errors.pop(0):
            raise error

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda **_: None)
    monkeypatch.setattr("pipeline.engine.cluster.watched", nullcontext)
    return errors
