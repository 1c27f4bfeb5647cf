"""How a run decided in each category, and how sure that is."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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


def decisions_of(reduced: pa.Table, listed: int) -> dict[str, Decision]:
    """Return the decision of each category, of rows of REDUCED; counted are images of the lake, `listed` of them."""
    images, found = reduced.filter(pc.less(reduced["image"], listed)), {}
    for category in pc.unique(images["category"]).to_pylist():
        rows = images.filter(pc.equal(images["category"], category))
        first, raw = rows.slice(0, 1).to_pylist()[0], rows["score_raw"].to_numpy()
        low, high = first["threshold_low"], first["threshold_high"]
        known = low is not None and high is not None
        flagged = 0 if first["threshold"] is None else int((raw > first["threshold"]).sum())
        unsure = int(np.sum((raw > low) & (raw <= high))) if known else 0
        found[category] = Decision(
            first["rule"],
            first["threshold"],
            low,
            high,
            first["false_alarms"],
            first["recall"],
            flagged,
            unsure,
            unsure <= max(1, FEW * flagged) if known else None,
        )
    return found
