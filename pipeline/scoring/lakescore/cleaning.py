"""References that are likely to be normal, chosen by a first round of mutual scoring.

Defects of one kind vouch for each other: among many of them a patch of the one finds its like in the others. Who scores
high in the first round is no reference in the second.
"""

import torch
from torch import Tensor

POOLED = 0.01  # share of an image's patches that its score is the mean of


def worst(patch_scores: Tensor, usual: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the highest of the patch scores (A, P) of each image, and their patches, both (A, K).

    K is the share POOLED of the patches, or of the `usual` number of them where there are more: what a defect covers
    does not grow with an image that is encoded in tiles.
    """
    patches = patch_scores.shape[1]
    found = patch_scores.topk(max(1, round(POOLED * min(patches, usual or patches))), dim=1)
    return found.values, found.indices


def pooled(patch_scores: Tensor, counts: Tensor | None = None, usual: int | None = None) -> Tensor:
    """Return the score (A,) of each image, the mean of its highest patch scores (A, P), of those that count.

    For `usual` see `worst`.
    """
    if counts is None:
        return worst(patch_scores, usual)[0].mean(dim=1)
    each = zip(patch_scores, counts, strict=True)
    return torch.cat([worst(of[None, kept], usual)[0].mean(dim=1) for of, kept in each])


def clean(scores: Tensor, tolerance: float) -> Tensor:
    """Say which references (R,) stay, by their scores (R,) in the first round: at least half of them, and two.

    `tolerance` is how far above the median they may be, in deviations as the median of all deviations tells them.
    """
    median = scores.median()
    deviation = 1.4826 * (scores - median).abs().median()
    enough = max(2, -(-len(scores) // 2), int((scores <= median + tolerance * deviation).sum()))
    stays = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    stays[scores.argsort(stable=True)[:enough]] = True
    return stays
