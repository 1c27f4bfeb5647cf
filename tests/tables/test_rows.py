"""The rows that a run ends with: one for each image, of tonight or carried over, and what is counted in them."""

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.boxes import LARGEST, box_uri
from pipeline.catalog import Catalog
from pipeline.config import DriftConfig
from pipeline.errors import IncompleteRun
from pipeline.schema.scores import upgrade_scores
from pipeline.schema.tables import BOXED, CATALOG, COMPARED, DECIDED, EXPLAINED, EXTRACTED, REDUCED, SCORES, SELECTION
from pipeline.tables.rows import counts, decided_now, drifts, scores_table, with_catalog, with_evidence, with_references

NOW = datetime(2026, 3, 8, 1, 2, 3, 456_789, tzinfo=UTC)
LINES = {"nut": 1.5, "bolt": None}
IMAGES = pa.schema(
    [
        ("image", pa.int64()),
        *((name, pa.string()) for name in ("category", "uri", "reason", "detail")),
        *((name, pa.int32()) for name in ("width", "height")),
        *((name, pa.float32()) for name in ("brightness", "contrast", "sharpness")),
        ("references", pa.int64()),
    ]
)


def images(*rows: dict[str, Any]) -> pa.Table:
    usual = {"category": "nut", "uri": "/a.png", "width": 640, "height": 480, "brightness": 0.5, "references": 7}
    return pa.Table.from_pylist([usual | {"image": image} | row for image, row in enumerate(rows)], schema=IMAGES)


def reduced(*rows: dict[str, Any]) -> pa.Table:
    usual = {
        "category": "nut",
        "map_uri": "maps/a.png",
        "score_raw": 0.8,
        "stderr": 0.0,
        "threshold": 1.6,
        "rule": "share 0.1",
    }
    return REDUCED.rows([usual | row for row in rows])


def found(some: pa.Table, scored: pa.Table, now: datetime = NOW) -> pa.Table:
    return decided_now(some, scored, LINES, "tonight", now)


def catalog(total: int, kept: pa.Table | None = None) -> Catalog:
    rows = [
        {"image": i, "uri": f"/{i}.png", "category": "nut", "etag": str(i), "masks": [], "size": 1, "label": True}
        for i in range(total)
    ]
    return Catalog("folder", CATALOG.rows(rows), pa.table({}) if kept is None else kept, 0)


