"""Every block of docs/tour.md, in its order, on a small real run."""

import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import pipeline
from pipeline.run import score_lake
from tests.running import REPOSITORY, flags, parse, run_job_here, run_script, settings, small_lake

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Tour:
    """What the blocks of one kind left, and printed or returned."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)
    printed: str = ""
    rows: list[list[tuple[Any, ...]]] = field(default_factory=list)

    def python(self, block: str) -> None:
        text = StringIO()
        with redirect_stdout(text):
            exec(compile(block, "docs/tour.md", "exec"), self.names)
        self.printed += text.getvalue()

    def sql(self, block: str) -> None:
        for statement in self.database.extract_statements(block):
            found = self.database.execute(statement)
            self.rows.append(found.fetchall())

    def sh(self, block: str) -> None:
        program, script, *arguments = shlex.split(block.replace("\\\n", ""))
        assert program == ".venv/bin/python"
        name = script.removeprefix("jobs/")
        done = run_job_here(*arguments) if name == "score_dataset.py" else run_script(name, *arguments)
        assert done.returncode == 0, done.stderr
        self.printed += done.stdout

    def __post_init__(self) -> None:
        self.database = duckdb.connect()


@pytest.fixture(scope="module")
def tour(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    folder = tmp_path_factory.mktemp("tour")
    sample = folder / "out" / "sample"
    small_lake(sample / "lake")
    (sample / "lake" / "brick" / "test" / "good" / "empty.png").write_bytes(b"")
    values = settings(sample / "lake", sample / "scores")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        score_lake(parse(flags(values)))
        nested: dict[str, dict[str, str]] = {}
        for name, value in values.items():
            group, _, key = name.partition(".")
            nested.setdefault(group, {})[key] = value
        (sample / "score.yaml").write_text(yaml.safe_dump(nested))
        made = Tour(folder)
        for kind, block in BLOCK.findall((REPOSITORY / "docs" / "tour.md").read_text()):
            getattr(made, kind)(block)
        yield made
        made.database.close()


@pytest.mark.timeout(500)
def test_the_tours_python_shows_the_run(tour: Tour) -> None:
    assert "score_raw" in tour.printed and "'image_auroc'" in tour.printed and "map_uri" in tour.printed
    assert (tour.folder / "out" / "worst.png").stat().st_size > 10_000
    page = tour.names["run"]._repr_html_()
    assert "25 images = 24 scored + 1 quarantined" in page and tour.names["worst"]["uri"] in page


def test_the_tours_queries_find_what_the_run_found(tour: Tour) -> None:
    view, categories, quarantined, worst, regions, unseen, wrong, metrics = tour.rows
    scores = pipeline.open_run(str(tour.folder / "out" / "sample" / "scores"), "test").to_pandas()
    scored = scores[scores["status"] == "scored"]
    assert [row[:2] for row in categories] == [("brick", 13), ("gravel", 12)]
    assert [row[2] for row in categories] == scored.groupby("category")["anomalous"].sum().tolist()
    assert quarantined == [("empty", 1, scores.loc[scores["reason"] == "empty", "uri"].item())]
    assert [row[0] for row in worst] == ["brick"] * 3 + ["gravel"] * 3
    assert worst[0][2] == scored.loc[scored["category"] == "brick", "score_raw"].max()
    assert sorted({row[1] for row in regions}) == sorted(scored.loc[scored["regions"] > 0, "uri"])
    assert unseen == []  # the sample has no parts
    assert len(wrong) == min(5, int((scored["label"] != scored["anomalous"]).sum()))
    assert {row[0] for row in metrics} == {"test"} and ("image_auroc", "fp32") in {(row[1], row[4]) for row in metrics}


def test_labels_bring_metrics_and_thresholds_to_a_lake_that_had_none(tour: Tour) -> None:
    reviewed, first = tour.names["reviewed"], tour.names["run"]
    assert reviewed.run.layout == "manifest" and first.run.layout == "mvtec"
    assert reviewed.run.counts.features_reused == 24
    for category in ("brick", "gravel"):
        found, expected = (run.metrics[category]["image_auroc"].value for run in (reviewed, first))
        assert found == pytest.approx(expected)
        assert reviewed.metrics[category]["pixel_auroc"].value is None  # nobody drew masks
    scores = reviewed.to_pandas().set_index("uri").dropna(subset="score")
    assert set(scores["rule"]) == {"best_f1"}
    for _, of in scores.groupby("category"):
        assert (of["anomalous"] == (of["score_raw"] > of["threshold"])).all()
    assert (
        scores["label"].astype(bool).to_dict()
        == first.to_pandas().set_index("uri")["label"].loc[scores.index].to_dict()
    )


def test_the_references_that_are_pinned_are_the_normal_images(tour: Tour) -> None:
    lines = (tour.folder / "out" / "sample" / "references.csv").read_text().splitlines()
    normal = tour.names["scores"].query("status == 'scored' and label == False")
    assert len(lines) == 1 + len(normal) and all(uri in "\n".join(lines) for uri in normal["uri"])


def test_the_tours_plots_and_regions_are_those_of_the_run(tour: Tour) -> None:
    plots = {path.name for path in (tour.folder / "out" / "plots").iterdir()}
    names = {"roc", "precision_recall", "histogram", "worst"}  # without masks there is no PRO curve
    assert plots == {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    defects, scores = tour.names["defects"], tour.names["reviewed"].to_pandas()
    assert len(defects["images"]) == 24 and all(
        (Path(defects["info"]["image_root"]) / image["file_name"]).is_file() for image in defects["images"]
    )
    anomalous = {image["id"] for image in defects["images"] if image["anomalous"]}
    assert {annotation["image_id"] for annotation in defects["annotations"]} <= anomalous
    assert len(anomalous) == int(scores["anomalous"].sum()) > 0 < len(defects["annotations"])


def test_the_tours_view_opens_runs_that_differ_in_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run_id, columns in (("a", {"uri": ["x"]}), ("b", {"lot": [7], "uri": ["y"]})):
        scores = tmp_path / "out" / "sample" / "scores" / "runs" / f"run_id={run_id}" / "scores"
        scores.mkdir(parents=True)
        pq.write_table(pa.table(columns), scores / "part-00000.parquet")
    view = next(block for kind, block in BLOCK.findall((REPOSITORY / "docs" / "tour.md").read_text()) if kind == "sql")
    with duckdb.connect() as database:
        database.execute(view)
        found = database.execute("SELECT run_id, uri, lot FROM scores ORDER BY run_id").fetchall()
    assert found == [("a", "x", None), ("b", "y", 7)]
