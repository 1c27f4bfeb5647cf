"""What every bench leaves: tables on the terminal, figures beside their aims, JSON, a plot; and how it is started."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path("out/bench")
PACKAGES = ("torch", "ray", "faiss-gpu", "timm", "numpy", "scikit-learn", "pyarrow")
ABSENT = 3  # exit code of a bench that lacks what it measures

Cell = str | int | float
Sizes = TypeVar("Sizes")


class NotRun(Exception):
    """What a bench measures is not here; the message says what that is."""


class Report:
    """Prints as it goes and is written to <folder>/<name>.json and .png at the end.

    report = Report("mutual", Path("out/bench"))
    report.title("Mutual scoring of one layer")
    report.table("Seconds", ["shape", "gemm", "faiss"], [["N=83", 0.6, 4.5]])
    report.figure("speed against cdist", 12.3, aim=12, unit="x")
    report.save(draw)

    Figures of a toy are not `judged`: they are printed without their aims, of which they say nothing.
    """

    def __init__(self, name: str, folder: Path, judged: bool = True) -> None:
        self._name, self._folder, self._judged = name, folder, judged
        self._content: dict[str, Any] = {"title": name, "machine": machine(), "tables": {}, "figures": {}}

    def title(self, title: str) -> None:
        """Print what is measured, and on what machine."""
        self._content["title"] = title
        print(f"\n{title}\n{', '.join(f'{key} {value}' for key, value in self._content['machine'].items())}")
        if not self._judged:
            print("Toy sizes, which show that this runs: the figures mean nothing.")

    def table(self, heading: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Print a table and keep it."""
        cells = [list(columns), *([shown(value) for value in row] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
        print(f"\n{heading}")
        for row in cells:
            first, *others = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            print("  ".join([row[0].ljust(len(first)), *others]))
        self._content["tables"][heading] = [dict(zip(columns, row, strict=True)) for row in rows]

    def figure(self, name: str, value: float, aim: float | None = None, unit: str = "", most: bool = False) -> None:
        """Print a figure, with what it should at least be (with `most`: at most), and keep it."""
        if not self._judged:
            aim = None
        met = None if aim is None else (value <= aim if most else value >= aim)
        line = f"{name}: {value:.3g}{unit}"
        if aim is not None:
            line += f"  (aim {'at most' if most else 'at least'} {aim:g}{unit}: {'met' if met else 'MISSED'})"
        print(line)
        self._content["figures"][name] = {"value": value, "unit": unit, "aim": aim, "met": met}

    def keep(self, name: str, figures: Mapping[str, float]) -> None:
        """Write figures alone to <folder>/<name>.json, for who reads them as settings."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")

    def save(self, draw: Callable[[Figure], None]) -> None:
        """Write the JSON, and the plot that `draw` puts into a figure."""
        from matplotlib.figure import Figure

        self._folder.mkdir(parents=True, exist_ok=True)
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        draw(figure)
        figure.savefig(self._folder / f"{self._name}.png", dpi=110)
        (self._folder / f"{self._name}.json").write_text(json.dumps(self._content, indent=2) + "\n")
        print(f"\nwritten: {self._folder / self._name}.json, .png")


def machine() -> dict[str, str]:
    """Return what the figures depend on: processor, threads, versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
        flags = next((line for line in lines if line.startswith("flags")), "")
        model += f" ({'with' if 'amx_bf16' in flags else 'no'} AMX)"
    import torch  # here, so that a process started for its peak of memory may do without

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    facts = {"processor": model, "cpus": str(os.cpu_count()), "threads": str(torch.get_num_threads()), "gpu": gpu}
    return facts | {package: version(package) for package in PACKAGES}


def interleaved(functions: Mapping[str, Callable[[], Any]], rounds: int = 5) -> dict[str, float]:
    """Return the median seconds of each function, all called in turn, so that a slow moment of the machine hits all."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def start(main: Callable[[Report, Sizes], None], full: Sizes, toy: Sizes) -> None:
    """Run a bench as its command line says; exits with ABSENT where it cannot be measured."""
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(f"python -m bench.{name}")
    parser.add_argument("--toy", action="store_true", help="see in seconds that it runs; leaves the real figures alone")
    is_toy = parser.parse_args().toy
    try:
        main(Report(name, FOLDER / "toy" if is_toy else FOLDER, judged=not is_toy), toy if is_toy else full)
    except NotRun as reason:
        print(f"\nNOT RUN: {name}: {reason}", file=sys.stderr)
        sys.exit(ABSENT)


def shown(value: Cell) -> str:
    """Return what a table shows of a value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
