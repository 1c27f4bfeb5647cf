"""What a report shows: which images, in which colours, beside which earlier ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import ScoreConfig
from pipeline.io.storage import Location
from pipeline.report.build import add_pixels, colour_scales, drawing_of, window_scores, worst_images
from pipeline.store.history import History
from pipeline.tables.thresholds import PIXEL_BINS, count_pixels
from tests.geometries import lake_of

SCORES = pa.schema(
    [("category", pa.string()), *((name, pa.float64()) for name in ("score", "score_raw", "pixel_threshold"))]
)


def table(*rows: tuple[str, float | None, float | None, float | None]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCORES.names, row, strict=True)) for row in rows], schema=SCORES)


def nights(*rows: tuple[str, float | None, float | None, str, bool], groups: Sequence[str | None] = ()) -> pa.Table:
    names = ("category", "score", "score_raw", "scored_by", "anomalous")
    kinds = (pa.string(), pa.float64(), pa.float64(), pa.string(), pa.bool_())
    found = pa.table({name: pa.array([row[at] for row in rows], kinds[at]) for at, name in enumerate(names)})
    return found.append_column("group", pa.array(groups or [None] * len(rows), pa.string()))


def one_night(*pairs: tuple[str, float | None]) -> pa.Table:
    return nights(*((category, score, score, "now", False) for category, score in pairs))


def test_the_worst_of_each_category_are_shown_and_none_without_a_score() -> None:
    scores = one_night(("nut", 0.1), ("nut", None), ("bolt", 0.2), ("nut", 0.9), ("nut", 0.5), ("bolt", None))
    assert worst_images(scores, 2, "now").tolist() == [2, 3, 4]
    assert worst_images(scores, 9, "now").tolist() == [0, 2, 3, 4]
    assert worst_images(one_night(*[("nut", 0.5)] * 4), 2, "now").tolist() == [0, 1]  # of equal ones the first
    for nothing in (one_night(("nut", None)), one_night()):
        assert worst_images(nothing, 2, "now").tolist() == []


def test_tonights_anomalous_images_come_first_and_nights_compare_by_multiples_of_their_thresholds() -> None:
    rows = [("nut", 2.0, 0.5, "then", True), ("nut", 1.9, 0.8, "then", True), ("nut", 1.1, 0.9, "then", True)]
    rows += [("nut", 1.3, 0.4, "now", True), ("nut", 0.5, 0.1, "now", False)]
    found = [worst_images(nights(*rows), most, "now").tolist() for most in (1, 2, 3, 4)]
    assert found == [[3], [0, 3], [0, 1, 3], [0, 1, 2, 3]]


def test_many_categories_share_what_a_report_may_hold(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.report.build.MOST", 8)
    scores = one_night(*((name, 0.1 * n) for name in "abc" for n in range(5)))
    small = one_night(*[("a", 0.1 * n) for n in range(6)], *((name, 0.5) for name in "bc"), *[("d", None)] * 9)
    with caplog.at_level("INFO"):
        assert worst_images(small, 9, "now").tolist() == [0, 1, 2, 3, 4, 5, 6, 7]  # what others leave is given on
        assert not caplog.messages
        assert worst_images(scores, 4, "now").tolist() == [3, 4, 8, 9, 13, 14]
    assert "2 images of each category, and not 4: 8 of all together" in caplog.text
    assert len(worst_images(one_night(*((f"{n}", 0.5) for n in range(20))), 4, "now")) == 20


def test_the_other_views_of_anomalous_parts_are_shown_those_of_the_worst_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("top", 1.2, 0.6, "now", True), ("top", 3.0, 0.9, "now", True), ("top", 2.0, 0.8, "then", True)]
    rows += [("top", 0.5, 0.2, "now", False), ("side", 1.1, 0.5, "now", True), ("side", 0.3, 0.1, "now", False)]
    rows += [("side", 0.4, 0.1, "now", False), ("side", 0.2, 0.1, "now", False), ("side", 0.1, 0.1, "then", False)]
    groups = ["a", "b", "c", "d", None, "a", "b", "c", "b"]
    lost: tuple[str, None, None, str, bool] = ("side", None, None, "now", False)
    scores = nights(*rows, lost, groups=[*groups, "b"])
    assert worst_images(scores, 1, "now").tolist() == [1, 4, 6, 8]  # of part b, and none that was not scored
    assert worst_images(scores, 2, "now").tolist() == [
        0,
        1,
        4,
        5,
        6,
        8,
    ]  # c was anomalous in another night
    for most, shown in ((2, [1, 4]), (3, [1, 4, 6]), (9, [1, 4, 6, 8])):
        monkeypatch.setattr("pipeline.report.build.MOST", most)
        assert worst_images(scores, 1, "now").tolist() == shown


def test_colours_begin_at_the_median_pixel_and_end_at_the_largest_value() -> None:
    pixels = {"nut": count_pixels(np.array([0.1, 0.2, 0.3, 0.4, 0.5])), "other": count_pixels(np.ones(9))}
    rows = [("nut", 0.9, 0.6, 0.45), ("nut", 0.1, 0.8, 0.45), ("nut", None, None, None), ("bolt", 1.0, 0.5, None)]
    scales = colour_scales(table(*rows), pixels)
    assert list(scales) == ["bolt", "nut"]
    assert scales["nut"][0] == pytest.approx(0.3, abs=1 / 2000) and scales["nut"][1] == 0.8
    assert scales["bolt"] == (0, 0.5)  # no map of it was counted


def test_a_category_without_a_defect_does_not_glow() -> None:
    pixels = {"nut": count_pixels(np.full(100, 0.3))}
    assert colour_scales(table(("nut", 0.5, 0.31, 0.6)), pixels)["nut"][1] == 0.6
    low, high = colour_scales(table(("nut", 0.5, 0.1, None)), pixels)["nut"]
    assert low < high < low + 0.001  # maps of one value, and one below all others


def test_pixels_of_earlier_nights_are_added() -> None:
    one, other = np.arange(PIXEL_BINS), np.ones(PIXEL_BINS, np.int64)
    found = add_pixels({"nut": one, "bolt": one}, {"nut": other, "gone": other})
    assert sorted(found) == ["bolt", "gone", "nut"]
    assert (found["nut"] == one + 1).all() and (found["bolt"] == one).all() and (found["gone"] == 1).all()


def test_the_window_has_the_scores_of_runs_with_these_settings() -> None:
    rows = {"category": list("aabb"), "score_raw": [0.1, 0.2, None, 0.4], "same": [True, False, True, True]}
    found = window_scores(History(pa.table(rows), {}))
    assert {name: values.tolist() for name, values in found.items()} == {"a": [0.1], "b": [0.4]}
    assert window_scores(History(None, {})) == {}


@pytest.mark.parametrize(
    ("settings", "layout", "roots"),
    [
        ({"input": {"uri": "s3://lake/parts"}}, "folder", ["s3://lake/parts"]),
        ({"input": {"uri": "/lake/list.csv", "roots": ["/a", "s3://b/c"]}}, "manifest", ["/a", "s3://b/c", "/lake"]),
        (
            {"input": {"uri": "/lake"}, "references": {"source": "pinned", "pinned": "/pins/these.csv"}},
            "mvtec",
            ["/lake", "/pins"],
        ),
    ],
    ids=str,
)
def test_references_may_lie_where_images_of_the_run_may(
    settings: dict[str, Any], layout: str, roots: list[str]
) -> None:
    config = ScoreConfig.model_validate(settings | {"output": {"uri": "/out"}})
    drawing = drawing_of(config, layout, lake_of((518, 518), (3, 4)), Location.parse("/out/report"))
    assert [root.uri for root in drawing.roots] == roots and drawing.geometry.grid("nut") == (3, 4)
