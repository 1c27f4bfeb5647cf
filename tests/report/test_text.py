"""Runs as text for a terminal and as JSON, and the job that prints them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.metrics.category import Metric
from pipeline.report.compare import compare
from pipeline.report.summary import summarise
from pipeline.report.table import HEADINGS
from pipeline.report.text import comparison_text, headline, json_text, outcome_text, summary_text
from pipeline.schema.tables import SCORES
from pipeline.tables.parts import metrics_of_parts, parts_table, with_parts
from tests.published import publish, record, result, row

JOB = Path(__file__).parents[2] / "jobs" / "inspect_run.py"
HOSTILE = "s3://lake/\x1b[2J\n\u202e\x9b" + "deep/" * 40 + "end.png"
METRICS = {"a": {"image_ap": Metric(0.5)}, "\x1b]0;title\x07": {"image_ap": Metric(None, "no\nlabels")}}
ROWS = [
    row("a", "s3://lake/good.png", 0.5, stderr=0.0125, references=7),
    row("a", HOSTILE, 1.25, stderr=0.0125, references=7),
    row("\x1b]0;title\x07", HOSTILE + "2", None, reason="damaged"),
]


def only_printable(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_a_summary_shows_the_facts_the_table_the_spread_and_the_worst_images() -> None:
    run = result("one", ROWS[:1], {"a": METRICS["a"]})
    assert summary_text(summarise(run, 5), 100).split("\n") == [
        "run          one",
        "results      /out/runs/run_id=one",
        "started      2030-01-01 10:00:00 UTC",
        "finished     2030-01-01 10:01:05 UTC",
        "seconds      60.8: catalog 0.5, extract 40.2, score 20.0",
        "layout       folder",
        "images       1 = 1 scored + 0 quarantined",
        "anomalous    -",
        "quarantined  none",
        "other files  1",
        "features     2 reused",
        "carried      3 rows of earlier runs",
        "drifted      nut",
        "encoder      timm:some_vit, fingerprint 0123456789abcdef",
        "references   window, auto: 7",
        "search       gemm, fp32, tile 1024",
        "",
        "category  images  quarantined  anomalous  score_raw: min  median     max",
        "------------------------------------------------------------------------",
        "a              1            0          -          0.5000  0.5000  0.5000",
        "",
        "in percent  I-AUROC  I-F1  I-AP  P-AUROC  P-F1  P-AP  AUPRO",
        "-----------------------------------------------------------",
        "a                 -     -  50.0        -     -     -      -",
        "",
        "worst images  score  score_raw  stderr  uri",
        "----------------------------------------------------------",
        "a             0.250     0.5000  0.0125  s3://lake/good.png",
    ]


def test_nothing_in_the_data_moves_the_cursor_or_is_wider_than_the_terminal() -> None:
    run = result("one", ROWS, METRICS)
    text = summary_text(summarise(run, 5), 80)
    assert only_printable(text) and max(map(len, text.split("\n"))) <= 80
    assert "s3://lake/\\x1b" in text and "end.png" in text and HOSTILE[-60:] not in text
    other = result("two", [row("a", HOSTILE, None, reason="x\x1b"), row("a", HOSTILE + "3", 0.5)], METRICS)
    text = comparison_text(compare(run, other, 5), 80)
    assert only_printable(text) and max(map(len, text.split("\n"))) <= 80
    assert "x\\x1b" in text


def test_a_run_ends_with_counts_that_add_up_and_its_categories() -> None:
    rows = [row("a", f"/{i}", i / 8, anomalous=i > 2) for i in range(4)] + [row("b", "/x", None, anomalous=None)]
    metrics = {"a": {"image_ap": Metric(0.5), "pixel_ap": Metric(0.25, error=0.001)}, "b": {}}
    summary = summarise(result("one", rows, metrics), 5)
    assert headline(summary, 80) == "5 images: 4 scored, 1 quarantined (1 damaged); 1 anomalous"
    assert outcome_text(summary, 80).split("\n") == [
        "category  images  quarantined  anomalous  score_raw: min  median     max",
        "------------------------------------------------------------------------",
        "a              4            0          1          0.0000  0.1875  0.3750",
        "b              1            1          -               -       -       -",
        "all            5            1          1",
        "",
        "in percent  I-AUROC  I-F1  I-AP  P-AUROC  P-F1  P-AP  AUPRO",
        "-----------------------------------------------------------",
        "a                 -     -  50.0        -     -  25.0      -",
        "b                 -     -     -        -     -     -      -",
        "all               -     -  50.0        -     -  25.0      -",
        "a: pixel metrics streamed, at most 0.1 percent points from exact ones",
        "",
        "results: /out/runs/run_id=one",
    ]


def decided(category: str, **changed: Any) -> dict[str, Any]:
    usual = {"rule": "auto: batch", "threshold": 0.5, "low": 0.4, "high": 0.6, "false_alarms": 0.04, "recall": None}
    return {category: usual | {"flagged": 12, "unsure": 2, "clear": True} | changed}


def test_a_run_ends_with_how_it_decided_and_where_the_order_is_to_be_trusted_more_than_the_line() -> None:
    nothing = {"low": None, "high": None, "false_alarms": None, "unsure": 0, "clear": None}
    decisions = decided("a") | decided("b", unsure=7, clear=False) | decided("c", rule="fixed 0.5", **nothing)
    decisions |= decided("d", rule="quantile 0.95", threshold=None, **nothing)
    run = replace(result("one", [row(name, name, 0.5) for name in "abcd"]), run=record("one", {"decisions": decisions}))
    for text in (outcome_text(summarise(run, 5), 100), summary_text(summarise(run, 5), 100)):
        assert [
            "category           rule  threshold    from      to  flagged  unsure  false alarms expected",
            "------------------------------------------------------------------------------------------",
            "a           auto: batch     0.5000  0.4000  0.6000       12       2                  4.0 %",
            "b           auto: batch     0.5000  0.4000  0.6000       12       7                  4.0 %",
            "c             fixed 0.5     0.5000       -       -       12       0                      -",
            "d         quantile 0.95          -       -       -       12       0                      -",
            "b: no gap between normal and anomalous, trust the order of the images more than the line",
        ] == [
            line.rstrip() for line in text.split("\n\n") if "rule" in line.split("\n")[0] for line in line.split("\n")
        ]
    told = json.loads(json_text(summarise(run, 5)))
    assert [of["category"] for of in told["decisions"]] == list("abcd") and told["decisions"][1]["clear"] is False


def test_decisions_fit_into_a_terminal_and_cannot_move_its_cursor() -> None:
    name = "\x1b]0;title\x07" + "a" * 90
    rows = [row(name, "/1", 0.5), row("b", "/2", 0.5)]
    decisions = decided(name, clear=False) | decided("b", clear=False)
    run = replace(result("one", rows), run=record("one", {"decisions": decisions}))
    for width in (40, 80):
        text = outcome_text(summarise(run, 5), width)
        lines = [line for line in text.split("\n") if "a" * 90 not in line]  # a word of notes stays whole
        assert only_printable(text) and max(map(len, lines)) <= width and "trust the order" in text


def part_rows() -> list[dict[str, Any]]:
    """Return views of three parts of a product, one of them lost, and of one part of another."""
    named = {"etag": "1", "anomalous": False, "status": "scored"}
    rows: list[dict[str, Any]] = [
        {"category": "nut/C1", "uri": "/1", "group": "p1", "score": 0.5, "label": False},
        {"category": "nut/C2", "uri": "/2", "group": "p1", "score": 0.75, "label": False},
        {"category": "nut/C1", "uri": "/3", "group": "p2", "score": 1.5, "anomalous": True, "label": True},
        {"category": "nut/C2", "uri": "/4", "group": "p2", "score": 0.25, "label": False},
        {"category": "nut/C1", "uri": "/5", "group": "p3", "score": 0.25, "label": False},
        {"category": "nut/C2", "uri": "/6", "group": "p3", "status": "quarantined", "reason": "damaged"},
        {"category": "lid", "uri": "/7", "group": "q\x1b", "score": 0.125},
    ]
    return [{**named, "score_raw": row.get("score"), **row} for row in rows]


def test_parts_have_a_table_of_products_and_the_worst_are_listed() -> None:
    run = result("one", [])
    scores = SCORES.rows(part_rows())
    known = with_parts({"nut/C1": {"image_ap": Metric(0.5)}}, metrics_of_parts(parts_table(scores)))
    summary = summarise(replace(run, scores=scores, metrics=known), 3)
    text = outcome_text(summary, 100)
    assert text.split("\n\n")[-2].split("\n") == [
        "product  parts  anomalous  not all seen  AUROC in %     F1     AP   V-F1  recall  false alarms",
        "----------------------------------------------------------------------------------------------",
        "lid          1          0             0           -      -      -      -       -             -",
        "nut          3          1             1       100.0  100.0  100.0  100.0   100.0           0.0",
        "all          4          1             1       100.0  100.0  100.0  100.0   100.0           0.0",
        "1 of the parts that are not anomalous has views that could not be scored",
    ]
    assert "nut/C1            -     -  50.0" in text and "\nnut  " not in text.split("\n\n")[1]
    listed = summary_text(summary, 100).split("\n\n")[-2].split("\n")
    assert listed == [
        "worst parts  score  views scored  of the worst view: category  uri",
        "------------------------------------------------------------------",
        "p2           1.500        2 of 2  nut/C1                       /3",
        "p1           0.750        2 of 2  nut/C2                       /2",
        "p3           0.250        1 of 2  nut/C1                       /5",
    ]
    told = json.loads(json_text(summary))
    assert told["worst_parts"][0]["worst_uri"] == "/3" and told["products"][1]["incomplete"] == 1


def test_without_labels_parts_are_counted_and_their_names_move_no_cursor() -> None:
    rows = [{**row, "label": None} for row in part_rows()]
    summary = summarise(replace(result("one", []), scores=SCORES.rows(rows)), 9, "lid")
    assert [part.group for part in summary.worst_parts] == ["q\x1b"]
    text = summary_text(summary, 80)
    assert only_printable(text) and "product  parts  anomalous  not all seen\n" in text
    assert "parts" not in outcome_text(summarise(result("one", ROWS), 1), 80)


def test_figures_that_only_some_presets_have_stand_in_their_place() -> None:
    metrics = {"image_auroc": Metric(0.9), "raw_image_auroc": Metric(0.8), "verdict_f1": Metric(0.7)}
    metrics |= {"verdict_recall": Metric(None, "no defects among the labelled images"), "unheard_of": Metric(0.5)}
    text = outcome_text(summarise(result("one", ROWS[:1], {"a": metrics}), 5), 200)
    [headings] = [line for line in text.split("\n") if line.startswith("in percent")]
    places = [headings.index(name) for name in ("I-AUROC", "raw I-AUROC", "V-F1", "P-AUROC", "unheard_of")]
    assert places == sorted(places) and "no defects" not in text  # image metrics would say why


def test_where_nothing_is_labelled_one_line_stands_for_the_table_of_metrics() -> None:
    unknown = {"image_ap": Metric(None, "no labels"), "pixel_ap": Metric(None, "no labels")}
    rows = [row(f"c{i}", f"/{i}", 0.5) for i in range(6)]
    text = outcome_text(summarise(result("one", rows, {f"c{i}": unknown for i in range(6)}), 5), 80)
    assert text.split("\n")[9:] == [
        "",
        "c0, c1, c2, 3 more: no image and pixel metrics: no labels",
        "",
        "results: /out/runs/run_id=one",
    ]


def test_a_summary_is_never_wider_than_the_terminal_but_for_what_is_copied() -> None:
    musc = {name: Metric(0.5) for name in HEADINGS}
    long = {"image_ap": Metric(None, "2 anomalous images lack a mask, such as s3://lake/" + "deep/" * 20 + "a.png")}
    summary = summarise(result("one", [row("a" * 90, "/1", 0.5), row("b", "/2", 0.5)], {"a" * 90: musc, "b": long}), 5)
    for width in (40, 80):
        assert max(map(len, headline(summary, width).split("\n"))) <= width
        wide = [line for line in outcome_text(summary, width).split("\n") if len(line) > width]
        assert wide == ["s3://lake/" + "deep/" * 20 + "a.png"] or width == 80 and len(wide) == 1


def test_a_comparison_shows_settings_counts_images_scores_and_metrics() -> None:
    before = [row("a", f"/{i}", i / 8) for i in range(4)]
    after = [row("a", f"/{i}", i / 8) for i in (3, 1, 2)] + [row("a", "/0", 0.5), row("a", "/4", None)]
    one = result("one", before, {"a": {"image_ap": Metric(0.5)}})
    two = result("two", after, {"a": {"image_ap": Metric(0.4999)}}, search__dtype="int8")
    assert comparison_text(compare(one, two, 1), 100).split("\n") == [
        "from one to two",
        "",
        "settings that differ  one   two",
        "--------------------------------",
        "search.dtype          fp32  int8",
        "",
        "counts           one  two",
        "-------------------------",
        "images             4    5",
        "scored             4    4",
        "quarantined        0    1",
        "reasons.damaged    0    1",
        "features reused    2    2",
        "other files        1    1",
        "",
        "images only in one: 0",
        "images only in two: 1",
        "  /4",
        "images in both, with other content or in another category: 0",
        "",
        "score_raw  in both  Spearman  largest change",
        "--------------------------------------------",
        "a                4   -0.2000             0.5",
        "",
        "moved most  rank before  after  score_raw before   after  uri",
        "-------------------------------------------------------------",
        "a                     4      1            0.0000  0.5000  /0",
        "",
        "change in points  I-AP",
        "----------------------",
        "a                 +0.0",
    ]


def test_long_lists_of_images_say_how_many_more_there_are() -> None:
    one, two = result("one", []), result("two", [row("a", f"/{i}", 0.5) for i in range(5)])
    text = comparison_text(compare(one, two, 2), 100)
    assert "images only in two: 5\n  /0\n  /1\n  and 3 more\n" in text
    assert "images only in two: 5\nimages in both" in comparison_text(compare(one, two, 0), 100)
    assert "no setting differs" in text


def test_json_has_whole_uris_and_no_nan() -> None:
    run = result("one", ROWS, {"a": {"image_ap": Metric(float("nan"))}})
    text = json_text(summarise(run, 5))
    assert text.isascii() and "NaN" not in text
    found = json.loads(text)
    assert found["worst"][0] == {"category": "a", "uri": HOSTILE, "score": 0.625, "score_raw": 1.25, "stderr": 0.0125}
    assert found["metrics"]["a"]["image_ap"]["value"] is None


def job(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "90"}
    command = [sys.executable, str(JOB), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_job_prints_the_newest_run_and_compares_it_with_an_earlier_one(tmp_path: Path) -> None:
    metrics: list[dict[str, Any]] = [{"category": "a", "name": "image_ap", "value": 0.5, "reason": None}]
    publish(tmp_path, "one", ROWS, metrics)
    publish(tmp_path, "two", ROWS[:2], metrics)
    done = job(str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("run          two\n") and only_printable(done.stdout)
    found = json.loads(job(str(tmp_path), "--run_id=one", "--worst=1", "--category=a", "--json").stdout)
    assert (found["run_id"], [image["uri"] for image in found["worst"]]) == ("one", [HOSTILE])
    done = job(str(tmp_path), "--compare=one")
    assert done.returncode == 0 and done.stdout.startswith("from one to two\n"), done.stderr
    assert json.loads(job(str(tmp_path), "--compare=one", "--json").stdout)["only_before"]["count"] == 1


def test_the_job_ends_with_an_error_where_there_is_no_such_run(tmp_path: Path) -> None:
    done = job(str(tmp_path))
    assert done.returncode == 1 and "no run was published below" in done.stderr
    publish(tmp_path, "one", ROWS)
    done = job(str(tmp_path), "--compare=two")
    assert done.returncode == 2 and "there is no finished run at" in done.stderr and done.stdout == ""
