"""Imports point one way (docs/architecture.md), and Ray is known to one room only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pipeline"
# What each room may import of the project; a room not named here is an error
ROOMS = {
    "errors": set[str](),
    "config": set[str](),
    "command": {"config", "errors"},
    "precision": set[str](),
    "memory": set[str](),
    "screen": set[str](),
    "views": set[str](),
    "log": {"screen"},
    "progress": {"log"},
    "stage": {"progress"},
    "io": {"errors"},
    "images": {"errors", "config", "io", "views"},
    "plan": {"errors", "config"},
    "metrics": set[str](),
    "schema": set[str](),
    "scoring": {"errors", "config", "precision", "plan", "views"},
    "store": {"schema", "errors", "io", "views"},
    "catalog": {"schema", "errors", "config", "images", "io", "metrics", "views"},
    "encoders": {"errors", "config", "images", "io", "precision"},
    "result": {"schema", "errors", "store", "metrics"},
    "sample": {"errors", "io", "encoders"},
    "tables": {"errors", "schema", "config", "images", "plan", "store", "catalog"},
    "report": {
        *("errors", "config", "images", "io", "store", "catalog", "metrics", "result", "screen", "tables", "stage"),
        *("schema", "views"),
    },
    "stages": {
        *("errors", "config", "progress", "images", "memory", "scoring", "plan", "metrics", "io", "store", "catalog"),
        *("encoders", "tables", "report", "stage", "schema", "views"),
    },
    "engine": {"errors", "config", "progress", "plan", "io", "encoders", "scoring", "store", "stage"},
    "resume": {"errors", "schema", "config", "result", "store"},
    "prepare": {
        *("config", "plan", "schema", "catalog", "encoders", "scoring", "store", "tables", "stages", "engine"),
    },
    "publish": {"schema", "catalog", "metrics", "store", "tables", "stages", "prepare"},
    "run": {
        *(
            "config",
            "encoders",
            "log",
            "metrics",
            "io",
            "store",
            "result",
            "tables",
            "stages",
            "engine",
            "report",
            "resume",
        ),
        *("prepare", "publish", "schema", "views"),
    },
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(str(node.module))
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_a_room_imports_only_what_it_may() -> None:
    wrong = {}
    for path in FILES:
        if path == PACKAGE / "__init__.py":  # imports what is asked for when it is asked for, as the next test shows
            assert imported(path) == {"typing", "pipeline.report.notebook"}
            continue
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("pipeline.")}
        if too_far := ours - {room(path)} - ROOMS[room(path)]:
            wrong[str(path.relative_to(PACKAGE))] = sorted(too_far)
    assert wrong == {}


# What takes seconds to import, and is imported where it is called
HEAVY = {"ray", "torch", "torchvision", "timm", "open_clip", "faiss", "sklearn", "scipy.stats", "pandas", "matplotlib"}
# What importing a module may bring of it, beside nothing
BRINGS = {
    "precision": {"torch"},
    "encoders.encoder": {"torch"},
    "encoders.backbone": {"torch"},
    "scoring.maps": {"torch"},
    "engine.cluster": {"ray"},
    "engine.tasks": {"ray"},
    "engine.calibrate": {"ray"},
    "report.build": {"matplotlib"},
    "report.redraw": {"matplotlib"},
    "report.notebook": {"pandas"},
    "prepare": {"ray"},
    "publish": {"ray"},
    "run": {"ray", "matplotlib"},  # no torch, and no ray.data: a driver has no use for them
}
NOTHING: tuple[str, ...] = (
    *("config", "command", "schema.tables", "progress", "stage", "io.storage", "images.files", "encoders.describe"),
    *("scoring.scorer", "scoring.musc.scorer", "scoring.subspace", "plan.sizing", "catalog", "metrics.category"),
    *("store.features", "store.history", "store.garbage", "tables.rows", "tables.selection", "tables.references"),
    *("tables.thresholds", "tables.drift", "result", "resume", "stages.decode", "stages.encode", "stages.score"),
    *("stages.maps", "stages.rescore", "stages.measure", "stages.reduce", "stages.evidence", "report.page"),
)


@pytest.mark.parametrize("modules", [NOTHING, *((module,) for module in BRINGS)], ids=lambda modules: modules[0])
def test_what_is_imported_costs_no_more_than_it_needs(modules: tuple[str, ...]) -> None:
    absent = HEAVY - BRINGS.get(modules[0], set()) | {"ray.data"}
    names = ", ".join(f"pipeline.{module}" for module in modules)
    code = f"import sys, {names}; sys.exit(sorted({absent} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", ["import pipeline", "import pipeline; pipeline.open_run"])
def test_the_package_itself_costs_nothing(code: str) -> None:
    command = f"import sys; {code}; sys.exit(bool({{'pipeline.errors', 'numpy', 'pyarrow'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", command], timeout=60, check=False).returncode == 0


def test_ray_is_known_to_engine_only() -> None:
    knowing = {path for path in FILES if any(name.split(".")[0] == "ray" for name in imported(path))}
    assert {room(path) for path in knowing} == {"engine"}, knowing
