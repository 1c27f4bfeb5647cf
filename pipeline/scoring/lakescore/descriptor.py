"""One vector for each patch, of several layers and neighbourhoods: one comparison in place of one for each of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.scoring.musc.lnamd import lnamd

DEGREES = (1, 3)
IN_CACHE = 1024  # patches whose vectors are made at a time: of many more each step waits for memory


@dataclass(frozen=True)
class Descriptor:
    """How tokens (N, P, L * D) of L layers, side by side, become the vectors (N, P, L * D) that are compared.

    Of each layer the vectors of both neighbourhoods are added and scaled to length 1; those of the layers stand side by
    side, and have length 1 together. `grid` is (H, W) in patches.
    """

    grid: tuple[int, int]
    layers: int
    comparisons: int = 1

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    def __call__(self, tokens: Tensor) -> Iterator[Tensor]:
        """Yield the vectors of the one comparison, fp32."""
        found = torch.empty(tokens.shape, device=tokens.device)
        images = max(1, IN_CACHE // self.patches)
        for some, into in zip(torch.split(tokens, images), torch.split(found, images), strict=True):
            for layer, vectors in zip(some.chunk(self.layers, dim=2), into.chunk(self.layers, dim=2), strict=True):
                first, *others = (lnamd(layer, self.grid, degree) for degree in DEGREES)
                vectors.copy_(F.normalize(sum(others, first), dim=-1))
        yield found.div_(self.layers**0.5)
