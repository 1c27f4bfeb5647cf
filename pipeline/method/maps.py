"""From patch scores to anomaly maps and image scores (MuSc, section 3.3)."""

import torch.nn.functional as F
from torch import Tensor


def anomaly_maps(patch_scores: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    """Enlarge patch scores (N, P) to anomaly maps (N, size, size), bilinear with aligned corners.

    An image's score is the maximum of its map.
    """
    planes = patch_scores.view(-1, 1, *grid)
    return F.interpolate(planes, size=(size, size), mode="bilinear", align_corners=True)[:, 0]


def patch_values(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return what anomaly maps (N, S, S) have at the places of patches (N, P): patch scores, nearly.

    A patch between two pixels of the map is read from both, so that a peak loses a little.
    """
    return F.interpolate(maps[:, None], size=grid, mode="bilinear", align_corners=True)[:, 0].flatten(1)
