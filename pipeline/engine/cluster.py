"""Joining a Ray cluster, or starting one for this run alone."""

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from pipeline.config import PoolConfig, RayConfig
from pipeline.errors import ConfigError

log = logging.getLogger(__name__)

# Ray restarts actors and retries tasks for ever unless told; a poison input would then never end the run
RETRIES = 2
FEWEST_TASKS = 4  # at a time, on a cluster that is still to grow
LOCAL_CPUS = 2  # at least: an image is decoded while another one is encoded


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
    already needs workers that can import this package. Raises `ConfigError` when the cluster cannot be
    reached.
    """
    found = config.address is None and ray.is_initialized()
    if not found:
        _join(config.address or os.environ.get("RAY_ADDRESS"))
    try:
        yield
    finally:
        if not found:
            ray.shutdown()


def _join(address: str | None) -> None:
    """Join the cluster at an address, or start a local Ray; raises `ConfigError`."""
    # Ray's own lines (its token, its actors' arguments, its tables) would bury ours; errors reach us as exceptions
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        options |= {
            "address": "local",
            "num_cpus": max(LOCAL_CPUS, os.cpu_count() or 1),
            "include_dashboard": False,
            # Ray's own is one second: each stage would start workers anew, which take seconds to import torch
            "_system_config": {"idle_worker_killing_time_threshold_ms": 60_000},
        }
    else:
        options["address"] = address
        if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:  # a submitted job brings the code as its working directory
            options["runtime_env"] = {"py_modules": [str(Path(__file__).parents[1])]}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with _greeting_dropped():
            _init(options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"the Ray cluster at {address or 'this machine'} cannot be used: {error}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts a handler of its own, which exits without a word


def _init(options: dict[str, Any]) -> None:
    """Initialise Ray; once more where it gave up because its processes were not up in 30 s, as on a busy machine."""
    try:
        ray.init(**options)
    except Exception as error:  # its type says no more
        if "timed out during startup" not in str(error):
            raise
        log.warning("Ray's processes were not up within 30 s, since this machine is busy: starting them once more")
        ray.shutdown()
        ray.init(**options)


@contextmanager
def _greeting_dropped() -> Iterator[None]:
    """Drop the line by which Ray's C++ says, whatever its log level is, which one it has."""
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if b"Set ray log level from environment" not in line:
                    os.write(2, line)


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
