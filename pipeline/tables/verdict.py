"""A threshold on images' scores that nobody set: from labels, from earlier nights, or from the batch itself.

Scores are compared as logarithms: what differs between products is their scale above all. How far the scores of normal
images reach above their median is guessed from how far they reach below it, where no defects are, and from what was
seen of other products (`python -m bench.answers`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.tables.fit import fitted, left_out
from pipeline.tables.known import Known, Labelled, Scores

LEAST = 1e-3  # distance: below it images are the same, and logarithms say nothing
SPREAD = (0.1, 0.5)  # quantiles between which the scores of a batch hold hardly any defect
DEVIATION = 1.2816  # of a normal distribution, between those quantiles
BEYOND = 0.2  # logarithm: how much further than a deviation normal images reach
ASSUMED = 50  # images of a window that weigh as much as what was seen of other products
FEWEST_OF_WINDOW, FEWEST_LABELS = 30, 3  # images, and labels of each kind, from which a threshold is taken
FALSE_ALARMS = 0.04  # share of normal images that the rule for a batch flags: measured, see bench.answers
DRAWS, MOST = 200, 10_000  # of a bootstrap, and values of each
INTERVAL = (0.05, 0.95)  # quantiles of those draws


@dataclass(frozen=True)
class Threshold:
    """A threshold, None where there is nothing to find it from, and the rule that it was found by, as rows name it.

    `low` and `high` bound it in nine of ten draws of the images that it was found from. `false_alarms` is the share of
    normal images that are expected above it, `recall` that of defects. None where that is not known.
    """

    value: float | None
    rule: str
    low: float | None = None
    high: float | None = None
    false_alarms: float | None = None
    recall: float | None = None


def of_batch(scores: Scores) -> float:
    """Return the threshold of a batch with any share of defects up to about a half, by its scores (n,) alone."""
    low, middle = np.quantile(_logarithms(scores), SPREAD)
    return float(np.exp(middle + (middle - low) / DEVIATION + BEYOND))


def of_window(scores: Scores, false_alarms: float) -> float:
    """Return the threshold that a share of normal images lies above, by the scores (n,) of images of earlier nights.

    Those above the threshold of a batch like them are left out as defects. What was flagged then is no ground for that:
    the rarest normal images would be left out night by night, and the threshold would sink. Few images do not show how
    far the rarest reach: what they show is averaged with the threshold of a batch.
    """
    values, guessed = np.sort(_logarithms(scores)), np.log(of_batch(scores))
    values = values[values <= guessed]
    count = len(values)
    place = min(count, int(np.ceil((count + 1) * (1 - false_alarms)))) - 1
    return float(np.exp((count * values[place] + ASSUMED * guessed) / (count + ASSUMED)))


def automatic(known: Known, false_alarms: float) -> Threshold:
    """Return the threshold of a category, found from the best that there is to find it from.

    `false_alarms` is the share of normal images that a threshold from earlier nights may flag.
    """
    labelled = known.labelled(reviewed=True)
    if labelled.has(FEWEST_LABELS):
        return of_labels("auto: labels", labelled, None)
    window = known.window[np.isfinite(known.window)]
    if len(window) >= FEWEST_OF_WINDOW:
        find = partial(of_window, false_alarms=false_alarms)
        expected = (len(window) * false_alarms + ASSUMED * FALSE_ALARMS) / (len(window) + ASSUMED)
        return _with_interval(f"auto: window {false_alarms:g}", find, window, expected)
    own = np.concatenate([known.own[np.isfinite(known.own)], window])
    return _with_interval("auto: batch", of_batch, own, FALSE_ALARMS) if len(own) else Threshold(None, "auto: batch")


def of_labels(rule: str, labelled: Labelled, recall: float | None) -> Threshold:
    """Return the threshold that is fitted to labels, with what it does to those that it was not fitted to."""
    generator, kinds = np.random.default_rng(0), [np.flatnonzero(labelled.defects == kind) for kind in (False, True)]
    draws = [
        fitted(labelled[np.concatenate([generator.choice(places, len(places)) for places in kinds])], recall)
        for _ in range(DRAWS)
    ]
    false_alarms, found = left_out(labelled, recall)
    low, high = np.quantile(draws, INTERVAL)
    return Threshold(fitted(labelled, recall), rule, float(low), float(high), false_alarms, found)


def _with_interval(rule: str, find: Callable[[Scores], float], scores: Scores, false_alarms: float) -> Threshold:
    ordered, generator = np.sort(scores), np.random.default_rng(0)
    count = min(len(ordered), MOST)
    draws = [find(ordered[generator.integers(0, len(ordered), count)]) for _ in range(DRAWS)]
    low, high = np.quantile(draws, INTERVAL)
    return Threshold(find(ordered), rule, float(low), float(high), false_alarms)


def _logarithms(scores: Scores) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.log(np.maximum(scores.astype(np.float64), LEAST))
    return found
