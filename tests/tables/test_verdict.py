"""Rule auto: what it is found from, and what becomes of it when scores change in a way that should not matter."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.tables.fit import fitted, left_out
from pipeline.tables.known import Known
from pipeline.tables.verdict import (
    ASSUMED,
    BEYOND,
    FALSE_ALARMS,
    FEWEST_LABELS,
    FEWEST_OF_WINDOW,
    LEAST,
    Threshold,
    automatic,
    of_batch,
    of_window,
)

NOTHING = np.empty(0)
SHARE = 0.02


def normal(images: int, seed: int = 0, deviation: float = 0.15) -> NDArray[Any]:
    """Return scores of normal images, whose logarithms are of a normal distribution."""
    return np.exp(np.random.default_rng(seed).normal(math.log(0.3), deviation, images))


def batch(own: NDArray[Any], **more: Any) -> Threshold:
    return automatic(Known(own, own, **more), SHARE)


def value(found: Threshold) -> float:
    assert found.value is not None
    return found.value


def plain_batch(scores: NDArray[Any]) -> float:
    """Return what the docstring says, by loops: median times median over lowest tenth, to the power, and some more."""
    ordered = sorted(math.log(max(score, LEAST)) for score in scores.tolist())

    def quantile(share: float) -> float:
        place = share * (len(ordered) - 1)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        return below + (place - math.floor(place)) * (above - below)

    return math.exp(quantile(0.5) + (quantile(0.5) - quantile(0.1)) / 1.2816 + BEYOND)


@given(st.integers(0, 999), st.integers(1, 200))
def test_a_batch_has_the_line_of_the_plain_formula(seed: int, images: int) -> None:
    scores = np.random.default_rng(seed).uniform(0, 2, images)
    assert of_batch(scores) == pytest.approx(plain_batch(scores), rel=1e-12)


@given(st.integers(0, 999), st.integers(30, 400), st.floats(0.001, 0.4))
def test_a_window_has_the_line_of_the_plain_formula(seed: int, images: int, share: float) -> None:
    scores = normal(images, seed)
    usual = sorted(score for score in scores.tolist() if score <= plain_batch(scores))
    rank = min(len(usual), math.ceil((len(usual) + 1) * (1 - share)))
    seen, guessed = math.log(usual[rank - 1]), math.log(plain_batch(scores))
    expected = math.exp((len(usual) * seen + ASSUMED * guessed) / (len(usual) + ASSUMED))
    assert of_window(scores, share) == pytest.approx(expected, rel=1e-9)


def test_labels_go_before_the_window_and_that_before_the_batch() -> None:
    own, window = np.concatenate([normal(60), normal(20) * 3]), normal(200, 1)
    labels: list[bool | None] = [*[False] * 60, *[True] * 20]
    reviewed = [True] * 80
    everything = Known(own, own, window, labels, reviewed)
    assert automatic(everything, SHARE).rule == "auto: labels"
    assert automatic(Known(own, own, window, labels), SHARE).rule == "auto: window 0.02"
    assert automatic(Known(own, own, window), 0.125).rule == "auto: window 0.125"
    assert automatic(Known(own, own), SHARE).rule == "auto: batch"


def test_labels_that_no_person_gave_do_not_decide() -> None:
    """A lake that is laid out as a data set says which images are defects: metrics are held to that, no threshold."""
    own = np.concatenate([normal(60), normal(20) * 3])
    labels: list[bool | None] = [*[False] * 60, *[True] * 20]
    assert batch(own, labels=labels, reviewed=[False] * 80) == batch(own)
    assert batch(own, labels=labels) == batch(own)


@pytest.mark.parametrize(("normals", "defects"), [(2, 5), (5, 2), (0, 9), (9, 0)])
def test_few_labels_of_a_kind_are_no_ground(normals: int, defects: int) -> None:
    assert min(normals, defects) < FEWEST_LABELS
    own = normal(40)
    labels: list[bool | None] = [*[False] * normals, *[True] * defects, *[None] * (40 - normals - defects)]
    assert batch(own, labels=labels, reviewed=[True] * 40) == batch(own)


def test_by_labels_the_line_and_what_it_does_are_those_of_the_fit() -> None:
    own = np.concatenate([normal(30), normal(10, 1) * 1.5])
    labels: list[bool | None] = [*[False] * 30, *[True] * 10]
    known = Known(own, own, labels=labels, reviewed=[True] * 40)
    found, labelled = automatic(known, SHARE), known.labelled()
    assert found.value == fitted(labelled, None)
    assert (found.false_alarms, found.recall) == left_out(labelled, None)


def test_a_window_of_few_images_leaves_the_batch_to_decide() -> None:
    own = normal(40)
    for images, rule in ((FEWEST_OF_WINDOW - 1, "auto: batch"), (FEWEST_OF_WINDOW, "auto: window 0.02")):
        window = np.append(normal(images, 1), [np.nan, np.inf])  # which say nothing
        assert automatic(Known(own, own, window), SHARE).rule == rule


def test_what_is_expected_of_a_window_is_what_was_asked_for_and_of_a_batch_what_was_measured() -> None:
    own, window = normal(40), normal(100, 1)
    assert (batch(own).false_alarms, batch(own).recall) == (FALSE_ALARMS, None)
    asked, seen = 0.125, len(window) / (len(window) + ASSUMED)  # few images are averaged with the rule for a batch
    found = automatic(Known(own, own, window), asked).false_alarms
    assert found == pytest.approx(asked * seen + FALSE_ALARMS * (1 - seen))


@pytest.mark.parametrize("share", [0.01, 0.02, 0.1, 0.3])
def test_of_many_images_of_a_window_the_share_lies_above(share: float) -> None:
    window = normal(10_000)
    cut = (window > of_batch(window)).mean()  # taken for defects
    assert (window > of_window(window, share)).mean() == pytest.approx(cut + share * (1 - cut), abs=0.004)


def test_the_threshold_does_not_sink_night_by_night() -> None:
    """What was flagged stays in the window: else the rarest normal images would be left out of it, again and again."""
    nights = [normal(300, seed) for seed in range(30)]
    alarms = []
    for tonight in range(5, 30):
        window = np.concatenate(nights[tonight - 5 : tonight])
        alarms.append(float((nights[tonight] > of_window(window, SHARE)).mean()))
    assert np.mean(alarms[-10:]) == pytest.approx(np.mean(alarms[:10]), abs=0.01) and np.mean(alarms) < 0.04


def test_few_images_of_earlier_nights_are_batch_with_tonights() -> None:
    """One image alone would always be the median, however far from those of before."""
    window = normal(20)
    own = np.array([3 * window.max()])
    assert automatic(Known(own, own, window), SHARE) == replace(batch(np.append(own, window)), rule="auto: batch")
    found = automatic(Known(own, own, window), SHARE).value
    assert found is not None and own[0] > found


@given(st.integers(0, 999), st.integers(30, 100), st.floats(0.01, 0.4), st.floats(0.01, 0.4))
def test_who_allows_more_false_alarms_has_no_higher_line(seed: int, images: int, one: float, other: float) -> None:
    scores = normal(images, seed)
    assert of_window(scores, max(one, other)) <= of_window(scores, min(one, other))


@given(st.integers(0, 999), st.sampled_from([0, 30]), st.booleans())
def test_the_order_of_images_does_not_matter(seed: int, earlier: int, labelled: bool) -> None:
    generator = np.random.default_rng(seed)
    own, window = normal(50, seed), normal(earlier, seed + 1)
    labels: list[bool | None] = [bool(generator.uniform() < 0.3) for _ in own]
    reviewed, order = [labelled] * 50, generator.permutation(50)
    one = automatic(Known(own, own, window, labels, reviewed), SHARE)
    moved = Known(own[order], own, window[::-1], [labels[place] for place in order], reviewed)
    other = automatic(moved, SHARE)
    assert (one.value, one.rule, one.false_alarms) == (other.value, other.rule, other.false_alarms)
    if not labelled:
        assert one == other


@given(st.integers(0, 999), st.floats(0.1, 10), st.sampled_from([0, 50]))
def test_scores_of_another_scale_have_lines_of_that_scale(seed: int, scale: float, earlier: int) -> None:
    own, window = normal(50, seed), normal(earlier, seed + 1)
    assume(min(own.min(), own.min() * scale) > 2 * LEAST)
    one = automatic(Known(own, own, window), SHARE)
    other = automatic(Known(own * scale, own, window * scale), SHARE)
    for of_one, of_other in ((one.value, other.value), (one.low, other.low), (one.high, other.high)):
        assert of_one is not None and of_other == pytest.approx(of_one * scale, rel=1e-9)
    assert ((own > value(one)) == (own * scale > value(other))).all()


@given(st.floats(0, 2), st.integers(1, 100))
def test_images_that_are_all_alike_are_not_anomalous(score: float, images: int) -> None:
    own = np.full(images, score)
    found = batch(own)
    assert found.value is not None and not (own > found.value).any()
    assert found.low == found.high == found.value  # whatever is drawn of them
    earlier = automatic(Known(own, own, np.full(FEWEST_OF_WINDOW, score)), SHARE)
    assert earlier.value is not None and not (own > earlier.value).any()


def test_a_batch_of_normal_images_has_few_false_alarms() -> None:
    flagged = []
    for seed in range(200):
        own = normal(100, seed, deviation=0.05 + 0.25 * (seed % 5) / 4)
        flagged.append((own > value(batch(own))).mean())
    assert np.mean(flagged) < 0.06  # with scores whose spread varies more than that of any product that was measured


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.45])
def test_defects_far_above_are_flagged_whatever_their_share(share: float) -> None:
    """A quantile flags 5 % of any batch; here the line stays below the defects and above most normal images."""
    defects = round(200 * share)
    own = np.concatenate([normal(200 - defects), normal(defects, 1) * 4])
    line = value(batch(own))
    assert (own[200 - defects :] > line).all() and (own[: 200 - defects] > line).mean() <= 0.06


@given(st.integers(0, 999))
def test_the_line_lies_between_the_ends_of_its_interval(seed: int) -> None:
    found = batch(normal(80, seed))
    assert found.low is not None and found.high is not None
    assert found.low <= value(found) * 1.1 and value(found) <= found.high * 1.1 and found.low < found.high


def test_the_interval_holds_the_line_of_endless_images_in_most_batches() -> None:
    truth = of_batch(normal(200_000))
    found = [batch(normal(100, seed)) for seed in range(100)]
    held = [of.low is not None and of.high is not None and of.low <= truth <= of.high for of in found]
    assert np.mean(held) >= 0.75


def test_more_images_are_surer() -> None:
    few, many = batch(normal(40)), batch(normal(2000))
    assert few.low is not None and few.high is not None and many.low is not None and many.high is not None
    assert few.high / few.low > many.high / many.low


def test_the_same_images_have_the_same_line_and_interval() -> None:
    own = np.concatenate([normal(60), normal(20) * 3])
    labels: list[bool | None] = [*[False] * 60, *[True] * 20]
    for more in ({}, {"labels": labels, "reviewed": [True] * 80}):
        assert batch(own, **more) == batch(own, **more)


@pytest.mark.parametrize("own", [NOTHING, np.array([np.nan, np.inf])], ids=len)
def test_nothing_that_was_scored_has_no_line(own: NDArray[Any]) -> None:
    assert batch(own) == Threshold(None, "auto: batch")


@pytest.mark.parametrize("images", [1, 2, 3, 5])
def test_few_images_have_a_line_above_the_least_of_them(images: int) -> None:
    own = normal(images)
    found = batch(own)
    assert value(found) > np.median(own) and found.low is not None and found.high is not None
    with_more = np.append(own, [np.nan, np.inf])
    assert batch(with_more) == found


@given(st.integers(0, 999), st.floats(1, 50))
def test_a_defect_that_scores_higher_does_not_move_the_line(seed: int, factor: float) -> None:
    own = np.append(normal(50, seed), 2.5)
    more = own.copy()
    more[-1] *= factor
    assert batch(own).value == batch(more).value
