"""A run's facts, from scores of any age."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.metrics.category import Metric
from pipeline.report.summary import CategoryScores, Decided, Scored, rank, summarise
from tests.published import FINGERPRINT, first_result, record, result, row, table

ROWS = [
    row("bolt", "/b1", 0.5, stderr=0.01, references=3, anomalous=True),
    row("bolt", "/b2", 0.25, stderr=0.02, references=2, anomalous=False),
    row("bolt", "/b3", None, reason="damaged"),
    row("bolt", "/b4", 1.0, stderr=0.03, references=3, anomalous=True),
    row("axle", "/a1", 0.5, stderr=0.04, references=3, anomalous=False),
    row("lone", "/l1", None, reason="alone"),
    row("lone", "/l2", None, reason="damaged"),
]


def test_counts_add_up_and_reasons_are_counted() -> None:
    summary = summarise(result("one", ROWS), 10)
    assert summary.counts == {"images": 7, "scored": 4, "quarantined": 3}
    assert summary.reasons == {"damaged": 2, "alone": 1}
    assert summary.anomalous == 2


def test_each_category_has_its_spread_and_one_without_scores_none() -> None:
    assert summarise(result("one", ROWS), 10).categories == [
        CategoryScores("axle", 1, 1, 0.5, 0.5, 0.5, 0),
        CategoryScores("bolt", 4, 3, 0.25, 0.5, 1.0, 2),
        CategoryScores("lone", 2, 0, None, None, None, None),
    ]


def test_the_worst_are_by_raw_score_over_all_categories_or_of_one() -> None:
    run = result("one", ROWS)
    assert summarise(run, 3).worst == [
        Scored("bolt", "/b4", 0.5, 1.0, 0.03),
        Scored("axle", "/a1", 0.25, 0.5, 0.04),  # as bad as the next: by category, then uri
        Scored("bolt", "/b1", 0.25, 0.5, 0.01),
    ]
    assert [image.uri for image in summarise(run, 9, "bolt").worst] == ["/b4", "/b1", "/b2"]
    assert summarise(run, 9, "lone").worst == [] and summarise(run, 0).worst == []


def test_a_category_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match="no category 'nut' in this run, which has 'axle', 'bolt', 'lone'"):
        summarise(result("one", ROWS), 10, "nut")


def test_settings_and_figures_come_from_run_json() -> None:
    metrics = {"axle": {"image_ap": Metric(0.5)}, "bolt": {"image_ap": Metric(1.0)}}
    summary = summarise(result("one", ROWS, metrics, references__mode="sample", search__dtype="int8"), 1)
    assert asdict(summary.encoder) == {"name": "timm:some_vit", "fingerprint": FINGERPRINT}
    assert asdict(summary.references) == {"source": "window", "mode": "sample", "fewest": 2, "most": 3}
    assert asdict(summary.search) == {"kind": "gemm", "tile": 1024, "dtype": "int8"}
    assert (summary.features_reused, summary.other_files, summary.layout) == (2, 1, "folder")
    assert summary.seconds == {"catalog": 0.5, "extract": 40.25, "score": 20.0}
    assert summary.mean == {"image_ap": Metric(0.75)}


def test_a_run_that_lacks_later_columns_and_facts_is_summarised() -> None:
    summary = summarise(first_result("old", ROWS[:3], without=["stderr", "references", "anomalous"]), 1)
    assert summary.worst == [Scored("bolt", "/b1", None, 0.5, None)]  # it had no threshold
    assert summary.categories[0].anomalous is summary.anomalous is None
    assert asdict(summary.references) == {"source": None, "mode": None, "fewest": None, "most": None}
    assert asdict(summary.search) == {"kind": "gemm", "tile": None, "dtype": None}
    assert (summary.features_reused, summary.carried, summary.drifted) == (2, None, None)


def test_a_manifests_own_column_of_a_later_name_and_figures_that_are_not_finite_count_as_unknown() -> None:
    rows = [row("a", "/1", float("nan"), anomalous="yes"), row("a", "/2", 0.5, stderr=float("inf"), anomalous="no")]
    summary = summarise(result("old", rows), 5)
    assert summary.categories == [CategoryScores("a", 2, 2, 0.5, 0.5, 0.5, None)]
    assert summary.worst == [Scored("a", "/2", 0.25, 0.5, None)]


def test_images_are_ranked_by_the_multiple_of_their_threshold_and_by_raw_scores_where_there_is_none() -> None:
    rows = [row("nut", "/a", 0.5, score=1.25), row("bolt", "/b", 0.9, score=0.75), row("nut", "/c", None)]
    assert rank(table(rows)).to_pylist() == [1.25, 0.75, None]
    assert rank(table([*rows, row("new", "/d", 0.25, score=None)])).to_pylist() == [1.25, 0.75, None, 0.25]
    assert rank(table([])).to_pylist() == []
    found = summarise(result("one", [*rows, row("new", "/d", 0.25, score=None)]), 3).worst
    assert [(of.uri, of.score, of.score_raw) for of in found] == [
        ("/a", 1.25, 0.5),
        ("/b", 0.75, 0.9),
        ("/d", None, 0.25),
    ]


def test_decisions_are_those_of_run_json() -> None:
    decision: dict[str, Any] = {"rule": "auto: batch", "threshold": 0.5, "low": 0.4, "high": 0.6, "false_alarms": 0.04}
    decision |= {"recall": None, "flagged": 3, "unsure": 1, "clear": True}
    run = replace(result("one", ROWS), run=record("one", {"decisions": {"nut": decision}}))
    summary = summarise(run, 1)
    assert summary.decisions == [Decided(category="nut", **decision)]
    assert summarise(result("one", ROWS), 1).decisions == []
