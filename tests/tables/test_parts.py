"""Parts, of what the rows of their views say."""

from typing import Any

import pyarrow as pa

from pipeline.metrics.category import PART, Metric
from pipeline.schema.tables import PARTS, SCORES
from pipeline.tables.parts import metrics_of_parts, parts_table, with_parts


def view(group: str | None, category: str, score: float | None, **more: Any) -> dict[str, Any]:
    """Return a row of scores; one without a score is quarantined."""
    name = f"/{category}/{group}"
    told: dict[str, Any] = {"group": group, "category": category, "uri": name, "status": "quarantined"}
    if score is not None:
        told |= {"status": "scored", "score": score, "score_raw": score / 2, "anomalous": score > 1, "scored_by": "tue"}
    return told | more


def parts_of(*views: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of PARTS by name."""
    parts = parts_table(SCORES.rows(views))
    assert parts.schema == PARTS.arrow and parts["group"].to_pylist() == sorted(parts["group"].to_pylist())
    return {row["group"]: row for row in parts.to_pylist()}


def test_a_part_is_as_its_worst_view_is_in_whichever_category() -> None:
    found = parts_of(
        view("b", "nut/C1", 0.5),
        view("b", "nut/C2", 1.5, scored_by="mon"),
        view("b", "nut/C3", 0.7),
        view(None, "nut/C1", 9.0),
        view("a", "nut/C3", 0.9),
        view("a", "nut/C1", 0.8),
    )
    assert list(found) == ["a", "b"]
    assert found["b"] == {
        "group": "b",
        "product": "nut",
        "views": 3,
        "scored": 3,
        "quarantined": 0,
        "complete": True,
        "score": 1.5,
        "anomalous": True,
        "label": None,
        "worst_category": "nut/C2",
        "worst_uri": "/nut/C2/b",
        "scored_by": "mon",
    }
    assert (found["a"]["score"], found["a"]["anomalous"], found["a"]["worst_uri"]) == (0.9, False, "/nut/C3/a")


def test_a_view_that_is_quarantined_shows_and_none_is_made_of_it() -> None:
    found = parts_of(
        *(view("seen", "C1", 0.4), view("seen", "C2", None)),
        *(view("unseen", "C1", None), view("unseen", "C2", None)),
        *(view("bad", "C1", 1.2), view("bad", "C2", None)),
    )
    told = ("views", "scored", "quarantined", "complete", "score", "anomalous")
    assert [found["seen"][name] for name in told] == [2, 1, 1, False, 0.4, False]
    assert [found["bad"][name] for name in told] == [2, 1, 1, False, 1.2, True]
    assert [found["unseen"][name] for name in told] == [2, 0, 2, False, None, None]
    assert [found["unseen"][name] for name in ("worst_category", "worst_uri", "scored_by")] == [None] * 3


def test_where_no_threshold_was_found_the_worst_is_by_raw_score() -> None:
    unknown: dict[str, Any] = {"score": None, "anomalous": None}
    found = parts_of(view("a", "C1", 0.4) | unknown, view("a", "C2", 0.6) | unknown)
    assert (found["a"]["score"], found["a"]["anomalous"], found["a"]["worst_category"]) == (None, None, "C2")
    mixed = parts_of(view("a", "C1", 9.0) | unknown, view("a", "C2", 0.6))
    assert (mixed["a"]["score"], mixed["a"]["anomalous"], mixed["a"]["worst_category"]) == (0.6, False, "C2")


def test_a_part_is_a_defect_where_a_view_is_and_normal_only_where_all_are() -> None:
    labels = {"a": (True, False), "b": (True, None), "c": (False, False), "d": (False, None), "e": (None, None)}
    found = parts_of(*(view(name, f"C{i}", 0.5, label=of[i]) for name, of in labels.items() for i in range(2)))
    assert [row["label"] for row in found.values()] == [True, True, False, None, None]


def test_categories_that_share_parts_are_one_product() -> None:
    found = parts_of(
        *(view("1", "nut/C1", 0.5), view("1", "nut/C2", 0.5), view("2", "nut/C2", 0.5), view("2", "nut/C3", 0.5)),
        *(view("3", "top", 0.5), view("3", "side", 0.5), view("4", "side", 0.5)),
        *(view("5", "lid", 0.5), view("5", "lid", 0.6, uri="/again")),
        *(view("6", "bolt/long/C1", 0.5), view("6", "bolt/long/C2", 0.5), view("7", "bolt/short/C1", 0.5)),
    )
    assert {name: row["product"] for name, row in found.items()} == {
        "1": "nut",
        "2": "nut",
        "3": "side + top",
        "4": "side + top",
        "5": "lid",
        "6": "bolt/long",
        "7": "bolt/short/C1",
    }
    assert found["5"]["views"] == 2 and found["5"]["worst_uri"] == "/again"


def test_images_of_no_part_are_none() -> None:
    scores = SCORES.rows([view(None, "nut", 0.5)])
    assert parts_table(scores).equals(PARTS.empty()) and metrics_of_parts(PARTS.empty()) == {}
    assert parts_table(scores.slice(0, 0)).equals(PARTS.empty())


def test_metrics_are_of_the_parts_whose_label_and_score_are_known() -> None:
    views = [
        *(view("1", "nut/C1", 1.5, label=True), view("1", "nut/C2", 0.1, label=False)),
        *(view("2", "nut/C1", 0.3, label=False), view("2", "nut/C2", 1.2, label=False)),
        *(view("3", "nut/C1", 0.3, label=False), view("3", "nut/C2", 0.4, label=False)),
        *(view("4", "nut/C1", 0.3, label=True), view("4", "nut/C2", None, label=True)),
        *(view("5", "nut/C1", None, label=True), view("6", "nut/C1", 7.0)),
        *(view("7", "lid/C1", 0.5), view("7", "lid/C2", 0.5)),
    ]
    found = metrics_of_parts(parts_table(SCORES.rows(views)))
    assert list(found) == ["lid", "nut"]
    assert {name: found["nut"][name].value for name in PART} == {
        "part_auroc": 0.5,  # of 1.5 and 0.3 against 1.2 and 0.4
        "part_f1_max": 2 / 3,
        "part_ap": 0.75,
        "part_verdict_f1": 0.5,
        "part_verdict_recall": 0.5,
        "part_verdict_false_alarms": 0.5,
    }
    assert found["lid"]["part_auroc"] == Metric(None, "no labels")


def test_metrics_of_a_product_stand_behind_those_of_categories() -> None:
    one, other = {"image_ap": Metric(0.5)}, {"part_ap": Metric(1.0)}
    assert with_parts({"nut/C1": one, "lid": one}, {"nut": other, "lid": other}) == {
        "nut/C1": one,
        "lid": one | other,
        "nut": other,
    }
    assert with_parts({}, {}) == {}


def test_many_parts_are_found_in_any_order() -> None:
    rows = [view(f"{i:05d}", f"nut/C{camera}", (i % 7 + camera) / 10) for camera in range(3) for i in range(5_000)]
    scores = SCORES.rows(rows)
    parts = parts_table(scores)
    order = pa.array([(i * 7919) % len(rows) for i in range(len(rows))])
    assert parts.num_rows == 5_000 and parts_table(scores.take(order)).equals(parts)
    assert set(parts["worst_category"].to_pylist()) == {"nut/C2"} and set(parts["views"].to_pylist()) == {3}
