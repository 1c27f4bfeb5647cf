"""A report of a run that was published before."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.io.storage import Location
from pipeline.report.redraw import redraw
from pipeline.result import read_result
from pipeline.schema.record import RunRecord
from pipeline.schema.scores import upgrade_scores
from pipeline.schema.tables import PIXELS
from pipeline.store.run_folder import RunFolder, write_table
from tests import published


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of three images, of a version that kept no evidence."""
    lake, output = tmp_path / "lake", tmp_path / "out"
    lake.mkdir()
    rows = []
    for n in range(3):
        Image.fromarray(np.full((8, 8, 3), 60 * n, np.uint8)).save(lake / f"{n}.png")
        map_uri = f"runs/run_id=night/maps/{n}.png"
        (output / map_uri).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((28, 28), 9000 * (n + 1), np.uint16)).save(output / map_uri)
        etag = (Location.parse(str(lake)) / f"{n}.png").entry().etag
        more = {"threshold": 0.5, "pixel_threshold": 0.4, "scored_by": "night", "map_uri": map_uri, "anomalous": n > 1}
        size = {"width": 8, "height": 8, "scored_at": None, "label": None}
        rows.append(published.row("nut", str(lake / f"{n}.png"), 0.3 * n, etag=etag, **more, **size))
    config = ScoreConfig.model_validate(
        {"input": {"uri": str(lake)}, "output": {"uri": "/moved"}, "encoder": {"size": 28}}
    )
    told = published.facts("night") | {"config": config.model_dump(mode="json"), "layout": "folder"}
    told["settings"] = told["config"]
    folder = RunFolder(Location.parse(str(output)), "night")
    write_table(folder.results / "pixels.parquet", PIXELS.rows([]))
    listed = pa.table({"size": [999] * 3, "masks": pa.array([[]] * 3, pa.list_(pa.string()))})
    write_table(folder.results / "catalog.parquet", listed)
    write_table(folder.results / "scores" / "part-00000.parquet", published.stored(rows))
    metrics = pa.schema([(name, pa.string()) for name in ("category", "name", "reason")] + [("value", pa.float64())])
    write_table(folder.results / "metrics.parquet", pa.Table.from_pylist([], schema=metrics))
    folder.publish(RunRecord.model_validate(told))
    return folder


def test_a_published_run_is_drawn_anew_and_stays_as_it_is(run: RunFolder, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in Path(run.results.path).rglob("*") if path.is_file()}
    report = tmp_path / "report"
    redraw(read_result(run), Location.parse(str(report)), images=2)
    assert sorted(path.name for path in (report / "images" / "0").iterdir()) == ["1.webp", "2.webp"]
    assert '"drawn":[false,true,true]' in (report / "data" / "images-0.js").read_text()
    assert (report / "index.html").exists()
    assert {path: path.read_bytes() for path in Path(run.results.path).rglob("*") if path.is_file()} == before


def test_a_report_over_another_one_says_what_stays(
    run: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = Location.parse(str(tmp_path / "report"))
    redraw(read_result(run), report, images=3)
    assert not caplog.messages
    redraw(read_result(run), report, images=1)
    assert caplog.messages == [
        f"{report} holds a report already: pictures that the new one does not have will stay beside it"
    ]
    assert len(list((tmp_path / "report" / "images" / "0").iterdir())) == 3


def test_nothing_is_written_into_a_published_run(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="never changed; choose another folder"):
        redraw(read_result(run), run.results / "report")


def test_a_run_without_a_report_is_drawn_with_pictures(run: RunFolder, tmp_path: Path) -> None:
    result = read_result(run)
    told = result.run.told()
    told["config"]["report"]["images"] = 0
    redraw(replace(result, run=RunRecord.model_validate(told)), Location.parse(str(tmp_path / "report")))
    assert len(list((tmp_path / "report" / "images" / "0").iterdir())) == 3


def test_the_window_is_what_was_scored_before_the_run_started(run: RunFolder, tmp_path: Path) -> None:
    """Another night scored the same images before it, and one after it."""
    told = read_result(run).run.told()
    for name, day in (("before", "2029-12-31"), ("after", "2030-01-03")):
        other = RunFolder(run.output, name)
        shutil.copytree(run.results.path, other.results.path)
        (Path(other.results.path) / "run.json").unlink()
        times = {"started": f"{day}T10:00:00+00:00", "finished": f"{day}T10:01:05+00:00"}
        other.publish(RunRecord.model_validate(told | {"run_id": name} | times))
    redraw(read_result(run), Location.parse(str(tmp_path / "report")))
    facts = (tmp_path / "report" / "data" / "run.js").read_text()
    counts = json.loads(facts[facts.index("(") + 1 : facts.rindex(");")])["categories"][0]["histogram"]
    assert sum(counts["current"]) == sum(counts["window"]) == 3


@pytest.mark.parametrize("name", ["scored_by", "map_uri", "width"])
def test_a_run_of_before_these_columns_is_refused_in_words(run: RunFolder, tmp_path: Path, name: str) -> None:
    result = read_result(run)
    old = replace(result, scores=upgrade_scores(result.scores.drop_columns([name])))
    with pytest.raises(ConfigError, match="made by a version whose reports are not known"):
        redraw(old, Location.parse(str(tmp_path / "report")))
    scores = result.scores.drop_columns(["evidence"]).append_column("evidence", pa.array(["a note"] * 3))
    noted = replace(result, scores=upgrade_scores(scores))
    redraw(noted, Location.parse(str(tmp_path / "report")))  # a manifest's own column
