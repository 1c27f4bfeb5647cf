"""What makes two runs the same, and what stands between a run's stages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.catalog.catalog import SCHEMA as CATALOG
from pipeline.config import ScoreConfig
from pipeline.plan.units import Members
from pipeline.run import _compare, _identity, _new, _pixel_thresholds, _window
from pipeline.stages.encode import SCHEMA as EXTRACTED
from pipeline.stages.reduce import IMAGES, Reduced
from pipeline.store.history import History
from pipeline.tables.references import COMPARED
from pipeline.tables.thresholds import PIXEL_BINS


def identity(**changed: dict[str, Any]) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {"input": {"uri": "lake"}, "output": {"uri": "out"}}
    for name, values in changed.items():
        groups[name] = groups.get(name, {}) | values
    return _identity(ScoreConfig.model_validate(groups))


@pytest.mark.parametrize(
    "changed",
    [
        {"input": {"max_seconds": 5}},
        {"output": {"run_id": "other"}},
        {"references": {"quadratic": True}},
        {"search": {"memory_gb": 1}},
        {"ray": {"score": {"max": 7}}},
        {"report": {"images": 0}},
    ],
    ids=str,
)
def test_where_and_how_fast_a_run_is_computed_does_not_make_it_another(changed: dict[str, Any]) -> None:
    assert identity(**changed) == identity()


@pytest.mark.parametrize(
    "changed",
    [{"input": {"max_pixels": 5}}, {"input": {"max_bytes": 5}}, {"search": {"dtype": "int8"}}],
    ids=str,
)
def test_settings_that_may_change_a_result_make_it_another(changed: dict[str, Any]) -> None:
    assert identity(**changed) != identity()


TODO = CATALOG.append(pa.field("input", pa.bool_())).append(pa.field("pinned", pa.bool_()))


class Chosen:
    """Stands in for the choice of references: these rows, whatever was encoded."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self._rows = pa.Table.from_pylist(list(rows), schema=COMPARED)
        self.encoded: pa.Table = None

    def __call__(self, encoded: pa.Table) -> tuple[pa.Table, dict[str, Members]]:
        self.encoded = encoded
        return self._rows, {}


def test_each_image_is_told_how_many_it_is_compared_with_or_that_it_is_alone() -> None:
    names = ("a", "b", "c", "d")
    listed = [
        {"image": 3 * n, "uri": uri, "etag": uri, "category": "nut", "masks": ["m"], "input": True, "pinned": False}
        for n, uri in enumerate(names)
    ]
    extracted = [{"image": 3 * n, "reason": "damaged" if n == 1 else None, "detail": None} for n in range(4)]
    extracted[1]["detail"] = "why"
    choose = Chosen(
        {"image": 9, "references": 1}, {"image": 0, "references": 1}, {"image": 6, "reason": "alone"}
    )  # in no order: categories end when they do
    images, _ = _compare(
        choose,  # type: ignore[arg-type]
        pa.Table.from_pylist(listed, schema=TODO),
        pa.Table.from_pylist(extracted, schema=EXTRACTED),
    )
    assert choose.encoded["uri"].to_pylist() == ["a", "c", "d"]
    rows = images.to_pylist()
    assert [row["uri"] for row in rows] == list(names)
    assert [row["references"] for row in rows] == [1, None, None, 1]
    assert [row["reason"] for row in rows] == [None, "damaged", "alone", None]
    details = [row["detail"] for row in rows]
    assert details[:2] == [None, "why"] and "no other image" in details[2] and details[3] is None


def test_a_night_without_news_goes_through_all_stages() -> None:
    images, members = _compare(Chosen(), TODO.empty_table(), EXTRACTED.empty_table())  # type: ignore[arg-type]
    assert images.num_rows == 0 and members == {}


MIDNIGHT = datetime(2026, 3, 8, tzinfo=UTC)


def scored(*hours_before: float | None) -> History:
    """Return a history of images that were scored so many hours before midnight, or quarantined."""
    times = [None if hours is None else MIDNIGHT - timedelta(hours=hours) for hours in hours_before]
    rows = {
        "uri": [str(n) for n in range(len(times))],
        "etag": ["1"] * len(times),
        "category": ["nut"] * len(times),
        "status": ["quarantined" if time is None else "scored" for time in times],
        "scored_at": pa.array(times, pa.timestamp("ms", "UTC")),  # as Parquet has it
    }
    return History(pa.table(rows), {})


def test_the_window_has_images_that_were_scored_since_and_no_quarantined_ones() -> None:
    since = MIDNIGHT - timedelta(hours=1, microseconds=-1)
    history = scored(0.5, None, 0.999, 1, 30)
    for count, uris in ((2, ["0", "2"]), (3, ["0", "2", "3", "4"])):  # where these are too few, older ones join them
        window = _window(history, since, count)
        assert window is not None and window["uri"].to_pylist() == uris
    assert _window(History(None, {}), since, 2) is None


def test_images_that_the_window_has_seen_are_not_new() -> None:
    scores = pa.table({"uri": ["0", "0", "1", "x"], "etag": ["1", "2", "1", "1"]})
    assert _new(scores, scored(1, None)).to_pylist() == [{"uri": "0", "etag": "2"}, {"uri": "x", "etag": "1"}]
    assert _new(scores, History(None, {})) == scores


def pixels(level: int) -> Any:
    counts = np.zeros(PIXEL_BINS, np.int64)
    counts[level * PIXEL_BINS // 8] = 100
    return counts


@pytest.mark.parametrize(
    ("source", "rule", "expected"),
    [("window", "quantile", 1.5), ("window", "share", 0.5), ("batch", "quantile", 0.5), ("window", "fixed", 0.9)],
)
def test_the_windows_pixels_count_where_its_images_are_references(source: str, rule: str, expected: float) -> None:
    config = ScoreConfig.model_validate(
        {
            "input": {"uri": "lake"},
            "output": {"uri": "out"},
            "references": {"source": source},
            "decision": {"pixel": {"rule": rule, "value": 0.9}},
        }
    )
    reduced = Reduced(IMAGES.empty_table(), {}, {"nut": pixels(2), "new": pixels(3)})
    found = _pixel_thresholds(config, History(None, {"nut": pixels(6), "gone": pixels(7)}), reduced)
    assert list(found) == ["nut", "new"] and found["nut"] == pytest.approx(expected, abs=0.01)
    assert found["new"] == pytest.approx(0.9 if rule == "fixed" else 0.75, abs=0.01)
