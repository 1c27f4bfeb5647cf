"""What a report shows: which images, in which colours, beside which earlier ones."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import ScoreConfig
from pipeline.lake.history import History
from pipeline.lake.storage import Location
from pipeline.metrics.thresholds import PIXEL_BINS, count_pixels
from pipeline.stages.report import add_pixels, artist_of, colour_scales, window_scores, worst_images

SCORES = pa.schema(
    [("category", pa.string()), *((name, pa.float64()) for name in ("score", "score_raw", "pixel_threshold"))]
)


def table(*rows: tuple[str, float | None, float | None, float | None]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCORES.names, row, strict=True)) for row in rows], schema=SCORES)


def scored(*pairs: tuple[str, float | None]) -> pa.Table:
    return table(*((category, score, score, None) for category, score in pairs))


def test_the_worst_of_each_category_are_shown_and_none_without_a_score() -> None:
    scores = scored(("nut", 0.1), ("nut", None), ("bolt", 0.2), ("nut", 0.9), ("nut", 0.5), ("bolt", None))
    assert worst_images(scores, 2).tolist() == [2, 3, 4]
    assert worst_images(scores, 9).tolist() == [0, 2, 3, 4]
    assert worst_images(scored(*[("nut", 0.5)] * 4), 2).tolist() == [0, 1]  # of equal ones the first
    assert worst_images(scored(("nut", None)), 2).tolist() == worst_images(scored(), 2).tolist() == []


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
    artist = artist_of(config, layout, (3, 4), Location.parse("/out/report"))
    assert [root.uri for root in artist.roots] == roots and artist.grid == (3, 4)
