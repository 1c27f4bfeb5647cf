"""Thresholds from labels, and what they do to images that they were not fitted on."""

import numpy as np

from pipeline.tables.known import Labelled

LEFT_OUT = 200  # images at most that are left out, one by one


def fitted(labelled: Labelled, recall: float | None) -> float:
    """Return the highest threshold that finds a share of the defects, or with no recall that of the best F1.

    Thresholds lie in the middle between neighbouring scores, where they are as far as can be from both. Images are of
    both kinds, and scores from 0 up.
    """
    scores, defects = labelled.scores, labelled.defects
    values = np.unique(scores)
    lines = (np.append(0.0, values[:-1]) + values) / 2  # rising; the first has all above it
    found = defects.sum() - np.searchsorted(np.sort(scores[defects]), lines, "right")
    wrong = (~defects).sum() - np.searchsorted(np.sort(scores[~defects]), lines, "right")
    if recall is not None:
        enough = np.flatnonzero(found >= recall * defects.sum() - 1e-9)
        return float(lines[enough[-1] if len(enough) else 0])
    f1 = 2 * found / (found + wrong + defects.sum())
    return float(lines[np.flatnonzero(f1 == f1.max())[-1]])  # of equals the highest: fewer to look at


def left_out(labelled: Labelled, recall: float | None) -> tuple[float | None, float | None]:
    """Return the share of normal images that are flagged, and of defects that are found, each by a fit without it.

    None where there are not two of a kind: without one of them nothing can be fitted.
    """
    if not labelled.has(2):
        return None, None
    rates = []
    for kind in (False, True):
        places = np.flatnonzero(labelled.defects == kind)
        chosen = places[np.unique(np.linspace(0, len(places) - 1, LEFT_OUT).round().astype(np.int64))]
        others = np.arange(len(labelled.scores))
        flagged = [labelled.scores[place] > fitted(labelled[others != place], recall) for place in chosen]
        rates.append(float(np.mean(flagged)))
    return rates[0], rates[1]
