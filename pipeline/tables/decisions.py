"""How a run decided in each category, and how sure that is."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.schema.table import records

FEW = 0.25  # of the flagged images so many may be unsure


@dataclass(frozen=True)
class Decision:
    """The threshold of a category, and images of this run: above it, and within what it may be.

    It is clear where few images are unsure; None where nothing says what it may be.
    """

    rule: str
    threshold: float | None
    low: float | None
    high: float | None
    false_alarms: float | None
    recall: float | None
    flagged: int
    unsure: int
    clear: bool | None


@dataclass(frozen=True)
class _Found:
    """What rows of REDUCED say alike of all images of a category."""

    rule: str
    threshold: float | None
    threshold_low: float | None
    threshold_high: float | None
    false_alarms: float | None
    recall: float | None


def decisions_of(reduced: pa.Table, listed: int) -> dict[str, Decision]:
    """Return the decision of each category, of rows of REDUCED; counted are images of the lake, `listed` of them."""
    images, decisions = reduced.filter(pc.less(reduced["image"], listed)), dict[str, Decision]()
    names: list[str] = pc.unique(images["category"]).to_pylist()
    for category in names:
        rows = images.filter(pc.equal(images["category"], category))
        [found] = records(rows.slice(0, 1), _Found)
        raw: NDArray[np.float64] = rows["score_raw"].to_numpy()
        low, high = found.threshold_low, found.threshold_high
        flagged = 0 if found.threshold is None else int((raw > found.threshold).sum())
        unsure = 0 if low is None or high is None else int(((raw > low) & (raw <= high)).sum())
        clear = None if low is None or high is None else unsure <= max(1, FEW * flagged)
        decisions[category] = Decision(
            found.rule,
            found.threshold,
            low,
            high,
            found.false_alarms,
            found.recall,
            flagged,
            unsure,
            clear,
        )
    return decisions
