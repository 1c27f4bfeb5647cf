"""From patch scores to anomaly maps and image scores (MuSc, section 3.3)."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def anomaly_maps(patch_scores: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    """Enlarge patch scores (N, P) to anomaly maps (N, size, size), bilinear with aligned corners.

    An image's score is the maximum of its map.
    """
    planes = patch_scores.view(-1, 1, *grid)
    return F.interpolate(planes, size=(size, size), mode="bilinear", align_corners=True)[:, 0]


def map_arrays(patch_scores: NDArray[np.float32], grid: tuple[int, int], size: int) -> NDArray[np.float32]:
    """Do the same with arrays."""
    maps: NDArray[np.float32] = anomaly_maps(torch.from_numpy(patch_scores), grid, size).numpy()
    return maps
