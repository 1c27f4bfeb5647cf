"""From patch scores to anomaly maps and image scores (MuSc, section 3.3)."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.views import View


def anomaly_maps(patch_scores: Tensor, view: View) -> Tensor:
    """Enlarge patch scores (N, P) of a view to anomaly maps (N, height, width), bilinear with aligned corners."""
    planes = patch_scores.view(-1, 1, *view.grid)
    return F.interpolate(planes, size=view.size, mode="bilinear", align_corners=True)[:, 0]


def map_arrays(patch_scores: NDArray[np.float32], view: View) -> NDArray[np.float32]:
    """Return `anomaly_maps` of an array as an array."""
    maps: NDArray[np.float32] = anomaly_maps(torch.from_numpy(patch_scores), view).numpy()
    return maps
