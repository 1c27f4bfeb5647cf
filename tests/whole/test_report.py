"""The report of a whole run: which files there are, that they are of the right images, and when they come."""

import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import pipeline
from pipeline.config import ScoreConfig
from pipeline.io.storage import Location
from pipeline.report.build import draw_report, drawing_of
from pipeline.result import read_result
from pipeline.run import score_lake
from pipeline.schema.scores import upgrade_scores
from pipeline.schema.tables import EXPLAINED
from pipeline.stage import Here
from pipeline.store.run_folder import RunFolder, read_table
from tests.running import flags, parse, read_scores, settings, small_lake

MOST, IMAGES, NEAREST = 5, 12, 6
KINDS = {"thumbs": "webp", "images": "webp", "heat": "webp", "details": "js"}


@dataclass(frozen=True)
class Nights:
    """A run with a report of the worst images, and one of the same lake without a report, to which nothing is new."""

    output: Path
    first: pd.DataFrame
    second: pd.DataFrame

    def row(self, n: int) -> Any:
        return self.first.loc[n].to_dict()

    @property
    def report(self) -> Path:
        return self.output / "runs" / "run_id=first" / "report"

    def told(self, path: str) -> list[Any]:
        """Return the arguments of the call that a file of data is."""
        text = (self.report / path).read_text("ascii")
        found = json.loads("[" + text[text.index("(") + 1 : text.rindex(");")] + "]")
        assert isinstance(found, list)
        return found

    @property
    def drawn(self) -> list[int]:
        [_, columns] = self.told("data/images-0.js")
        return [n for n, drawn in enumerate(columns["drawn"]) if drawn]


@pytest.fixture(scope="module")
def nights(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    folder = tmp_path_factory.mktemp("report")
    lake, output = small_lake(folder / "lake", images=IMAGES), folder / "out"
    (lake / "brick" / "test" / "good" / "broken.png").write_bytes(b"no image")
    for run_id, images in (("first", MOST), ("second", 0)):
        more = {"output__run_id": run_id, "references__source": "window", "report__images": images}
        score_lake(parse(flags(settings(lake, output, **more))))
    return Nights(output, read_scores(output, "first"), read_scores(output, "second"))


def test_the_worst_images_of_each_category_have_all_their_files_and_no_others_any(nights: Nights) -> None:
    scored = nights.first[nights.first["status"] == "scored"]
    worst = scored.sort_values("score", ascending=False, kind="stable").groupby("category").head(MOST)
    assert nights.drawn == sorted(worst.index) and len(nights.drawn) == 2 * MOST
    for kind, ending in KINDS.items():
        assert sorted(int(path.stem) for path in nights.report.glob(f"{kind}/0/*.{ending}")) == nights.drawn
    crops = Counter(int(path.stem.partition("-")[0]) for path in nights.report.glob("crops/0/*.webp"))
    assert crops == dict.fromkeys(nights.drawn, 2 + 2 * NEAREST)
    assert {path.name for path in nights.report.iterdir()} >= {*KINDS, "crops", "data", "index.html"}


def test_pictures_are_those_of_their_rows(nights: Nights) -> None:
    run = pipeline.open_run(str(nights.output), "first")
    for n in nights.drawn:
        row = nights.row(n)
        original = np.asarray(Image.open(row["uri"]).convert("RGB"), float)
        picture = Image.open(io.BytesIO((nights.report / f"images/0/{n}.webp").read_bytes()), formats=("WEBP",))
        assert picture.size == (row["width"], row["height"])
        assert np.abs(np.asarray(picture, float) - original).mean() < 6
        [number, detail] = nights.told(f"details/0/{n}.js")
        assert number == n and (detail["truth"] is not None) == ("/good/" not in row["uri"])
        highest = float(run.map(row["uri"]).max())  # enlarged, a map may stay below its highest patch
        assert (detail["contour"] != []) == (highest > row["pixel_threshold"])


def test_evidence_is_of_other_images_of_the_category_and_stands_in_the_scores_too(nights: Nights) -> None:
    assert nights.first.index[nights.first["evidence"].notna()].tolist() == nights.drawn
    for n in nights.drawn:
        row, [_, detail] = nights.row(n), nights.told(f"details/0/{n}.js")
        for name, key in (("evidence", "worst"), ("evidence_normal", "normal")):
            told, found = detail["evidence"][key], row[name]
            assert [match["uri"] for match in told] == [match["uri"] for match in found] and len(told) == NEAREST
            references = [nights.row(match["n"]) for match in told]
            assert all(match["uri"] == of["uri"] != row["uri"] for match, of in zip(told, references, strict=True))
            assert {of["category"] for of in references} == {row["category"]}
            assert all((nights.report / match["crop"]).exists() for match in told)
            distances = [match["distance"] for match in found]
            assert distances == sorted(distances) and 0 < distances[0]
        worst = [nights.row(match["n"]) for match in nights.told(f"details/0/{n}.js")[1]["evidence"]["worst"]]
        assert not any(of["anomalous"] for of in worst)  # they show what it should look like


@pytest.mark.parametrize("without", [[], EXPLAINED.names], ids=str)  # runs of before have no evidence
def test_a_published_run_is_drawn_anew_without_ray(nights: Nights, tmp_path: Path, without: list[str]) -> None:
    result = read_result(RunFolder(Location.parse(str(nights.output)), "first"))
    config, report = ScoreConfig.model_validate(result.run.config), Location.parse(str(tmp_path))
    drawing = drawing_of(config, result.run.layout, result.run.geometry, report)
    counts = read_table(result.folder.results / "pixels.parquet").to_pylist()
    pixels = {row["category"]: np.array(row["counts"]) for row in counts}
    listed = read_table(result.folder.results / "catalog.parquet")
    scores = upgrade_scores(result.scores.drop_columns(without))
    _, extras = draw_report(drawing, scores, listed, pixels, "first", MOST, Here())
    assert list(extras.drawn) == nights.drawn
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    same = [path.read_bytes() == (nights.report / path.relative_to(tmp_path)).read_bytes() for path in paths]
    if without:
        assert len(paths) == (len(KINDS) + 2) * len(nights.drawn)
    else:
        assert all(same) and len(paths) == (len(KINDS) + 2 + 2 * NEAREST) * len(nights.drawn)


def test_heat_maps_of_a_category_have_one_scale(nights: Nights) -> None:
    [run] = nights.told("data/run.js")
    scales = {category["name"]: category["scale"] for category in run["categories"]}
    for category, of in nights.first.groupby("category"):
        low, high = scales[str(category)]
        assert 0 < low < of["score_raw"].median() and high == pytest.approx(of["score_raw"].max())


def test_the_report_is_there_before_the_run_is_published(nights: Nights) -> None:
    run = nights.report.parent / "run.json"
    latest = max(path.stat().st_mtime_ns for path in nights.report.rglob("*") if path.is_file())
    assert latest <= run.stat().st_mtime_ns
    seconds = json.loads(run.read_text())["seconds"]
    assert seconds["draw"] > 0 and list(seconds)[-1] == "draw"


def uris(matches: list[dict[str, Any]]) -> list[str]:
    return [match["uri"] for match in matches]


def test_no_images_is_no_report_and_evidence_is_carried_over(nights: Nights) -> None:
    assert not (nights.output / "runs" / "run_id=second" / "report").exists()
    kept, before = (night["evidence"].dropna().map(uris) for night in (nights.second, nights.first))
    assert (nights.second["scored_by"].dropna() == "first").all()
    assert kept.to_dict() == before.to_dict()
