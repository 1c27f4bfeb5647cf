"""The page's files, read back as the browser reads them; what it makes of them is tested in `tests/browser`."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.io.storage import Location
from pipeline.metrics.category import Metric
from pipeline.report import page as room
from pipeline.report.page import PageExtras, write_page
from pipeline.schema.record import RunRecord
from pipeline.schema.tables import SCORES
from tests.published import first_facts, record, row, table

RUN = record("night-2")
ROWS = [
    row("nut", "/a", 0.5, anomalous=True, threshold=0.4, scored_by="night-2", label=True),
    row("bolt", "/b", 0.2, anomalous=False, threshold=0.9, scored_by="night-1", label=None),
    row("bolt", "/c", None, detail="cannot be decoded", label=False),
    row("bolt", "/d", 0.3, anomalous=False, threshold=0.4, scored_by="night-2", label=False),
    row("bolt", "/e", 0.4, anomalous=False, threshold=0.9, scored_by="night-1", label=None),
]


def told(place: Location) -> list[Any]:
    """Return the arguments of the one call in a file."""
    content = place.read_bytes().decode("ascii")
    match = re.fullmatch(r"LAKESCORE\.\w+\((.*)\);\n", content)
    assert match is not None and content.count("\n") == 1
    found: list[Any] = json.loads(f"[{match.group(1)}]")
    return found


def written(
    place: Location, scores: pa.Table, extras: PageExtras | None = None, **metrics: dict[str, Metric]
) -> dict[str, Any]:
    write_page(place, RUN, scores, metrics, extras or PageExtras())
    run: dict[str, Any] = told(place / "data" / "run.js")[0]
    return run


def test_a_page_in_a_folder_and_in_a_bucket(place: Location) -> None:
    run = written(place, table(ROWS))
    assert run["counts"] == {"images": 5, "scored": 4, "quarantined": 1, "anomalous": 1, "carried": 3}
    assert run["reasons"] == [["damaged", 1]]
    page = (place / "index.html").read_bytes().decode()
    for name in re.findall(r'(?:src|href)="([^"#][^"]*)"', page):
        assert (place / name).is_file(), name


def test_rows_keep_their_order_and_their_file(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path))
    count = 2_001
    rows = [row(f"c{n % 3}", f"/{n}", n / count) for n in range(count)]
    written(place, table(rows), PageExtras(drawn={0, 1_500}))
    files = [told(place / "data" / f"images-{k}.js") for k in range(3)]
    assert [chunk for chunk, _ in files] == [0, 1, 2]
    assert [len(columns["uri"]) for _, columns in files] == [1_000, 1_000, 1]
    assert files[1][1]["uri"][7] == "/1007" and files[1][1]["category"][7] == 1007 % 3
    assert [n for n, drawn in enumerate(files[0][1]["drawn"] + files[1][1]["drawn"]) if drawn] == [0, 1_500]


def test_a_categorys_threshold_is_that_of_this_run(tmp_path: Path) -> None:
    """Rows that were carried over keep the threshold of the run that scored them."""
    bolt, nut = written(Location.parse(str(tmp_path)), table(ROWS))["categories"]
    assert (bolt["name"], bolt["threshold"]) == ("bolt", 0.4)
    assert (nut["name"], nut["threshold"], nut["anomalous"]) == ("nut", 0.4, 1)


def test_both_nights_are_counted_in_the_same_bins(tmp_path: Path) -> None:
    window = {"bolt": np.array([0.1, 0.5, np.nan])}
    bolt, nut = written(Location.parse(str(tmp_path)), table(ROWS), PageExtras(window=window))["categories"]
    edges, current, before = (bolt["histogram"][name] for name in ("edges", "current", "window"))
    assert edges[0] == pytest.approx(0.1) and edges[-1] == pytest.approx(0.5)
    assert len(current) == len(before) == len(edges) - 1
    assert (sum(current), sum(before)) == (1, 2)  # rows that were carried over are not tonight's
    assert nut["histogram"]["window"] is None


def test_a_category_of_which_nothing_is_new_shows_its_window(tmp_path: Path) -> None:
    rows = [row("bolt", "/b", 0.2, anomalous=False, threshold=0.9, scored_by="night-1")]
    place = Location.parse(str(tmp_path))
    (bolt,) = written(place, table(rows), PageExtras(window={"bolt": np.array([0.2])}))["categories"]
    assert (sum(bolt["histogram"]["current"]), sum(bolt["histogram"]["window"]), bolt["threshold"]) == (0, 1, 0.9)
    assert written(place, table(rows))["categories"][0]["histogram"] is None


def test_each_row_has_the_threshold_of_its_own_night(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path))
    written(place, table(ROWS))
    columns = told(place / "data" / "images-0.js")[1]
    assert columns["threshold"] == [0.4, 0.9, None, 0.4, 0.9]
    assert columns["scored_by"] == ["night-2", "night-1", None, "night-2", "night-1"]


def test_a_category_tells_how_it_was_decided_where_the_run_says_so(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path))
    decision = {"rule": "auto: batch", "threshold": 0.4, "low": 0.3, "high": 0.5, "false_alarms": 0.04}
    decision |= {"recall": None, "flagged": 1, "unsure": 1, "clear": True}
    write_page(place, record("night-2", {"decisions": {"nut": decision}}), table(ROWS), {}, PageExtras())
    bolt, nut = told(place / "data" / "run.js")[0]["categories"]
    assert nut["decision"] == decision and bolt["decision"] is None


def test_a_category_of_which_nothing_was_scored(tmp_path: Path) -> None:
    (bolt,) = written(Location.parse(str(tmp_path)), table([row("bolt", "/c", None)]))["categories"]
    assert (bolt["histogram"], bolt["threshold"], bolt["scored"]) == (None, None, 0)


def test_parts_are_told_by_product_and_each_row_has_the_name_of_its_part(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path))
    rows: list[dict[str, Any]] = [
        {"category": "nut/C1", "uri": "/1", "group": "__proto__", "status": "scored", "score": 1.5, "anomalous": True},
        {"category": "nut/C2", "uri": "/2", "group": "__proto__", "status": "quarantined", "reason": "damaged"},
        {"category": "nut/C1", "uri": "/3", "group": "b", "status": "scored", "score": 0.5, "anomalous": False},
        {"category": "nut/C2", "uri": "/4", "group": "b", "status": "quarantined", "reason": "damaged"},
        {"category": "nut/C1", "uri": "/5", "status": "scored", "score": 0.5, "anomalous": False},
    ]
    measured = {"nut/C1": {"image_ap": Metric(0.5)}, "nut": {"part_ap": Metric(0.75)}}
    run = written(place, SCORES.rows(rows), None, **measured)
    counts = {"parts": 2, "anomalous": 1, "incomplete": 1}
    metrics = {"part_ap": {"value": 0.75, "reason": None, "error": None}}
    assert run["products"] == [{"name": "nut", **counts, "metrics": metrics}]
    assert run["parts"] == {"name": "all", **counts, "metrics": metrics}
    assert [name for name, _ in run["metrics"]] == ["image_ap"] and ["part_ap", "AP"] in run["part_metrics"]
    assert told(place / "data" / "images-0.js")[1]["group"] == ["__proto__", "__proto__", "b", "b", None]
    without = written(place, table(ROWS))
    assert without["products"] == [] and without["parts"] is None


def test_no_images_at_all(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path))
    assert written(place, table([]))["counts"]["images"] == 0
    assert not (place / "data" / "images-0.js").exists()


def test_metrics_stand_in_the_order_of_the_summary(tmp_path: Path) -> None:
    run = written(
        Location.parse(str(tmp_path)),
        table(ROWS),
        bolt={"pixel_ap": Metric(None, "no labels"), "image_auroc": Metric(0.9, error=0.01)},
    )
    assert run["metrics"] == [["image_auroc", "I-AUROC"], ["pixel_ap", "P-AP"]]
    assert run["categories"][0]["metrics"]["pixel_ap"] == {"value": None, "reason": "no labels", "error": None}
    assert run["categories"][1]["metrics"] is None
    assert run["mean"]["image_auroc"]["value"] == 0.9


def test_a_run_of_before_these_columns(tmp_path: Path) -> None:
    """What it does not tell is null, and so is a number that JSON does not have."""
    place = Location.parse(str(tmp_path))
    rows = [row("bolt", "/a", float("nan"), stderr=float("inf")), row("bolt", "/b", 0.5)]
    write_page(
        place,
        RunRecord.read(json.dumps(first_facts("old")).encode()),
        table(rows, without=["reason"]),
        {},
        PageExtras(),
    )
    columns = told(place / "data" / "images-0.js")[1]
    assert columns["score_raw"] == [None, 0.5] and columns["stderr"] == [None, None]
    assert columns["anomalous"] == columns["label"] == columns["width"] == [None, None]


def test_names_cannot_become_markup_or_keys(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path))
    names = ["</script><script>alert(1)", "__proto__", "\u2028\n'\""]
    run = written(place, table([row(name, f"/{name}", 0.5) for name in names]))
    assert sorted(of["name"] for of in run["categories"]) == sorted(names)
    write_page(place, record("<script>alert(1)</script>"), table(ROWS), {}, PageExtras())
    page = (place / "index.html").read_bytes().decode()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page


def test_the_policy_allows_files_of_the_report_alone(tmp_path: Path) -> None:
    written(Location.parse(str(tmp_path)), table(ROWS))
    page = (tmp_path / "index.html").read_text()
    assert "default-src 'none'" in page and "unsafe" not in page and "http:" not in page and "https:" not in page
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", page)


def test_nothing_of_the_scripts_reads_text_as_markup_or_code() -> None:
    for script in (Path(room.__file__).parent / "assets" / "js").glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script.read_text()
        )
