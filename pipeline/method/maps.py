"""From patch scores to anomaly maps and image scores (MuSc, section 3.3)."""

import torch.nn.functional as F
from torch import Tensor


def anomaly_maps(patch_scores: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    """Enlarge patch scores (N, P) to anomaly maps (N, size, size), bilinear with aligned corners.

    An image's score is the maximum of its map.
    """
    planes = patch_scores.view(-1, 1, *grid)
    return F.interpolate(planes, size=(size, size), mode="bilinear", align_corners=True)[:, 0]
