"""The Ray that a run works on, and the workers that it gets there."""

import json
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.experimental.internal_kv import _internal_kv_get
from ray.util.client import ray as client

from pipeline.config import PoolConfig, RayConfig
from pipeline.engine.local import local_ray
from pipeline.engine.quiet import QUIET, greeting_dropped
from pipeline.engine.watch import watched
from pipeline.errors import ConfigError

log = logging.getLogger(__name__)

# Ray restarts actors and retries tasks for ever unless told; a poison input would then never end the run
RETRIES = 2
KINDS = ("CPU", "GPU")
FEWEST_TASKS = 4  # at a time, on a cluster that is still to grow


@dataclass(frozen=True)
class Pool:
    """A pool of workers, every default settled."""

    max: int
    cpus: int
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"


@contextmanager
def cluster(config: RayConfig) -> Iterator[None]:
    """Work on the Ray of this process, as a notebook has one; else join one, or start one, that ends with the block.

    Joined is the one at `config.address` or RAY_ADDRESS; without an address a local Ray is started. A Ray that is there
    already needs workers that can import this package. Raises `ConfigError` when the cluster cannot be reached, or has
    no room for the workers that are asked for and cannot grow; `LakeScoreError` when a local one does not start, or
    when the Ray under the block is gone.
    """
    address = config.address or os.environ.get("RAY_ADDRESS")
    found = config.address is None and ray.is_initialized()
    if found:
        ready: AbstractContextManager[None] = nullcontext()
    else:
        ready = _sigterm_kept(local_ray() if address is None else _joined(address))
    # A driver outside of the cluster is told by its own connection
    by_client: bool = client.is_connected()  # type: ignore[no-untyped-call]  # Ray has no types here
    outside = by_client if found else (address or "").startswith("ray://")
    watching = nullcontext() if outside else watched()
    with ready, watching:
        for name, asked in (("encode", config.encode), ("score", config.score)):
            _refuse_what_has_no_room(name, asked, ours=address is None and not found)
        yield


def _refuse_what_has_no_room(name: str, asked: PoolConfig, ours: bool) -> None:
    """Raise `ConfigError` for workers that no node can hold, where it is sure that no other node will come."""
    if not asked.gpus and asked.cpus == 1:  # every cluster has room for these, or gets it
        return
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray has no types here
    most = {kind: max((node["Resources"].get(kind, 0) for node in nodes if node["Alive"]), default=0) for kind in KINDS}
    gpus = asked.gpus if asked.gpus is not None else float(most["GPU"] >= 1)
    kind, needed = ("GPU", gpus) if gpus else ("CPU", asked.cpus)  # a worker with a GPU holds no CPU
    if most[kind] < needed and (ours or not _may_grow()):
        raise ConfigError(
            f"ray.{name} asks for workers of {needed:g} {kind}s, and no node of this cluster has more than "
            f"{most[kind]:g}, nor is there an autoscaler that brings others: lower ray.{name}.{kind.lower()}s, or join "
            "another cluster"
        )


def _may_grow() -> bool:
    """Tell whether other nodes may come: an autoscaler names their types, and Ray without one the nodes themselves."""
    status = _internal_kv_get(DEBUG_AUTOSCALING_STATUS)  # what `ray status` reads
    types = json.loads(status)["autoscaler_report"]["active_nodes"] if status else {}
    return not types or not all(re.fullmatch("node_[0-9a-f]{56}", name) for name in types)


@contextmanager
def _joined(address: str) -> Iterator[None]:
    """Join the cluster at an address for the block; raises `ConfigError`."""
    options = dict(QUIET)
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:  # a submitted job brings the code as its working directory
        options["runtime_env"] = {"py_modules": [str(Path(__file__).parents[1])]}
    try:
        with greeting_dropped():
            ray.init(address=address, **options)
    except Exception as error:  # of many types, plain ones too
        raise ConfigError(f"the Ray cluster at {address} cannot be used: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _sigterm_kept(starting: AbstractContextManager[None]) -> Iterator[None]:
    """Keep Ray, while it starts, from putting a handler of its own in the place of ours, which exits without a word."""
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with starting:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)
        yield


def pool(config: PoolConfig) -> Pool:
    """Settle the defaults of a pool by what the cluster has now."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray has no types here
    gpus = config.gpus if config.gpus is not None else float(resources.get("GPU", 0) >= 1)
    cpus = resources.get("CPU", 0)
    room = resources.get("GPU", 0) / gpus if gpus else max(cpus / 2, min(2, cpus)) / config.cpus
    if gpus == 0 and config.cpus > cpus:
        log.warning(
            "workers of %d CPUs are asked for, the cluster has %d CPUs: waiting for it to grow", config.cpus, cpus
        )
    most = config.max or max(config.min, int(room))
    # Ray Data lets a pool of GPUs grow no further than the GPUs there are, and what does not ask brings no node. So all
    # are asked for at once, which hinders nobody: they hold no CPUs, and the work begins with the first of them.
    return Pool(most, config.cpus, gpus)


def everywhere() -> Pool:
    """Return what all CPUs of the cluster take, one for each block, and more where they make it grow."""
    cpus = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]  # Ray has no types here
    return Pool(max(FEWEST_TASKS, 2 * cpus), 1, 0)
