"""What a run says of how it decided: the images above the line, and those within what the line may be."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.schema.tables import REDUCED
from pipeline.tables.decisions import FEW, decisions_of


def reduced(scores: list[float], category: str = "nut", first: int = 0, **facts: Any) -> pa.Table:
    usual = {"category": category, "rule": "auto: batch", "threshold": 0.5, "stderr": 0.0}
    usual |= {"threshold_low": 0.4, "threshold_high": 0.6, "false_alarms": 0.04}
    rows = [usual | {"image": first + place, "score_raw": score} | facts for place, score in enumerate(scores)]
    return REDUCED.rows(rows)


def test_images_are_counted_above_the_line_and_between_its_ends() -> None:
    scores = [0.1, 0.4, 0.41, 0.5, 0.55, 0.6, 0.61, 0.9]
    found = decisions_of(reduced(scores), len(scores))["nut"]
    assert (found.rule, found.threshold, found.low, found.high) == ("auto: batch", 0.5, 0.4, 0.6)
    assert (found.flagged, found.unsure, found.false_alarms, found.recall) == (4, 4, 0.04, None)


@pytest.mark.parametrize(
    ("unsure", "flagged", "clear"),
    [(0, 0, True), (1, 0, True), (2, 0, False), (1, 3, True), (2, 8, True), (3, 8, False)],
)
def test_it_is_clear_where_one_image_or_a_quarter_of_the_flagged_ones_are_unsure(
    unsure: int, flagged: int, clear: bool
) -> None:
    assert FEW == 0.25
    scores = [0.1] * 5 + [0.45] * unsure + [0.9] * flagged
    found = decisions_of(reduced(scores), len(scores))["nut"]
    assert (found.unsure, found.flagged, found.clear) == (unsure, flagged, clear)


def test_each_category_has_its_own_and_pinned_references_are_not_counted() -> None:
    tables = [reduced([0.1, 0.9]), reduced([0.7, 0.8, 0.2], "bolt", 2), reduced([0.95, 0.96], first=5)]
    found = decisions_of(pa.concat_tables(tables), 5)
    assert {category: of.flagged for category, of in found.items()} == {"nut": 1, "bolt": 2}


def test_a_line_that_was_set_is_not_unsure_and_where_there_is_none_nothing_is_flagged() -> None:
    nothing: dict[str, Any] = {"threshold_low": None, "threshold_high": None, "false_alarms": None}
    found = decisions_of(reduced([0.1, 0.9], rule="fixed 0.5", **nothing), 2)["nut"]
    assert (found.flagged, found.unsure, found.clear, found.low) == (1, 0, None, None)
    found = decisions_of(reduced([0.1, 0.9], rule="quantile 0.95", threshold=None, **nothing), 2)["nut"]
    assert (found.threshold, found.flagged, found.clear) == (None, 0, None)


def test_the_order_of_the_images_does_not_matter_and_no_images_have_no_decision() -> None:
    scores = np.random.default_rng(0).uniform(size=40).tolist()
    table = reduced(scores)
    shuffled = table.take(np.random.default_rng(1).permutation(40))
    assert decisions_of(table, 40) == decisions_of(shuffled, 40)
    assert decisions_of(REDUCED.empty(), 40) == {}
