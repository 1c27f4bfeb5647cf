"""The programs that look at infra/ without a cloud: the machine's own, and those that make brings."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, not_run

INFRA = REPOSITORY / "infra"
PLACES = (REPOSITORY / ".venv-infra" / "bin", REPOSITORY / ".tools" / "usr" / "bin")


def find_tool(name: str) -> Path | None:
    """Return the program: of those that make cannot bring, a machine may have none."""
    for place in PLACES:
        if (place / name).exists():
            return place / name
    found = shutil.which(name)
    return Path(found) if found else None


def tool(name: str) -> Path:
    """Return the program, or skip, and say so."""
    return find_tool(name) or not_run(f"{name} is not installed")


def infra_tool(name: str) -> Path:
    """Return a program of tests/infra/requirements.txt; make brings it, so that its absence is a failure."""
    program = PLACES[0] / name
    if not program.exists():
        pytest.fail(f"{program} is missing: make .venv-infra/.installed")
    return program
