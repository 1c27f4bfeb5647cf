"""Parts of several views: from a manifest to parts.parquet, metrics and the report, and night after night."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pipeline
from pipeline.report.notebook import Run
from pipeline.run import score_lake
from pipeline.schema.tables import PARTS
from tests.running import flags, parse, run_script, settings

pytestmark = pytest.mark.usefixtures("ray_here")
CAMERAS = ("front", "side", "top")
COUNT, SIDE = 12, 112
DEFECT, LOST, NEW = "part-04", "part-07", "part-11"  # one with a defect on its side, one whose top cannot be decoded


def photograph(part: int, camera: int, defect: bool = False) -> Image.Image:
    """Return one of the photographs of a part: a pattern of the camera's own and noise, and a bright bar."""
    generator = np.random.default_rng([part, camera])
    y, x = np.mgrid[:SIDE, :SIDE]
    pixels = 120 + 40 * np.sin(x / (7 + camera)) * np.cos(y / (9 - camera)) + generator.normal(0, 6, (SIDE, SIDE))
    if defect:
        pixels[40:64, 30:42] = 250
    return Image.fromarray(np.stack([pixels.clip(0, 255).astype(np.uint8)] * 3, axis=2))


def write_lake(folder: Path) -> Path:
    """Write the photographs of all parts, and a manifest of them and of one that is of no part; return that."""
    rows = []
    for part in range(COUNT):
        name = f"part-{part:02d}"
        for camera, view in enumerate(CAMERAS):
            path = folder / view / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            defect = (name, view) == (DEFECT, "side")
            photograph(part, camera, defect).save(path)
            if (name, view) == (LOST, "top"):
                path.write_bytes(b"no image")
            rows.append([f"{view}/{name}.png", f"nut/{view}", name, "defect" if defect else "normal"])
    photograph(COUNT, 0).save(folder / "front" / "board.png")
    return write_manifest(folder / "lake.csv", [*rows, ["front/board.png", "nut/front", "", ""]])


def write_manifest(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["uri", "category", "group", "label"], *rows])
    return path


def score(manifest: Path, output: Path, run_id: str, **more: Any) -> Run:
    score_lake(parse(flags(settings(manifest, output, output__run_id=run_id, **more))))
    return pipeline.open_run(str(output), run_id)


