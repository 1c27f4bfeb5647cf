"""Labels become a manifest, the manifest pinned references: from one command to the settings of the next."""

import csv
from pathlib import Path

import pytest

from pipeline.catalog import build_catalog
from pipeline.config import InputConfig, ScoreConfig
from pipeline.store.history import History
from pipeline.tables.selection import select
from tests.corpus import HOSTILE_NAMES, write_files
from tests.published import publish, row
from tests.running import run_script


@pytest.mark.parametrize("name", ["references.csv", "deep/er/references.csv"])
def test_the_manifest_pins_the_images_that_were_called_normal(tmp_path: Path, name: str) -> None:
    lake = write_files(tmp_path / "lake", *(f"nut, 'big'/{name}" for name in HOSTILE_NAMES), "bolt/a.png", "bolt/b.png")
    listed = build_catalog(InputConfig(uri=str(lake))).table.to_pylist()
    publish(tmp_path / "out", "one", [row(of["category"], of["uri"], 0.5) for of in listed])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        labels = [(of["uri"], "defect" if of["uri"].endswith("b.png") else "normal") for of in listed]
        csv.writer(file).writerows([("uri", "label"), *labels])
    manifest = tmp_path / name
    done = run_script("pin_normals.py", tmp_path / "out", tmp_path / "labels.csv", manifest)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"bolt: 1 references\nnut, 'big': {len(HOSTILE_NAMES)} references\n"

    config = ScoreConfig.model_validate(
        {
            "input": {"uri": str(lake)},
            "output": {"uri": str(tmp_path / "out")},
            "references": {"source": "pinned", "pinned": str(manifest)},
        }
    )
    work = select(build_catalog(config.input), config, History(None, {}))
    pinned = {of["uri"] for of in work.todo.to_pylist() if of["pinned"]}
    assert pinned == {uri for uri, label in labels if label == "normal"}
    assert work.pinned == {"bolt": 1, "nut, 'big'": len(HOSTILE_NAMES)}


def test_labels_that_cannot_be_used_end_in_one_line(tmp_path: Path) -> None:
    publish(tmp_path / "out", "one", [row("nut", "a", 0.5)])
    (tmp_path / "labels.csv").write_text("uri,label\na,perhaps\n")
    done = run_script("pin_normals.py", tmp_path / "out", tmp_path / "labels.csv", tmp_path / "references.csv")
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "references.csv").exists()
    assert done.stderr.count("\n") == 1 and "label 'perhaps' of a is neither normal nor defect" in done.stderr
