"""Two runs beside each other."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from pipeline.errors import ConfigError
from pipeline.metrics.category import Metric
from pipeline.report.compare import Agreement, MetricChange, Move, StatusChange, Uris, compare
from pipeline.schema.record import RunRecord
from tests.published import COUNTS, ENCODER, first_result, record, result, row


def test_settings_that_differ_are_named_with_both_values_and_no_others() -> None:
    # `dtype` of the search came later
    before = result(
        "one", [], references__mode="all", method__degrees=[1, 3], search={"kind": "auto", "radius": "auto"}
    )
    after = result("two", [], references__mode="sample", method__degrees=[1, 3, 5], search__kind="faiss")
    told = {"encoder": ENCODER | {"fingerprint": "fed"}, "versions": {"python": "3.11.7", "torch": "2.15.0"}}
    elsewhere = {"config": {**after.run.config, "output": {"uri": "/elsewhere"}}}
    after = replace(after, run=RunRecord.model_validate(after.run.told() | told | elsewhere))
    differ = compare(before, after, 10).settings
    assert differ == {
        "references.mode": ("all", "sample"),
        "method.degrees": ([1, 3], [1, 3, 5]),
        "search.kind": ("auto", "faiss"),
        "encoder_fingerprint": ("0123456789abcdef", "fed"),
        "versions.torch": ("2.14.1", "2.15.0"),
        "search.dtype": (None, "fp32"),
    }


def test_counts_stand_beside_each_other_and_a_reason_that_did_not_occur_is_0() -> None:
    before = result("one", [row("a", "/1", 0.5), row("a", "/2", None, reason="empty")])
    after = result("two", [row("a", "/1", 0.5), row("a", "/3", 0.5), row("a", "/4", None, reason="damaged")])
    after = replace(after, run=record("two", {"counts": COUNTS | {"features_reused": 1, "other_files": 0}}))
    assert compare(before, after, 10).counts == {
        "images": (2, 3),
        "scored": (1, 2),
        "quarantined": (1, 1),
        "reasons.damaged": (0, 1),
        "reasons.empty": (1, 0),
        "features_reused": (2, 1),
        "other_files": (1, 0),
    }


def test_images_of_one_run_only_and_those_that_changed_are_told_from_common_ones() -> None:
    before = [row("a", "/gone2", 1.0), row("a", "/gone1", 1.0), row("a", "/same", 0.5), row("a", "/new bytes", 0.5)]
    after = [row("a", "/same", 0.75), row("a", "/new bytes", 1.5, etag="other"), row("b", "/moved", 0.5)]
    before.append(row("a", "/moved", 0.5))
    found = compare(result("one", before), result("two", after), 1)
    assert found.only_before == Uris(2, ["/gone1"]) and found.only_after == Uris(0, [])
    assert found.changed == Uris(2, ["/moved"])
    assert found.agreement == [Agreement("a", 1, None, 0.25), Agreement("b", 0, None, None)]


def test_agreement_is_spearmans_over_images_scored_in_both_with_ties_as_scipy_takes_them() -> None:
    generator = np.random.default_rng(0)
    first = generator.integers(0, 12, 40) / 8  # many are equal
    second = first + generator.integers(-3, 4, 40) / 8
    before = [row("a", f"/{i:02d}", value) for i, value in enumerate(first.tolist())]
    after = [row("a", f"/{i:02d}", value) for i, value in enumerate(second.tolist())][::-1]
    before.append(row("a", "/x", None))
    after.append(row("a", "/x", 2.0))
    [found] = compare(result("one", before), result("two", after), 10).agreement
    assert (found.category, found.images) == ("a", 40)
    assert found.spearman == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert found.largest == np.abs(first - second).max()


def test_equal_scores_have_no_correlation_and_no_figure_is_nan() -> None:
    rows = [row("a", "/1", 0.5), row("a", "/2", 0.5)]
    [found] = compare(result("one", rows), result("two", rows), 10).agreement
    assert found == Agreement("a", 2, None, 0.0)


def test_the_images_whose_rank_moved_most_come_first_over_all_categories() -> None:
    def rows(category: str, scores: list[float]) -> list[dict[str, object]]:
        return [row(category, f"/{category}{i}", score) for i, score in enumerate(scores)]

    before = rows("a", [0.5, 0.25, 0.125]) + rows("b", [1.0, 0.75, 0.5, 0.25])
    after = rows("a", [0.25, 0.5, 0.125]) + rows("b", [0.125, 0.75, 0.5, 0.25])
    one, two = result("one", before), result("two", after + [row("b", "/b9", 1.5)])  # a new one shifts no rank
    moved = compare(one, two, 3).moved
    assert moved[0] == Move("b", "/b0", 1, 4, 1.0, 0.125)
    assert [(move.uri, move.rank_before, move.rank_after) for move in moved[1:]] == [("/a0", 1, 2), ("/a1", 2, 1)]
    assert [move.uri for move in compare(one, two, 3, "a").moved] == ["/a0", "/a1"]  # /a2 stayed
    assert compare(one, two, 0).moved == []


def test_an_image_that_ended_otherwise_is_told_even_when_its_bytes_changed() -> None:
    before = [row("a", "/1", 0.5), row("a", "/2", None, reason="damaged"), row("a", "/3", None), row("a", "/4", 1.0)]
    after = [row("a", "/1", None, reason="alone"), row("a", "/2", 0.5, etag="mended"), row("a", "/3", None)]
    after.append(row("a", "/4", 1.0))
    status = compare(result("one", before), result("two", after), 10).status
    assert status.count == 2
    assert status.first == [
        StatusChange("a", "/1", "scored", "alone"),
        StatusChange("a", "/2", "damaged", "scored"),
    ]


def test_metrics_change_in_points_and_the_mean_is_over_categories_that_have_both() -> None:
    before = {"a": {"image_ap": Metric(0.5)}, "b": {"image_ap": Metric(0.75)}, "c": {"image_ap": Metric(0.25)}}
    after = {"a": {"image_ap": Metric(0.75)}, "b": {"image_ap": Metric(None, "no labels")}}
    assert compare(result("one", [], before), result("two", [], after), 10).metrics == [
        MetricChange("a", "image_ap", 0.5, 0.75, 25.0),
        MetricChange("b", "image_ap", 0.75, None, None),
        MetricChange("c", "image_ap", 0.25, None, None),
        MetricChange(None, "image_ap", 0.5, 0.75, 25.0),
    ]


def test_lists_can_be_of_one_category_and_one_that_neither_run_has_is_an_error() -> None:
    before = result("one", [row("a", "/1", 0.5), row("b", "/2", 0.5), row("b", "/3", 0.5), row("b", "/4", None)])
    after = result("two", [row("a", "/1", None), row("b", "/3", 1.5, etag="other"), row("b", "/4", 0.5)])
    found = compare(before, after, 10, "b")
    assert (found.only_before.first, found.changed.first, found.only_after.first) == (["/2"], ["/3"], [])
    assert [change.uri for change in found.status.first] == ["/4"]
    assert found.counts["images"] == (4, 3) and len(found.agreement) == 2  # the figures are of all
    assert compare(before, after, 10, "a").only_before == Uris(0, [])
    with pytest.raises(ConfigError, match="neither run has a category 'c'"):
        compare(before, after, 10, "c")


def test_a_run_that_lacks_later_columns_and_facts_compares() -> None:
    old = first_result("old", [row("a", "/1", 0.5)], without=["stderr", "references", "reason"])
    found = compare(old, result("new", [row("a", "/1", 0.5, stderr=0.1, anomalous=True, threshold=0.3)]), 10)
    assert found.agreement == [Agreement("a", 1, None, 0.0)]
    assert found.settings["references.mode"] == (None, "auto")
