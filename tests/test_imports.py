"""Imports point one way (docs/architecture.md), and Ray is known to one room only."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pipeline"
ARCHITECTURE = PACKAGE.parent / "docs" / "architecture.md"


def rooms() -> dict[str, set[str]]:
    """Return what each room imports, as the table of docs/architecture.md has it."""
    rows = re.findall(r"^\| `(\w+)(?:\.py|/)` \|.*\|([^|]*)\|$", ARCHITECTURE.read_text(), re.MULTILINE)
    return {name: set(re.findall(r"\w+", imports)) for name, imports in rows}


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


def test_rooms_import_what_the_architecture_says() -> None:
    found: dict[str, set[str]] = {}
    for path in FILES:
        if path == PACKAGE / "__init__.py":  # imports what is asked for when it is asked for, as the next test shows
            assert imported(path) == {"typing", "pipeline.report.notebook"}
            continue
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("pipeline.")}
        found.setdefault(room(path), set()).update(ours - {room(path), "errors"})
    assert found == rooms()


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
    *(
        "scoring.scorer",
        "scoring.lakescore.scorer",
        "scoring.musc.scorer",
        "scoring.subspace",
        "plan.sizing",
        "catalog",
        "metrics.category",
    ),
    *("store.features", "store.history", "store.garbage", "tables.rows", "tables.selection", "tables.references"),
    *(
        "tables.thresholds",
        "tables.verdict",
        "tables.decisions",
        "tables.parts",
        "tables.drift",
        "result",
        "resume",
        "stages.decode",
        "stages.encode",
        "stages.score",
    ),
    *(
        "stages.maps",
        "stages.rescore",
        "stages.thresholds",
        "stages.measure",
        "stages.reduce",
        "stages.evidence",
        "report.page",
    ),
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
