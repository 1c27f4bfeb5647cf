"""From patch scores to anomaly maps and image scores (MuSc, section 3.3)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def anomaly_maps(patch_scores: Tensor, grid: tuple[int, int], size: int) -> Tensor:
    """Enlarge patch scores (N, P) to anomaly maps (N, size, size), bilinear with aligned corners.

    An image's score is the maximum of its map.
    """
    planes = patch_scores.view(-1, 1, *grid)
    return F.interpolate(planes, size=(size, size), mode="bilinear", align_corners=True)[:, 0]


def extreme_patches(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the patches (N, 2), int64, at the largest value of each anomaly map (N, S, S) and at its smallest one.

    The first is the patch that gives the image its score: values between patches are never larger than both of them.
    """
    height, width = maps.shape[1:]
    pixels = torch.stack([maps.flatten(1).argmax(dim=1), maps.flatten(1).argmin(dim=1)], dim=1)
    rows = ((pixels // width) * ((grid[0] - 1) / max(height - 1, 1))).round().long()
    columns = ((pixels % width) * ((grid[1] - 1) / max(width - 1, 1))).round().long()
    return rows * grid[1] + columns
