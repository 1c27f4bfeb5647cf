"""A Ray of this process alone, in a folder of its own, of which nothing is left when it ends."""

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import ray
from ray._raylet import (  # type: ignore[attr-defined]  # its types are not whole; nothing public leads there
    AuthenticationTokenLoader,
    Config,
)

from pipeline.engine.quiet import QUIET, greeting_dropped
from pipeline.errors import ConfigError, LakeScoreError

TRIES = 3
LOCAL_CPUS = 2  # at least: an image is decoded while another one is encoded
TOKEN_PLACES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
LONGEST_PLACE = 24  # characters: a socket's path has 107, and Ray and this folder take the others
LEFT_TO_DIE = 10.0  # seconds

log = logging.getLogger(__name__)


@contextmanager
def local_ray() -> Iterator[None]:
    """Start a Ray that ends with the block, its processes and files with it; raises `LakeScoreError` if it does not.

    Its folder is below RAY_TMPDIR, or else where temporary files are, if Ray's sockets have room there for their names.
    Raises `ConfigError` where none can be made.
    """
    usual = tempfile.gettempdir()
    place = os.environ.get("RAY_TMPDIR") or (usual if len(usual) <= LONGEST_PLACE else "/tmp")
    try:
        folder = Path(tempfile.mkdtemp(prefix="ray-", dir=place))
    except OSError as error:
        raise ConfigError(f"Ray needs a folder for its files: {error}; name one by RAY_TMPDIR") from error
    try:
        with _token(folder / "auth_token"):
            _start(folder / "ray")  # within, since Ray opens its folder to everybody
            try:
                yield
            finally:
                ray.shutdown(wait_for_processes=True)
    finally:
        _end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> None:
    """Start Ray; once more, and again, where its processes are not up in their time."""
    for left in reversed(range(TRIES)):
        try:
            with greeting_dropped():
                ray.init(
                    address="local",
                    num_cpus=max(LOCAL_CPUS, os.cpu_count() or 1),
                    include_dashboard=False,
                    # Ray's own is one second: each stage would start workers anew, which take seconds to import torch
                    _system_config={"idle_worker_killing_time_threshold_ms": 60_000},
                    _temp_dir=str(folder),
                    **QUIET,
                )
            return
        except Exception as error:  # Ray has no type for it
            ray.shutdown()
            _end_processes(folder)
            said = (str(error).splitlines() or [type(error).__name__])[0]
            if not left:
                raise LakeScoreError(
                    f"Ray did not start on this machine in {TRIES} tries: {said}; it is too busy, or has too little "
                    "memory or room for files: start the run again when that is better, or start Ray yourself "
                    "(`ray start --head`) and name it by ray.address"
                ) from error
            log.warning("Ray's processes were not up in their time (%s): starting them once more", said)


def _end_processes(folder: Path) -> None:
    """End what is left of a Ray: processes that were told of its folder, which no other Ray has, and their children."""
    found = set[psutil.Process]()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(folder) in argument for argument in process.cmdline()):
                found |= {process, *process.children(recursive=True)}
    for process in found:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(found, timeout=LEFT_TO_DIE)


@contextmanager
def _token(path: Path) -> Iterator[None]:
    """Give this Ray a token of its own, unless another was chosen: by itself it leaves one at home, for all to read."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token" or any(map(os.environ.get, TOKEN_PLACES)):
        yield
        return
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)
    try:
        AuthenticationTokenLoader.instance().reset_cache()  # Ray keeps what it read once
        yield
    finally:  # a cluster that this process joins later has another one, or none
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        AuthenticationTokenLoader.instance().reset_cache()
        Config.initialize("")
