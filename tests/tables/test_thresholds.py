"""The line between normal and anomalous: which values it is found from, and how many lie above it."""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline.config import RuleConfig, ScoreConfig
from pipeline.tables.known import Known
from pipeline.tables.thresholds import (
    LARGEST,
    PIXEL_BINS,
    count_pixels,
    pixel_threshold,
    pixel_thresholds,
    threshold,
)
from pipeline.tables.verdict import Threshold, of_batch

Rule = Literal["auto", "quantile", "share", "fixed", "recall", "best_f1"]
BIN = LARGEST / PIXEL_BINS
NOTHING = np.empty(0)
SCORES = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 2))
SHARES = st.one_of(st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.5, 1.0]), st.floats(0, 1))


def rule(name: Rule, value: float, **categories: float) -> RuleConfig:
    return RuleConfig(rule=name, value=value, categories=categories)


def line(config: RuleConfig, category: str, references: NDArray[Any], own: NDArray[Any]) -> float | None:
    return threshold(config, category, Known(own, references)).value


def pixel_line(config: RuleConfig, category: str, counts: NDArray[Any]) -> float | None:
    """Return the threshold on pixels of a rule that does not look at that of images."""
    return pixel_threshold(config, category, counts, None)


def above(scores: NDArray[Any], found: float | None) -> int:
    assert found is not None
    return int((scores > found).sum())


def test_quantiles_are_of_the_references_and_shares_of_this_run() -> None:
    references, own = np.linspace(0, 1, 11), np.linspace(1, 2, 11)
    assert line(rule("quantile", 0.95), "a", references, own) == pytest.approx(0.95)
    assert line(rule("share", 0.2), "a", references, own) == pytest.approx(1.8)
    assert line(rule("fixed", 1.25), "a", references, own) == 1.25


@given(SCORES, SHARES)
def test_the_quantile_is_linear_between_two_references(scores: NDArray[Any], value: float) -> None:
    ordered, place = np.sort(scores), value * (len(scores) - 1)
    expected = np.interp(place, np.arange(len(scores)), ordered)
    assert line(rule("quantile", value), "a", scores, NOTHING) == pytest.approx(expected, abs=1e-12)


@given(SCORES, SHARES)
def test_the_share_rule_calls_that_share_anomalous_and_never_more(scores: NDArray[Any], value: float) -> None:
    found = line(rule("share", value), "a", NOTHING, scores)
    assert above(scores, found) <= value * len(scores) + 1e-9
    if len(set(scores.tolist())) == len(scores):  # ties fall on one side together; the largest share leaves one below
        assert above(scores, found) >= min(value * len(scores), len(scores) - 1) - 1 - 1e-9


@pytest.mark.parametrize(("images", "flagged"), [(9, 0), (10, 1), (19, 1), (20, 2), (100, 10)])
def test_few_images_have_no_tenth(images: int, flagged: int) -> None:
    scores = np.random.default_rng(0).uniform(size=images)
    assert above(scores, line(rule("share", 0.1), "a", NOTHING, scores)) == flagged


@given(SCORES, SHARES, SHARES)
def test_a_higher_quantile_and_a_smaller_share_give_no_lower_line(
    scores: NDArray[Any], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    for name, (lower, higher) in (("quantile", (low, high)), ("share", (high, low)), ("fixed", (low, high))):
        lines = [line(rule(name, value), "a", scores, scores) for value in (lower, higher)]  # type: ignore[arg-type]
        assert lines[0] is not None and lines[1] is not None and lines[0] <= lines[1]
        counts = count_pixels(scores)
        lines = [pixel_line(rule(name, value), "a", counts) for value in (lower, higher)]  # type: ignore[arg-type]
        assert lines[0] is not None and lines[1] is not None and lines[0] <= lines[1]


def test_scores_that_are_no_numbers_are_left_out() -> None:
    scores = np.array([np.nan, 0.1, np.inf, 0.3, np.nan])
    assert line(rule("quantile", 0.5), "a", scores, NOTHING) == pytest.approx(0.2)
    assert line(rule("share", 0.5), "a", NOTHING, scores) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["share", "fixed"])
def test_a_category_that_a_rule_has_no_value_for_is_decided_as_usual(name: Rule) -> None:
    config = RuleConfig(rule=name, categories={"listed": 0.25})
    references, own = np.linspace(0, 1, 101), np.linspace(1, 2, 101)
    found = threshold(config, "new", Known(own, references))
    assert found == threshold(RuleConfig(), "new", Known(own, references))
    assert found.value == pytest.approx(of_batch(own)) and found.rule == "auto: batch"
    assert threshold(config, "listed", Known(own, references)).rule == f"{name} 0.25"
    assert pixel_threshold(config, "new", count_pixels(references), found.value) == found.value


@pytest.mark.parametrize("nothing", [NOTHING, np.array([np.nan, np.inf])])
def test_nothing_gives_no_line_unless_it_is_fixed(nothing: NDArray[Any]) -> None:
    some = np.ones(3)
    assert line(rule("quantile", 0.5), "a", nothing, some) is None
    assert line(rule("share", 0.5), "a", some, nothing) is None
    assert line(rule("fixed", 0.5), "a", nothing, nothing) == 0.5
    for name in ("quantile", "share"):
        assert pixel_line(rule(name, 0.5), "a", count_pixels(NOTHING)) is None
    assert pixel_line(rule("fixed", 0.5), "a", count_pixels(NOTHING)) == 0.5