def rows_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return the parts of a run by name."""
    return {row["group"]: row for row in run.parts.to_pylist()}


@dataclass(frozen=True)
class Lake:
    output: Path
    run: Run


@pytest.fixture(scope="module")
def lake(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("parts")
    manifest = write_lake(folder / "lake")
    return Lake(folder / "out", score(manifest, folder / "out", "one", report__images=1))  # of each category


def test_scores_name_the_part_of_each_view(lake: Lake) -> None:
    scores = lake.run.to_pandas()
    assert sorted(scores["category"].unique()) == [f"nut/{view}" for view in CAMERAS]
    named = scores["uri"].str.extract(r"/(part-\d+)\.png$")[0]
    assert scores["group"].fillna("").tolist() == named.fillna("").tolist() and scores["group"].isna().sum() == 1
    folders = sorted(path.name for path in (lake.output / "runs/run_id=one/maps").iterdir())
    assert folders == [f"category=nut%2F{view}" for view in CAMERAS]


def test_each_part_has_a_row_and_is_as_its_worst_view(lake: Lake) -> None:
    path = lake.output / "runs" / "run_id=one" / lake.run.run.files["parts"].path
    assert path.name == "parts.parquet" and pq.read_table(path).equals(lake.run.parts)
    assert lake.run.parts.schema == PARTS.arrow
    parts, views = rows_of(lake.run), lake.run.to_pandas().dropna(subset="group")
    assert list(parts) == [f"part-{part:02d}" for part in range(COUNT)]
    assert {(row["product"], row["views"], row["scored_by"]) for row in parts.values()} == {("nut", 3, "one")}
    for name, of in views.groupby("group"):
        row, worst = parts[str(name)], of.sort_values("score", ascending=False).iloc[0]
        assert [row["score"], row["worst_uri"], row["worst_category"]] == worst[["score", "uri", "category"]].tolist()
        assert row["anomalous"] == (of["anomalous"] == True).any()  # noqa: E712  # one is null
    assert max(parts, key=lambda name: float(parts[name]["score"])) == DEFECT
    found = parts[DEFECT]
    assert found["anomalous"] and found["label"] and found["worst_category"] == "nut/side"


def test_a_part_of_which_a_view_was_lost_is_not_complete(lake: Lake) -> None:
    parts = rows_of(lake.run)
    assert [name for name, row in parts.items() if not row["complete"]] == [LOST]
    assert (parts[LOST]["scored"], parts[LOST]["quarantined"], parts[LOST]["label"]) == (2, 1, False)


def test_parts_have_metrics_of_their_own(lake: Lake) -> None:
    metrics, parts = lake.run.metrics, rows_of(lake.run).values()
    assert metrics["nut"]["part_auroc"].value == metrics["nut"]["part_verdict_recall"].value == 1
    alarms = sum(row["anomalous"] and not row["label"] for row in parts)
    assert metrics["nut"]["part_verdict_false_alarms"].value == pytest.approx(alarms / (COUNT - 1))
    stored = pq.read_table(lake.output / "runs/run_id=one/metrics.parquet").to_pylist()
    [mean] = [row["value"] for row in stored if row["category"] is None and row["name"] == "part_auroc"]
    told = json.loads((lake.output / "runs/run_id=one/metrics.json").read_bytes())
    assert mean == told["mean"]["part_auroc"]["value"] == told["categories"]["nut"]["part_auroc"]["value"] == 1
    assert metrics["nut/side"]["image_auroc"].value == 1 and "part_auroc" not in metrics["nut/side"]


def test_the_report_has_each_view_of_an_anomalous_part(lake: Lake) -> None:
    report = lake.output / "runs" / "run_id=one" / "report"
    run, images = ((report / "data" / name).read_text("ascii") for name in ("run.js", "images-0.js"))
    facts = json.loads(run[run.index("(") + 1 : run.rindex(");")])
    [_, columns] = json.loads("[" + images[images.index("(") + 1 : images.rindex(");")] + "]")
    assert columns["group"] == lake.run.scores["group"].to_pylist()
    [product] = facts["products"]
    parts = rows_of(lake.run).values()
    incomplete = sum(not (row["anomalous"] or row["complete"]) for row in parts)
    assert (product["name"], product["parts"], product["incomplete"]) == ("nut", COUNT, incomplete)
    assert product["anomalous"] == sum(row["anomalous"] for row in parts)
    assert product["metrics"]["part_auroc"]["value"] == 1
    drawn = {columns["uri"][n] for n, of in enumerate(columns["drawn"]) if of and columns["group"][n] == DEFECT}
    assert {uri.rsplit("/", 2)[1] for uri in drawn} == set(CAMERAS)


def test_the_worst_parts_are_listed(lake: Lake) -> None:
    done = run_script("inspect_run.py", lake.output, "--worst", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [part["group"] for part in told["worst_parts"]][0] == DEFECT and len(told["worst_parts"]) == 2
    text = run_script("inspect_run.py", lake.output).stdout
    assert "worst parts" in text and "not all seen" in text


def test_a_night_has_parts_whose_views_earlier_nights_scored(tmp_path: Path) -> None:
    whole = write_lake(tmp_path / "lake")
    rows = [[*row[:3], ""] for row in list(csv.reader(whole.read_text().splitlines()))[1:]]
    window = {"references__source": "window"}
    # a camera that delivers a part's photograph a night later
    monday = write_manifest(whole, [row for row in rows if row[2] != NEW or row[1] != "nut/top"])
    first = rows_of(score(monday, tmp_path / "out", "monday", **window))
    run = score(write_manifest(whole, rows), tmp_path / "out", "tuesday", **window)
    second, scores = rows_of(run), run.to_pandas()
    assert run.run.counts.carried == COUNT * 3 - 1  # of 37, one is lost and one is new
    assert [(of[NEW]["views"], of[NEW]["scored"]) for of in (first, second)] == [(2, 2), (3, 3)]
    new = scores[scores["scored_by"] == "tuesday"]
    assert new["group"].tolist() == [NEW] and new["category"].tolist() == ["nut/top"]
    assert second[NEW]["score"] == scores.loc[scores["group"] == NEW, "score"].max()
    assert {name: row for name, row in first.items() if name != NEW} == {n: r for n, r in second.items() if n != NEW}
