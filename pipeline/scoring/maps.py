"""From patch scores to anomaly maps and image scores (MuSc, section 3.3)."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.scoring.counted import filled
from pipeline.views import View


def anomaly_maps(patch_scores: Tensor, view: View) -> Tensor:
    """Enlarge patch scores (N, P) of a view to anomaly maps (N, height, width), bilinear with aligned corners."""
    planes = patch_scores.view(-1, 1, *view.grid)
    return F.interpolate(planes, size=view.size, mode="bilinear", align_corners=True)[:, 0]


def map_arrays(
    patch_scores: NDArray[np.float32], view: View, counts: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return `anomaly_maps` of an array as an array.

    Of patches (P,) some may not count: they are 0, and what is beside them does not fade towards them.
    """
    if counts is None:
        maps: NDArray[np.float32] = anomaly_maps(torch.from_numpy(patch_scores), view).numpy()
        return maps
    of_counted = anomaly_maps(torch.from_numpy(spread(patch_scores, view.grid, counts)), view).numpy().copy()
    of_counted[:, ~view.pixels_on(counts)] = 0
    return of_counted


def spread(patch_scores: NDArray[np.float32], grid: tuple[int, int], counts: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return patch scores (N, P), those of patches (P,) that do not count as those of the nearest ones that do."""
    every = torch.from_numpy(np.tile(counts, (len(patch_scores), 1)))
    found: NDArray[np.float32] = filled(torch.from_numpy(patch_scores)[..., None], every, grid)[..., 0].numpy()
    return found
