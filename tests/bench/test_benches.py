"""Every bench runs, at a toy size, and leaves its tables. What a toy measures says nothing: no figure is judged."""

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import __main__ as all_benches
from bench import names
from bench.report import ABSENT, NotRun, Report, shown, start
from tests.conftest import not_run

# The tables of each bench, by how their headings begin, and how many rows they have at the toy size
TABLES = {
    "answers": {
        "image AUROC in percent": 6,
        "image AP in percent": 6,
        "pixel AP in percent": 6,
        "AUPRO in percent": 6,
        "Gain of lakescore over the paper, image AUROC": 9,
        "Gain of lakescore over the paper, image AP": 9,
        "Gain of lakescore over the paper, pixel AP": 6,
        "Verdicts without labels or window": 4,
        "Verdicts by a window": 9,
    },
    "accuracy": {"Figures of the paper's way": 1, "Change, percent points": 13, "Image AUROC in percent over": 6},
    "families": {"Agreement in percent": 30},
    "extract": {"Images per second": 5, "The worker of one thread": 8, "The tasks before it": 2},
    "lake": {
        "Seconds": 6,
        "Seconds of processors": 11,
        "Peak MB of a process": 11,
        "Files": 6,
        "Exponents of seconds, of stages": 3,
        "Exponents of seconds, of processes": 3,
    },
    "large": {"Seconds and MB at most": 10},
    "linear": {"Scoring, 3 references or all": 10},
    "listing": {"Catalog and plan": 2},
    "metrics": {"Seconds": 2, "Peak memory beside maps": 4, "Streamed, 65536 levels": 4},
    "mutual": {"N=4 P=256 D=64 cpu": 7, "Seconds near each patch's place": 2},
    "nights": {"Nights": 3},
    "page": {"Opened": 1},
    "patches": {"Scoring at 56 pixels": 10, "Photographs side by side": 2},
    "presets": {"Scoring of a category": 2},
    "rates": {"Rates, as pipeline.plan.rates has them": 14},
    "rounding": {"Change by rounding, percent points": 51},
    "sample": {"Image AUROC in percent": 4},
    "small": {"Metrics in percent, and seconds": 3, "Normal images below a defective one": 3},
    "storage": {"0 ms a request": 16},
    "turned": {"Metrics in percent": 3, "Means, and seconds of all sets": 3},
    "views": {"Metrics in percent": 4, "Seconds of all sets": 4},
    "workers": {
        "4 units of 10 images": 2,
        "Simulated by rates of this core": 2,
        "Orders, by memory and GPUs": 15,
        "Unit sizes, as planned": 12,
    },
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let torch take one core: toys gain nothing by a second one, for which other tests wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_no_bench_is_forgotten() -> None:
    """A bench is a module of bench/ that has `main`; another one helps those that have."""
    assert names() == sorted(TABLES)
    for name in names():
        source = Path(importlib.import_module(f"bench.{name}").__file__ or "").read_text()
        assert source.endswith('\n\nif __name__ == "__main__":\n    start(main, FULL, TOY)\n'), name


@pytest.mark.parametrize("name", names())
def test_a_bench_prints_its_tables_and_keeps_them(
    ray_here: None, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = importlib.import_module(f"bench.{name}")
    try:
        bench.main(Report(name, tmp_path, judged=False), bench.TOY)
    except NotRun as reason:
        not_run(f"bench.{name}: {reason}")
    printed = capsys.readouterr().out
    kept = json.loads((tmp_path / f"{name}.json").read_text())
    assert printed.startswith(f"\n{kept['title']}\n") and "(aim " not in printed

    headings = list(kept["tables"])
    assert len(headings) == len(TABLES[name]), headings
    for heading, (beginning, rows) in zip(headings, TABLES[name].items(), strict=True):
        table = kept["tables"][heading]
        assert heading.startswith(beginning) and len(table) == rows, (heading, len(table))
        columns, *lines = printed.split(f"\n{heading}\n")[1].splitlines()[: 1 + rows]
        assert columns.split() == " ".join(table[0]).split()
        for line, row in zip(lines, table, strict=True):
            figures = [value for value in row.values() if isinstance(value, int | float)]
            assert figures and all(map(math.isfinite, figures)), (heading, row)
            assert line.split() == " ".join(map(shown, row.values())).split()
    for figure, of in kept["figures"].items():
        assert math.isfinite(of["value"]) and of["met"] is None, (figure, of)
        assert f"\n{figure}: " in printed
    assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 1


@dataclass(frozen=True)
class Sizes:
    images: int


@pytest.mark.parametrize(("arguments", "images", "folder"), [([], 500, "out/bench"), (["--toy"], 5, "out/bench/toy")])
def test_a_toy_has_no_aims_and_leaves_the_real_figures_alone(
    arguments: list[str],
    images: int,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(report: Report, sizes: Sizes) -> None:
        report.title("Any")
        report.figure("images", sizes.images, aim=1000)
        report.save(lambda figure: None)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "any.py"), *arguments])
    start(main, Sizes(500), Sizes(5))
    said = capsys.readouterr().out
    assert f"\nimages: {images}" in said and ("MISSED" in said) == ("--toy" not in arguments)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == [f"{folder}/any.json", f"{folder}/any.png"]


def test_a_bench_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def main(report: Report, sizes: Sizes) -> None:
        raise NotRun("there is no lake")

    monkeypatch.setattr(sys, "argv", ["any.py"])
    with pytest.raises(SystemExit) as end:
        start(main, Sizes(500), Sizes(5))
    assert end.value.code == ABSENT
    assert capsys.readouterr().err == "\nNOT RUN: any: there is no lake\n"


def test_all_benches_end_at_the_first_failure_and_go_on_without_what_is_absent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes, ran = {"accuracy": ABSENT, "linear": 0, "listing": 1}, list[str]()

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        assert command[:2] == [sys.executable, "-m"] and command[3:] == ["--toy"]
        ran.append(command[2].removeprefix("bench."))
        return subprocess.CompletedProcess(command, codes.get(ran[-1], 0))

    monkeypatch.setattr(subprocess, "run", run)
    assert all_benches.run(["--toy"]) == 1
    assert ran == names()[: names().index("listing") + 1]
    assert capsys.readouterr().err == "bench.listing failed\n"
    codes.clear()
    codes["page"] = ABSENT
    ran.clear()
    assert all_benches.run(["--toy"]) == 0 and ran == names()
    assert capsys.readouterr().err == "\nNOT RUN: page; they say above what they lack\n"
