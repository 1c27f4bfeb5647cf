"""Re-scoring with constrained image-level neighbourhood (MuSc, section 3.4)."""

from collections.abc import Sequence

import torch
from torch import Tensor

ROWS = 4096  # similarities are made for so many images at a time, never N x N


def rscin(raw: Tensor, embeddings: Tensor, windows: Sequence[int]) -> Tensor:
    """Average each image's score with those of the images that look most alike.

    Scores are min-max scaled over the category first, so the result is relative to the batch.

    Args:
        raw: image scores (N,).
        embeddings: (N, E), of length 1.
        windows: numbers of most similar images, the image itself included; [0] switches re-scoring off.

    Returns:
        (N,) in fp32: re-scored, or the raw scores for windows [0]. All zero where all raw scores are equal.
    """
    if list(windows) == [0]:
        return raw.float()
    low, high = raw.min(), raw.max()
    scaled = torch.zeros_like(raw) if high == low else (raw - low) / (high - low)
    features = embeddings.float()
    widest = min(max(windows), len(raw))
    blocks = []
    for start in range(0, len(raw), ROWS):
        weights, neighbours = (features[start : start + ROWS] @ features.T).topk(widest, dim=1)  # (B, K)
        scores = scaled[neighbours].float()
        averages = [
            (weights[:, :k] * scores[:, :k]).sum(dim=1) / weights[:, :k].sum(dim=1)
            for k in (min(window, widest) for window in windows)
        ]
        blocks.append(torch.stack(averages).mean(dim=0))
    return torch.cat(blocks)
