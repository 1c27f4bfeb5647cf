"""What a module of this room makes of its library's model: the one thing that all of them have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

# (B, 3, H, W) -> the output of each wanted block [(B, P, D)], and the image embedding (B, E)
Forward = Callable[[Tensor], tuple[list[Tensor], Tensor]]


@dataclass(frozen=True)
class Backbone:
    """A loaded transformer as its library gives it, before our settings are checked against it."""

    module: torch.nn.Module
    depth: int
    patch: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    make_forward: Callable[[tuple[int, ...]], Forward]


# (the model's name; height and width of its input, None where these differ between images; file of weights or None for
# the hub's); raises `EncoderError`
Load = Callable[[str, tuple[int, int] | None, Path | None], Backbone]
