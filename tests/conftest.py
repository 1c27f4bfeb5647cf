"""What all tests share: a clean environment, and the material that lies beside the repository."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

os.environ["TRITON_INTERPRET"] = "1"  # kernels are tested without a GPU; read when Triton is first imported

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from pipeline.io import bucket as storage
from pipeline.io.storage import Location
from tests.s3.start import S3_PYTHON, s3_server

REPOSITORY = Path(__file__).parents[1]
TINY = REPOSITORY / "tests" / "tiny"  # of an encoder that loads in no time, as a package that is installed
SHARED = Path(os.environ.get("LAKESCORE_SHARED", REPOSITORY.parent / "shared"))

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("fixed")


# Folders of real runs: they go first, so that what ends last is short
LONG = ("cluster", "integrity", "whole", "s3", "infra", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(REPOSITORY / "tests").parts[0]
        return LONG.index(folder) if folder in LONG else len(LONG)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """Hide the credentials and clusters of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "RAY_", "HF_")):
                patch.delenv(name)
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.syspath_prepend(TINY)
        patch.setenv("PYTHONPATH", python_path(TINY))
        yield


@pytest.fixture(scope="session")
def ray_here(s3_environment: dict[str, str]) -> Iterator[None]:
    """A Ray of this process for all runs in it: a small run spends most of its time on starting its own.

    Its workers reach the S3 server; a run's driver does with the fixture `bucket`.
    """
    from pipeline.config import RayConfig  # most tests need no Ray, and need not wait for it
    from pipeline.engine.cluster import cluster

    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in s3_environment.items():
                patch.setenv(name, value)
            patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")  # as a run sets it, which would stay for later processes
            stack.enter_context(cluster(RayConfig()))
        yield


@dataclass(frozen=True)
class PlainRun:
    """A small lake and what a run of it wrote; tests compare theirs with it, copy from it, and change neither."""

    lake: Path  # brick and gravel, 12 images each, none of them bad
    output: Path  # run_id=test, with a report
    scores: pd.DataFrame  # in the order of the catalog


@pytest.fixture(scope="session")
def plain_run(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainRun]:
    """One run of one lake for all that only compare with it, on this process's Ray and with what is usual."""
    from pipeline.run import score_lake
    from tests.running import flags, parse, read_scores, settings, small_lake

    folder = tmp_path_factory.mktemp("plain")
    lake, output = small_lake(folder / "lake"), folder / "out"
    score_lake(parse([*flags(settings(lake, output)), "--report.images=500"]))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    yield PlainRun(lake, output, read_scores(output))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "a test wrote to what all share"


def python_path(*folders: Path) -> str:
    """Return a PYTHONPATH by which processes find what lies in these folders, beside what this one was given."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])


def not_run(reason: str) -> NoReturn:
    """Skip a test for what this machine lacks, and say so among the warnings."""
    message = f"NOT RUN: {reason}"
    warnings.warn(pytest.PytestWarning(message), stacklevel=3)
    pytest.skip(message)


def beside(name: str) -> Path:
    """Return a folder of the material beside the repository, or skip, and say so."""
    folder = SHARED / name
    if not folder.is_dir():
        not_run(f"{folder} is absent; set LAKESCORE_SHARED to the folder that holds {name}/")
    return folder


@pytest.fixture
def golden() -> Callable[[str], Mapping[str, NDArray[Any]]]:
    """Arrays computed with the official code."""
    folder = beside("golden")
    return lambda name: np.load(folder / name)


@pytest.fixture
def shared_data() -> Path:
    """Three sets of real images."""
    return beside("data")


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start the server and return the usual AWS variables that lead to it; it stops when its input closes."""
    if not S3_PYTHON.exists():
        pytest.fail(f"{S3_PYTHON} is missing: make .venv-s3/.installed")
    with s3_server(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture
def bucket(
    s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """Yield the address of an empty bucket of the test's own."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    name = f"test-{abs(hash(request.node.nodeid)) % 10**9}-{os.getpid()}"
    storage.client.cache_clear()
    storage.client().create_bucket(Bucket=name)
    yield f"s3://{name}"
    storage.client.cache_clear()  # its credentials are those of this test


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Return an empty folder, or an empty bucket: whoever takes it is tested on both."""
    return Location.parse(str(tmp_path) if request.param == "folder" else request.getfixturevalue("bucket"))