def stored(table: pa.Table) -> pa.Table:
    """Return what Parquet makes of a table: it has no seconds, for one."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return pq.read_table(io.BytesIO(sink.getvalue()))


def test_scored_and_quarantined_images_are_told_apart_in_any_order() -> None:
    some = images({}, {"reason": "damaged", "detail": "why", "references": None}, {"category": "bolt"}, {})
    scored = reduced(
        {"image": 3, "score_raw": 0.4, "threshold": 0.5},
        {"image": 2, "category": "bolt", "score_raw": 0.6, "threshold": None, "rule": "fixed 1"},
        {"image": 0, "score_raw": 0.6, "threshold": 0.5},
        {"image": 9, "score_raw": 0.9, "threshold": 0.5},  # a pinned reference, and no input
    )
    table = found(some, scored)
    assert table.schema == DECIDED.arrow
    rows = table.to_pylist()
    assert [row["image"] for row in rows] == [0, 1, 2, 3]
    assert [row["status"] for row in rows] == ["scored", "quarantined", "scored", "scored"]
    assert [row["anomalous"] for row in rows] == [True, None, None, False]
    assert [row["rule"] for row in rows] == ["share 0.1", None, "fixed 1", "share 0.1"]
    assert [row["pixel_threshold"] for row in rows] == [1.5, None, None, 1.5]
    assert [row["score"] for row in rows] == [pytest.approx(1.2), None, None, pytest.approx(0.8)]
    assert [row["scored_by"] for row in rows] == ["tonight", None, "tonight", "tonight"]
    assert rows[0]["scored_at"] == NOW.replace(microsecond=0) and rows[1]["scored_at"] is None
    assert (rows[1]["reason"], rows[1]["detail"], rows[1]["score"]) == ("damaged", "why", None)


def test_the_time_is_one_whatever_the_zone_it_is_told_in() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert found(images({}), reduced({"image": 0}), there) == found(images({}), reduced({"image": 0}))


def test_only_what_lies_above_the_threshold_is_anomalous() -> None:
    table = found(images({}), reduced({"image": 0, "score_raw": 0.5, "threshold": 0.5}))
    assert table["anomalous"].to_pylist() == [False]


def test_parts_have_sizes_of_their_own_and_say_where_they_lie() -> None:
    largest = box_uri("/a.png", (0, 0, LARGEST, LARGEST))
    some = images(
        {"uri": "/a.png#xywh=10,20,300,200"},
        {},
        {"uri": largest, "reason": "unreadable", "width": None, "height": None},
    )
    table = found(some, reduced({"image": 0}, {"image": 1})).select(["width", "height", *BOXED.names])
    assert [list(row.values()) for row in table.to_pylist()] == [
        [300, 200, 10, 20, 310, 220, 640, 480],
        [640, 480, *[None] * 6],
        [None, None, 0, 0, LARGEST, LARGEST, None, None],
    ]


def test_an_image_without_score_and_without_reason_ends_the_run() -> None:
    with pytest.raises(IncompleteRun, match="1 images have neither a score nor a reason"):
        found(images({}, {}), reduced({"image": 0}))


@pytest.mark.parametrize("some", [images(), images({"reason": "empty"}, {"reason": "alone"})])
def test_a_run_that_scores_nothing_has_rows_all_the_same(some: pa.Table) -> None:
    table = found(some, REDUCED.empty())
    assert table.schema == DECIDED.arrow and table["status"].to_pylist() == ["quarantined"] * some.num_rows
    scores = scores_table(catalog(some.num_rows), table, None)
    assert counts(scores, "tonight")["scored"] == 0 and counts(scores, "tonight")["anomalous"] == 0


def test_carried_rows_take_their_places() -> None:
    before = stored(
        scores_table(catalog(3), found(images({}, {}, {}), reduced(*({"image": i} for i in range(3)))), None)
    )
    assert before["scored_at"].type != DECIDED["scored_at"].type
    carried = before.slice(1, 2).append_column("same", pa.array([True, True])).append_column("image", pa.array([3, 0]))
    now = decided_now(images({"image": 2}, {"image": 1}), reduced({"image": 1}, {"image": 2}), LINES, "b", NOW)
    scores = scores_table(catalog(4), now, carried)
    assert scores.column_names == SCORES.names
    assert scores["uri"].to_pylist() == ["/0.png", "/1.png", "/2.png", "/3.png"]
    assert scores["scored_by"].to_pylist() == ["tonight", "b", "b", "tonight"]
    assert scores.schema.field("scored_at").type == DECIDED["scored_at"].type
    assert counts(scores, "b") == {
        "images": 4,
        "scored": 4,
        "carried": 2,
        "quarantined": 0,
        "reasons": {},
        "anomalous": 0,
    }


def matches(*names: str) -> list[dict[str, Any]]:
    return [{"uri": name, "etag": "1", "x": 0.5, "y": 0.25, "distance": 0.125} for name in names]


def explained(scores: pa.Table, *rows: dict[str, Any]) -> pa.Table:
    schema = EXPLAINED.arrow.insert(0, pa.field("image", pa.int64()))
    return with_evidence(scores, pa.Table.from_pylist(list(rows), schema=schema))


def test_evidence_comes_to_its_rows_and_leaves_the_others() -> None:
    none = scores_table(catalog(4), found(images(*[{}] * 4), reduced(*({"image": i} for i in range(4)))), None)
    assert none["evidence"].null_count == none["evidence_normal"].null_count == 4
    first = explained(none, {"image": 1, "evidence": matches("old")}, {"image": 3, "evidence": matches("older")})
    new = {"image": 2, "evidence": matches("x"), "evidence_normal": []}
    second = explained(first, {"image": 3, "evidence": matches("z")}, new)
    assert second["evidence"].to_pylist() == [None, matches("old"), matches("x"), matches("z")]
    assert second["evidence_normal"].to_pylist() == [None, None, [], None]
    assert second.schema == none.schema and second.drop_columns(EXPLAINED.names) == none.drop_columns(EXPLAINED.names)
    assert explained(second).equals(second)


@pytest.mark.parametrize("without", [[], ["evidence_normal"], EXPLAINED.names], ids=str)  # runs of before lack them
def test_rows_that_are_carried_over_keep_their_evidence(without: list[str]) -> None:
    scores = scores_table(catalog(2), found(images({}, {}), reduced({"image": 0}, {"image": 1})), None)
    before = explained(scores, {"image": 0, "evidence": matches("a", "b"), "evidence_normal": matches("c")})
    carried = upgrade_scores(stored(before).drop_columns(without)).append_column("image", pa.array([2, 0]))
    now = decided_now(images({"image": 1}), reduced({"image": 1}), LINES, "b", NOW)
    after = scores_table(catalog(3), now, carried)
    for name, values in (("evidence", matches("a", "b")), ("evidence_normal", matches("c"))):
        assert after.schema.field(name).equals(EXPLAINED.arrow.field(name))
        assert after[name].to_pylist() == [None, None, None if name in without else values]


def test_a_label_is_that_of_tonights_catalog_and_not_the_one_that_was_carried() -> None:
    before = scores_table(catalog(1), found(images({}), reduced({"image": 0})), None)
    assert before["label"].to_pylist() == [True]
    unlabelled = catalog(1).table.set_column(3, "label", pa.array([None], pa.bool_()))
    now = found(images(), REDUCED.empty())
    carried = before.append_column("image", pa.array([0]))
    scores = scores_table(Catalog("folder", unlabelled, pa.table({}), 0), now, carried)
    assert scores["label"].to_pylist() == [None] and scores["scored_by"].to_pylist() == ["tonight"]


@pytest.mark.parametrize("carried", [[0], [1, 1], [5]])
def test_a_row_that_is_lost_or_doubled_ends_the_run(carried: list[int]) -> None:
    # Image 0 is scored now, image 1 is to be carried over.
    now = found(images({}), reduced({"image": 0}))
    rows = pa.concat_tables([now.drop_columns("image")] * len(carried)).append_column("image", pa.array(carried))
    with pytest.raises(IncompleteRun, match="rows lost"):
        scores_table(catalog(2), now, rows)


def test_a_manifests_columns_stand_behind_ours_and_take_no_name_of_them() -> None:
    kept = pa.table({"score": ["theirs"], "weight": pa.nulls(1), "label": [1]})
    scores = scores_table(catalog(1, kept), found(images({}), reduced({"image": 0})), None)
    assert scores.column_names == [*SCORES.names, "manifest_score", "weight", "manifest_label"]
    assert scores["score"].to_pylist() == [0.5] and scores["manifest_score"].to_pylist() == ["theirs"]
    assert stored(scores)["weight"].to_pylist() == [None]


def test_reasons_are_counted() -> None:
    reasons = ("damaged", None, "alone", "damaged")
    scored = reduced({"image": 1, "score_raw": 0.9, "threshold": 0.5})
    scores = scores_table(catalog(4), found(images(*({"reason": reason} for reason in reasons)), scored), None)
    counted = counts(scores, "tonight")
    assert counted["reasons"] == {"alone": 1, "damaged": 2} and counted["quarantined"] == 3
    assert (counted["scored"], counted["carried"], counted["anomalous"]) == (1, 0, 1)


def night(total: int, category: str = "nut", shift: float = 0, bad: int = 0, seed: int = 0) -> pa.Table:
    """Return scores of images of one category, of which some are quarantined."""
    generator = np.random.default_rng(seed)
    values = {name: generator.normal(0.5 + shift, 0.1, total) for name in ("score_raw", "brightness")}
    values |= {name: generator.normal(0.5, 0.1, total) for name in ("contrast", "sharpness")}
    columns = {name: pa.array([None] * bad + column.tolist()[bad:], pa.float64()) for name, column in values.items()}
    status = ["quarantined"] * bad + ["scored"] * (total - bad)
    return pa.table({"category": [category] * total, "status": status, **columns})


def drifted(new: pa.Table, before: pa.Table) -> dict[str, set[str]]:
    told = drifts(DriftConfig(), new, before)
    return {category: {name for name, drift in of.items() if drift.drifted} for category, of in told.items()}


def test_each_quantity_of_each_category_is_compared_with_its_own_past() -> None:
    new = pa.concat_tables([night(200, shift=0.2), night(200, "bolt", bad=50), night(50, "größe/ #1")])
    before = pa.concat_tables([night(300, seed=1), night(300, "bolt", seed=2), night(60, "größe/ #1", seed=3)])
    assert drifted(new, before) == {"nut": {"score_raw", "brightness"}, "bolt": {"quarantined"}, "größe/ #1": set()}


def test_a_category_without_a_past_is_not_compared() -> None:
    assert drifts(DriftConfig(), night(50, "new"), night(50)) == {}
    assert drifts(DriftConfig(), night(50), None) == {}
    assert drifts(DriftConfig(), night(50).slice(0, 0), night(50)) == {}


def test_where_all_are_quarantined_their_share_is_compared_and_nothing_else() -> None:
    told = drifts(DriftConfig(), night(40, bad=40), night(300, bad=3))
    assert list(told["nut"]) == ["quarantined"] and told["nut"]["quarantined"].drifted
    nulls = night(40, bad=40).set_column(2, "score_raw", pa.nulls(40))  # a column that never had a value
    assert drifts(DriftConfig(), nulls, night(300, bad=3)) == told


def test_each_image_is_told_how_many_it_is_compared_with_or_that_it_is_alone() -> None:
    names = ("a", "b", "c", "d")
    listed = [
        {"image": 3 * n, "uri": uri, "etag": uri, "category": "nut", "masks": ["m"], "input": True, "pinned": False}
        for n, uri in enumerate(names)
    ]
    extracted: list[dict[str, object]] = [
        {"image": 3 * n, "reason": "damaged" if n == 1 else None, "detail": None} for n in range(4)
    ]
    extracted[1]["detail"] = "why"
    counted: list[dict[str, object]] = [
        {"image": 9, "references": 1},
        {"image": 0, "references": 1},
        {"image": 6, "reason": "alone"},
    ]  # in no order: categories end when they do
    encoded = with_catalog(EXTRACTED.rows(extracted), SELECTION.rows(listed))
    images = with_references(encoded, COMPARED.rows(counted))
    rows = images.to_pylist()
    assert [row["uri"] for row in rows] == list(names)
    assert [row["references"] for row in rows] == [1, None, None, 1]
    assert [row["reason"] for row in rows] == [None, "damaged", "alone", None]
    details = [row["detail"] for row in rows]
    assert details[:2] == [None, "why"] and "no other image" in details[2] and details[3] is None


def test_a_night_without_news_goes_through_all_stages() -> None:
    images = with_references(with_catalog(EXTRACTED.empty(), SELECTION.empty()), COMPARED.empty())
    assert images.num_rows == 0
