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
        blocks.append(_averages(weights, scaled[neighbours].float(), windows))
    return torch.cat(blocks)


def rscin_among(
    raw: Tensor,
    embeddings: Tensor,
    raw_of_references: Tensor,
    references: Tensor,
    own: Tensor,
    bounds: tuple[float, float],
    windows: Sequence[int],
) -> Tensor:
    """Average each image's score with those of the references that look most alike, itself in front of them.

    With all images of a category as its references the result is that of `rscin`.

    Args:
        raw: image scores (N,).
        embeddings: (N, E), of length 1.
        raw_of_references: (R,).
        references: their embeddings (R, E).
        own: (N,) place of each image among the references, -1 where it is none.
        bounds: the lowest and the highest raw score of the category, between which scores are scaled.
        windows: as of `rscin`.

    Returns:
        (N,) in fp32, as `rscin` does.
    """
    if list(windows) == [0]:
        return raw.float()
    low, high = bounds
    scaled, of_references = (
        torch.zeros_like(of) if high == low else (of - low) / (high - low) for of in (raw, raw_of_references)
    )
    features = embeddings.float()
    likeness = features @ references.float().T  # (N, R)
    [mine] = torch.nonzero(own >= 0, as_tuple=True)
    likeness[mine, own[mine]] = -torch.inf  # it stands in front
    likeness = torch.cat([features.square().sum(dim=1, keepdim=True), likeness], dim=1)
    weights, places = likeness.topk(min(max(windows), len(references)), dim=1)  # (N, K)
    scores = torch.cat([scaled[:, None], of_references.expand(len(raw), -1)], dim=1).gather(1, places)
    return _averages(weights, scores.float(), windows)


def _averages(weights: Tensor, scores: Tensor, windows: Sequence[int]) -> Tensor:
    """Return the means (B,), over the windows, of the scores (B, K) of the most similar images, the nearest first."""
    averages = [
        (weights[:, :k] * scores[:, :k]).sum(dim=1) / weights[:, :k].sum(dim=1)
        for k in (min(window, weights.shape[1]) for window in windows)
    ]
    return torch.stack(averages).mean(dim=0)