def test_a_category_may_have_a_value_of_its_own() -> None:
    scores, config = np.linspace(0, 1, 11), rule("quantile", 0.5, odd=0.9)
    assert line(config, "odd", scores, NOTHING) == pytest.approx(0.9)
    assert line(config, "any", scores, NOTHING) == pytest.approx(0.5)
    assert pixel_line(config, "odd", count_pixels(scores)) == pytest.approx(0.9, abs=BIN)
    assert pixel_line(config, "any", count_pixels(scores)) == pytest.approx(0.5, abs=BIN)


@given(st.integers(0, 999), st.integers(1, 400), st.sampled_from([0.001, 0.05, 0.5, 0.95, 0.999, 1.0]))
def test_a_threshold_on_pixels_is_the_upper_edge_of_the_bin_of_the_quantile(
    seed: int, pixels: int, value: float
) -> None:
    maps = np.random.default_rng(seed).gamma(4, 0.1, pixels).clip(0, 2).astype(np.float32)
    exact = float(np.quantile(maps.astype(np.float64), value, method="inverted_cdf"))
    found = pixel_line(rule("quantile", value), "a", count_pixels(maps))
    assert found is not None and exact <= found <= exact + BIN * (1 + 1e-6)


@given(st.integers(0, 999), st.sampled_from([0.001, 0.05, 0.1, 0.5, 1.0]))
def test_at_most_the_share_of_pixels_lies_above(seed: int, value: float) -> None:
    maps = np.random.default_rng(seed).gamma(4, 0.1, 400).astype(np.float32)
    assert above(maps, pixel_line(rule("share", value), "a", count_pixels(maps))) <= value * 400 + 1e-9


@given(st.integers(0, 999))
def test_pixels_are_counted_where_they_lie_and_any_cut_adds_up(seed: int) -> None:
    maps = np.random.default_rng(seed).uniform(0, 2, (5, 4, 6)).astype(np.float32)
    counts = count_pixels(maps)
    assert np.array_equal(counts, np.histogram(maps, PIXEL_BINS, (0, 2))[0])
    assert np.array_equal(count_pixels(maps[:2]) + count_pixels(maps[2:]), counts)


def test_the_ends_of_the_scale_are_counted() -> None:
    counts = count_pixels(np.array([0.0, 2.0, 2.000001, -1e-7], np.float32))
    assert (counts[0], counts[-1], counts.sum()) == (2, 2, 4)
    assert count_pixels(np.empty((0, 3, 3), np.float32)).tolist() == [0] * PIXEL_BINS


def test_rows_name_the_rule_and_the_value_of_their_category() -> None:
    scores, config = np.linspace(0, 1, 11), rule("fixed", 0.125, **{"a/b'": 1})
    assert [threshold(config, name, Known(scores, scores)).rule for name in ("any", "a/b'")] == [
        "fixed 0.125",
        "fixed 1",
    ]
    assert threshold(rule("quantile", 0.5), "a", Known(NOTHING, NOTHING)) == Threshold(None, "quantile 0.5")


OWN = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
LABELS = [False, False, True, False, True, None]


def test_a_fitted_threshold_lies_in_the_middle_between_two_labelled_scores() -> None:
    def fit(config: RuleConfig) -> tuple[Any, str]:
        found = threshold(config, "a", Known(OWN, NOTHING, labels=LABELS))
        return pytest.approx(found.value), found.rule

    assert fit(rule("best_f1", 0)) == (0.25, "best_f1")  # F1 of 4/5; above 0.45 it is 2/3
    assert fit(rule("recall", 1)) == (0.25, "recall 1")
    assert fit(rule("recall", 0.5)) == (0.45, "recall 0.5")
    assert fit(rule("recall", 0.5, a=0.75)) == (0.25, "recall 0.75")


@pytest.mark.parametrize("labels", [[None] * 6, [True] * 6, [False, None] * 3])
@pytest.mark.parametrize("name", ["recall", "best_f1"])
def test_labels_of_one_kind_leave_the_default_rule(name: Rule, labels: list[bool | None]) -> None:
    known = Known(OWN, np.linspace(0, 1, 101), labels=labels)
    found = threshold(rule(name, 0.5), "a", known)
    assert found == threshold(RuleConfig(), "a", known) and found.rule == "auto: batch"


def test_labelled_images_without_a_score_are_no_ground_for_a_threshold() -> None:
    own, labels = np.array([0.1, np.nan, 0.3]), [False, True, False]
    assert threshold(rule("best_f1", 0), "a", Known(own, OWN, labels=labels)).rule == "auto: batch"


def pixels(level: int) -> Any:
    counts = np.zeros(PIXEL_BINS, np.int64)
    counts[level * PIXEL_BINS // 8] = 100
    return counts


@pytest.mark.parametrize(
    ("source", "rule", "expected"),
    [
        *(("window", "quantile", 1.5), ("window", "share", 0.5), ("batch", "quantile", 0.5), ("window", "fixed", 0.9)),
        ("window", "auto", 0.3),
    ],
)
def test_the_windows_pixels_count_where_its_images_are_references(source: str, rule: str, expected: float) -> None:
    config = ScoreConfig.model_validate(
        {
            "input": {"uri": "lake"},
            "output": {"uri": "out"},
            "references": {"source": source},
            "decision": {"pixel": {"rule": rule, "value": None if rule == "auto" else 0.9}},
        }
    )
    window, counts = {"nut": pixels(6), "gone": pixels(7)}, {"nut": pixels(2), "new": pixels(3)}
    found = pixel_thresholds(config, window, counts, {"nut": 0.3})
    assert list(found) == ["nut", "new"] and found["nut"] == pytest.approx(expected, abs=0.01)
    if rule == "auto":  # that of images, which this category has none of
        assert found["new"] is None
        return
    assert found["new"] == pytest.approx(0.9 if rule == "fixed" else 0.75, abs=0.01)
