"""What all tests share: a clean environment, and the material that lies beside the repository."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

REPOSITORY = Path(__file__).parents[1]
SHARED = Path(os.environ.get("LAKESCORE_SHARED", REPOSITORY.parent / "shared"))

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the credentials and clusters of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "RAY_", "HF_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield


def beside(name: str) -> Path:
    """Return a folder of the material beside the repository, or skip, and say so."""
    folder = SHARED / name
    if not folder.is_dir():
        message = f"NOT RUN: {folder} is absent; set LAKESCORE_SHARED to the folder that holds {name}/"
        warnings.warn(pytest.PytestWarning(message), stacklevel=2)
        pytest.skip(message)
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
