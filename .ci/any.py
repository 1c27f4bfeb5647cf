"""Hold the modules that handle tables to few expressions that mypy knows nothing of: any.py FOLDER, a report of mypy's.

In them, `Any` hides a table that lacks a column, or is none. They are those of the product that import pyarrow.
"""

import ast
import sys
from pathlib import Path

CEILING = 0.10
PACKAGE = Path(__file__).parents[1] / "pipeline"


def modules(package: Path) -> list[str]:
    """Return the names of a package's modules that import pyarrow."""
    found = []
    for path in sorted(package.rglob("*.py")):
        if "pyarrow" in _imported(ast.parse(path.read_text())):
            parts = path.relative_to(package.parent).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def _imported(tree: ast.Module) -> set[str]:
    """Return the first names of all modules that a file imports."""
    names = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def shares(report: str) -> dict[str, float]:
    """Return the share of expressions of type Any by module, from `any-exprs.txt`: name, of type Any, all, coverage."""
    rows = [line.split() for line in report.splitlines()]
    return {row[0]: int(row[1]) / int(row[2]) for row in rows if len(row) == 4 and row[2].isdigit() and int(row[2])}


def main(folder: str, package: Path = PACKAGE) -> int:
    found = shares((Path(folder) / "any-exprs.txt").read_text())
    held = modules(package)
    if absent := [name for name in held if name not in found]:
        print(f"mypy reports nothing of {', '.join(absent)}", file=sys.stderr)
        return 1
    high = [name for name in held if found[name] > CEILING]
    for name in high:
        print(f"{name}: {found[name]:.1%} of its expressions are Any, {CEILING:.0%} at most", file=sys.stderr)
    worst = max(held, key=found.__getitem__)
    print(f"Any: {len(held)} modules with tables, {found[worst]:.1%} at most ({worst})")
    return 1 if high else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
