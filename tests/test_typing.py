"""What mypy is told of Arrow is so, and `.ci/any.py` says which module with tables it knows too little of."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

TYPINGS = REPOSITORY / "typings"
# Which a kind of them has: of lists and dictionaries, of bytes, of lists
OF_SOME = ["pyarrow.DataType.value_type", "pyarrow.Scalar.as_buffer", "pyarrow.Array.flatten"]
Named = ast.FunctionDef | ast.ClassDef | ast.AnnAssign


def told(body: list[ast.stmt]) -> Iterator[tuple[str, Named]]:
    """Yield the public names of a stub, and of a class in it."""
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        else:
            continue
        if not name.startswith("_"):
            yield name, node


def lacking(place: object, where: str, body: list[ast.stmt]) -> Iterator[str]:
    """Yield what a stub tells of a module or a class that is not there, or has no such parameter."""
    for name, node in told(body):
        found = getattr(place, name, None)
        if found is None:
            yield f"{where}.{name}"
        elif isinstance(node, ast.ClassDef):
            yield from lacking(found, f"{where}.{name}", node.body)
        elif isinstance(node, ast.FunctionDef) and callable(found):
            parameters = inspect.signature(found).parameters
            asked = [of.arg for of in (*node.args.args, *node.args.kwonlyargs) if of.arg not in ("self", "cls")]
            yield from (f"{where}.{name}({of})" for of in asked if of not in parameters)


@pytest.mark.parametrize("path", sorted((TYPINGS / "pyarrow").glob("*.pyi")), ids=lambda path: path.stem)
def test_arrow_has_what_the_stubs_tell_of_it(path: Path) -> None:
    name = "pyarrow" if path.stem == "__init__" else f"pyarrow.{path.stem}"
    found = list(lacking(importlib.import_module(name), name, ast.parse(path.read_text()).body))
    assert found == (OF_SOME if name == "pyarrow" else [])


def test_what_arrow_has_not_is_found() -> None:
    stub = "class Table:\n    def select(self, rows: int): ...\n    def scan(self): ...\ndef tabel(): ...\n"
    found = list(lacking(importlib.import_module("pyarrow"), "pa", ast.parse(stub).body))
    assert found == ["pa.Table.select(rows)", "pa.Table.scan", "pa.tabel"]


def held(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run the script on a report of mypy."""
    (folder / "any-exprs.txt").write_text("\n".join(["  Name  Anys  Exprs  Coverage", "-" * 30, *lines]) + "\n")
    script = [sys.executable, str(REPOSITORY / ".ci" / "any.py"), str(folder)]
    return subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)


def modules() -> list[str]:
    """Return the modules with tables, by a search that knows no Python."""
    package = REPOSITORY / "pipeline"
    files = [path for path in package.rglob("*.py") if "import pyarrow" in path.read_text()]
    return [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files]


def test_a_module_with_tables_that_mypy_knows_too_little_of_is_named(tmp_path: Path) -> None:
    lines = [f"  {name}  10  100  90.00%" for name in modules()]
    fine = held(tmp_path, *lines, "pipeline.io.bucket  50  100  50.00%")
    assert fine.returncode == 0 and f"{len(lines)} modules with tables, 10.0% at most" in fine.stdout, fine.stderr
    lines[0] = lines[0].replace("10  100", "11  100")
    assert held(tmp_path, *lines).stderr == f"{modules()[0]}: 11.0% of its expressions are Any, 10% at most\n"
    assert held(tmp_path, *lines).returncode == 1


def test_a_module_that_the_report_lacks_is_no_success(tmp_path: Path) -> None:
    lines = [f"  {name}  0  100  100.00%" for name in modules()[1:]]
    done = held(tmp_path, *lines)
    assert done.returncode == 1 and done.stderr == f"mypy reports nothing of {modules()[0]}\n"
