"""Local neighbourhood aggregation with multiple degrees (MuSc, section 3.2)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.scoring.counted import counted, filled

EPS = 1e-5


def lnamd(tokens: Tensor, grid: tuple[int, int], degree: int) -> Tensor:
    """Aggregate patch tokens over their neighbourhood and scale them to length 1.

    Each image's whole map is layer-normalised without affine, then averaged over degree x degree patches with the
    zeros of the padding counted, as the official unfold and adaptive pooling do. Patches that do not count are as what
    lies outside of the image: no part of the statistics, and zero for their neighbours.

    Args:
        tokens: (N, P, D), in any floating-point precision; NaN are patches that do not count.
        grid: (H, W) in patches, H * W = P.
        degree: odd side of the neighbourhood, in patches.

    Returns:
        (N, P, D), fp32, each patch that counts of length 1; others have the vector of the nearest one.
    """
    images, patches, width = tokens.shape
    counts = counted(tokens)
    normed = F.layer_norm(tokens.float(), (patches, width), eps=EPS) if counts is None else _normed(tokens, counts)
    if degree > 1:
        planes = normed.view(images, *grid, width).permute(0, 3, 1, 2)  # (N, D, H, W), channels last in memory
        pooled = F.avg_pool2d(planes, degree, stride=1, padding=degree // 2, count_include_pad=True)
        normed = pooled.permute(0, 2, 3, 1).reshape(images, patches, width)
    return filled(F.normalize(normed, dim=-1), counts, grid)


def _normed(tokens: Tensor, counts: Tensor) -> Tensor:
    """Return tokens (N, P, D) normalised by those that count (N, P), and zero where they do not."""
    values = tokens.float().masked_fill(~counts[..., None], 0)
    number = (counts.sum(dim=1) * tokens.shape[2]).view(-1, 1, 1)
    mean = values.sum(dim=(1, 2), keepdim=True) / number
    centred = (values - mean).masked_fill_(~counts[..., None], 0)
    return centred / (centred.square().sum(dim=(1, 2), keepdim=True) / number + EPS).sqrt()


@dataclass(frozen=True)
class Aggregation:
    """How tokens (N, P, D) become the vectors that are compared: (N, P, D) for each comparison.

    The paper's is a comparison for each degree, its scores averaged. With `fuse` the degrees' vectors are averaged and
    scaled to length 1 instead, which is one comparison. With a `projection` (D, d) vectors become (N, P, d).
    """

    grid: tuple[int, int]
    degrees: Sequence[int]
    fuse: bool = False
    projection: Tensor | None = None

    @property
    def comparisons(self) -> int:
        return 1 if self.fuse else len(self.degrees)

    def __call__(self, tokens: Tensor) -> Iterator[Tensor]:
        """Yield the vectors of each comparison, one after the other to hold one at a time."""
        if self.fuse:
            total = torch.zeros(tokens.shape, device=tokens.device)
            for degree in self.degrees:
                total += lnamd(tokens, self.grid, degree)
            yield self._projected(F.normalize(total, dim=-1))
        else:
            for degree in self.degrees:
                yield self._projected(lnamd(tokens, self.grid, degree))

    def _projected(self, vectors: Tensor) -> Tensor:
        return vectors if self.projection is None else vectors @ self.projection
