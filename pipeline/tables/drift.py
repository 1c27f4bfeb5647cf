"""Whether a run's new images differ from those of the nights before: functions of arrays."""

from dataclasses import dataclass

import numpy as np
import scipy  # its statistics take most of a second to import, and come with their first use
from numpy.typing import NDArray

from pipeline.config import DriftConfig

FEWEST = 10  # images on either side: against thousands of others, a single defect is no chance, but no drift either


@dataclass(frozen=True)
class Drift:
    """How far a quantity moved, and whether that is more than chance and the settings allow.

    `before` and `now` are medians, or shares of quarantined images; `change` is a Kolmogorov-Smirnov distance, or the
    rise of the share.
    """

    before: float
    now: float
    change: float
    drifted: bool


def distribution_drift(config: DriftConfig, before: NDArray[np.floating], now: NDArray[np.floating]) -> Drift | None:
    """Compare two samples of a quantity, (N,) and (M,), by the two-sample Kolmogorov-Smirnov test.

    The distance must be large and not be chance: among many images any difference is significant, among few any
    distance is chance or one defect's. None where there is nothing to compare.
    """
    before, now = before[np.isfinite(before)], now[np.isfinite(now)]
    if not len(before) or not len(now):
        return None
    found = scipy.stats.ks_2samp(before, now, method="auto")
    enough = min(len(before), len(now)) >= FEWEST
    drifted = enough and bool(found.statistic >= config.distance and found.pvalue < config.significance)
    return Drift(float(np.median(before)), float(np.median(now)), float(found.statistic), drifted)


def share_drift(config: DriftConfig, before: tuple[int, int], now: tuple[int, int]) -> Drift | None:
    """Compare two shares, each (quarantined, all), by Fisher's exact test of a rise; None where there is nothing."""
    if not before[1] or not now[1]:
        return None
    table = np.array([[now[0], now[1] - now[0]], [before[0], before[1] - before[0]]])
    chance = float(scipy.stats.fisher_exact(table, alternative="greater").pvalue)
    shares = before[0] / before[1], now[0] / now[1]
    rise = shares[1] - shares[0]
    enough = min(before[1], now[1]) >= FEWEST
    return Drift(*shares, rise, enough and rise >= config.quarantine and chance < config.significance)
