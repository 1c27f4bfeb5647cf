"""A real Ray head node with its job server."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray.job_submission import JobSubmissionClient

READY = "block forever until terminated"


@dataclass(frozen=True)
class Head:
    """Addresses of the cluster: for drivers, for job submission, and for Prometheus."""

    address: str
    jobs: str
    metrics: str


@contextmanager
def started_head(
    cpus: int = 4, gpus: int = 0, env: Mapping[str, str] | None = None, nodes: Mapping[str, Any] | None = None
) -> Iterator[Head]:
    """Start a head node of logical CPUs and GPUs, and stop it by its process id.

    `nodes` describes those that come and go with the work, in the words of Ray's autoscaler.
    """
    port, dashboard, agent, metrics = (free_port() for _ in range(4))
    binaries = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # the entry point of a submitted job runs the python of this path
    environment |= {"RAY_AUTH_MODE": "disabled", "PATH": f"{binaries}:{os.environ['PATH']}"} | dict(env or {})
    command = [str(binaries / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"]
    command += [
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={agent}",
        f"--metrics-export-port={metrics}",
        f"--num-cpus={cpus}",
        f"--num-gpus={gpus}",
        "--disable-usage-stats",
        "--log-style=record",
    ]
    file = tempfile.NamedTemporaryFile("w", suffix=".yaml")  # open as long as the head lives
    if nodes is not None:
        json.dump({**nodes, "provider": {**nodes["provider"], "gcs_address": f"127.0.0.1:{port}"}}, file)
        file.flush()
        environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        command.append(f"--autoscaling-config={file.name}")
    with ExitStack() as stack:
        stack.callback(file.close)
        stack.enter_context(_ready(command, environment))
        jobs = f"http://127.0.0.1:{dashboard}"
        _wait_for_job_agent(jobs)
        yield Head(f"127.0.0.1:{port}", jobs, f"http://127.0.0.1:{metrics}/metrics")


@contextmanager
def _ready(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Run `ray start` until the node says that it is ready, and kill it in the end.

    Once more where it gives up by itself: Ray waits 30 s for a node's processes, which a busy machine may need.
    """
    for again in (True, False):
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        said: list[str] = []
        try:
            for line in process.stdout:
                said.append(line)
                if READY in line:
                    yield
                    return
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own session; asked politely, it takes half a minute
            process.wait(timeout=60)
            process.stdout.close()
        if not (again and "timed out during startup" in "".join(said)):
            pytest.fail(f"ray start ended: {''.join(said[-5:])}")


def _wait_for_job_agent(jobs: str) -> None:
    """Wait until a job can be submitted: the agent comes up some seconds after the node says that it is ready."""
    client, deadline = JobSubmissionClient(jobs), time.monotonic() + 120
    while True:
        try:
            client.submit_job(entrypoint="true")
            return
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(0.5)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
