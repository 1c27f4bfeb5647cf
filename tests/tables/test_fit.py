"""Thresholds that are fitted to labels, and what they do to images that they were not fitted on."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline.tables.fit import LEFT_OUT, fitted, left_out
from pipeline.tables.known import Labelled

SCORES = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 2))


def labelled(normal: list[float], defects: list[float]) -> Labelled:
    return Labelled(np.array([*normal, *defects]), np.array([False] * len(normal) + [True] * len(defects)))


@given(SCORES, st.integers(0, 999), st.floats(0.01, 1))
def test_no_other_threshold_fits_better(scores: NDArray[Any], seed: int, recall: float) -> None:
    labels = np.random.default_rng(seed).uniform(size=len(scores)) < 0.4
    labels[:1], labels[-1:] = True, False
    if labels.all() or not labels.any():
        return

    labelled = Labelled(scores, labels)

    def f1(at: float) -> float:
        return 2 * int((labels & (scores > at)).sum()) / max(1, int((scores > at).sum() + labels.sum()))

    def found(at: float) -> float:
        return float((scores[labels] > at).mean())

    lines = [0.0, *(scores / 2), *scores, *((a + b) / 2 for a in scores for b in scores)]
    best = fitted(labelled, None)
    assert f1(best) == max(map(f1, lines))
    high = fitted(labelled, recall)
    enough = [at for at in lines if found(at) >= recall - 1e-9]
    if enough:  # none finds a defect whose distance is 0
        assert found(high) >= recall - 1e-9
        assert (scores > high).sum() == min((scores > at).sum() for at in enough)


@given(st.integers(0, 999), st.floats(0.01, 100), st.sampled_from([None, 0.5, 0.9]))
def test_order_does_not_matter_and_scores_of_another_scale_have_a_line_of_that_scale(
    seed: int, scale: float, recall: float | None
) -> None:
    generator = np.random.default_rng(seed)
    known = Labelled(generator.uniform(0.1, 1, 20), np.arange(20) % 3 == 0)
    expected, order = fitted(known, recall), generator.permutation(20)
    assert fitted(known[order], recall) == expected
    assert fitted(Labelled(known.scores * scale, known.defects), recall) == pytest.approx(expected * scale)


def test_labels_that_scores_tell_apart_have_a_line_in_the_middle_and_no_error() -> None:
    known = labelled([0.1, 0.2, 0.3], [0.5, 0.6])
    assert fitted(known, None) == fitted(known, 1) == pytest.approx(0.4)
    assert left_out(known, None) == (0.0, 1.0)


def test_an_image_has_no_part_in_the_line_that_it_is_held_to() -> None:
    """The lowest defect is found by a line that it draws itself, and by no other."""
    known = labelled([0.1, 0.2, 0.3], [0.4, 0.8, 0.9])
    assert (known.scores[known.defects] > fitted(known, None)).all()
    false_alarms, recall = left_out(known, None)
    assert false_alarms == 0 and recall == pytest.approx(2 / 3)


@given(st.integers(0, 999), st.sampled_from([None, 0.8]))
def test_what_is_left_out_is_counted_one_by_one(seed: int, recall: float | None) -> None:
    generator = np.random.default_rng(seed)
    known = Labelled(generator.uniform(0, 1, 12), np.arange(12) < 5)
    wrong: list[bool] = []
    found: list[bool] = []
    for place in range(12):
        others = np.array([other for other in range(12) if other != place])
        (found if known.defects[place] else wrong).append(bool(known.scores[place] > fitted(known[others], recall)))
    told = left_out(known, recall)
    assert told[0] == pytest.approx(np.mean(wrong)) and told[1] == pytest.approx(np.mean(found))


@pytest.mark.parametrize(("normal", "defects"), [([0.1], [0.5, 0.6]), ([0.1, 0.2], [0.5]), ([0.1], [0.5])])
def test_one_image_of_a_kind_says_nothing_of_others(normal: list[float], defects: list[float]) -> None:
    assert left_out(labelled(normal, defects), None) == (None, None)


def test_of_many_images_some_are_left_out_from_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def spy(known: Labelled, recall: float | None) -> float:
        seen.append(float(known.scores.sum()))
        return 0.5

    monkeypatch.setattr("pipeline.tables.fit.fitted", spy)
    scores = np.linspace(0, 1, 3 * LEFT_OUT)
    false_alarms, recall = left_out(Labelled(scores, np.arange(len(scores)) % 3 == 0), None)
    assert len(seen) == 2 * LEFT_OUT
    assert false_alarms == pytest.approx(0.5, abs=0.01) and recall == pytest.approx(0.5, abs=0.01)


def test_a_kind_that_is_not_asked_for_is_empty() -> None:
    some: NDArray[Any] = np.array([0.1, 0.2])
    assert Labelled(some, np.array([True, False])).has(1) and not Labelled(some, np.array([True, True])).has(1)
