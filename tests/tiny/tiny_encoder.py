"""An encoder that loads in no time, for tests of faults and storage, whose many processes need no timm.

A library beyond the project's own, as CONTRIBUTING.md has it under "Add an encoder": it lies on PYTHONPATH as an
installed package does, and its entry point names `load`.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, layer_norm

from pipeline.encoders.backbone import Backbone, Forward
from pipeline.errors import EncoderError

PATCH, WIDTH, DEPTH = 14, 16, 4


class TinyEncoder(nn.Module):
    """Blocks without attention over what random filters find in each patch, which tells textures and defects apart."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, WIDTH, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(DEPTH))

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """(B, 3, H, W) -> the tokens of each block (B, P, D), and the image at 4 x 4 pixels, centred (B, 48)."""
        energy = avg_pool2d(self.filters(images).square(), PATCH).flatten(2).mT
        tokens, found = layer_norm(torch.log(energy + 0.01), (WIDTH,)), []
        for block in self.blocks:
            tokens = tokens + torch.tanh(block(tokens))
            found.append(tokens)
        small = adaptive_avg_pool2d(images, 4).flatten(1)
        return found, small - small.mean(dim=1, keepdim=True)


def load(name: str, size: tuple[int, int] | None, weights: Path | None) -> Backbone:
    """Load `tiny:any` with the weights that `tests.running.tiny_weights` writes; it takes images of any size."""
    if weights is None:
        raise EncoderError(f"tiny:{name} has no weights of its own: give encoder.weights")
    module = TinyEncoder()
    module.load_state_dict(load_file(weights))

    def make_forward(layers: tuple[int, ...]) -> Forward:
        def forward(images: Tensor) -> tuple[list[Tensor], Tensor]:
            blocks, embedding = module(images)
            return [blocks[layer] for layer in layers], embedding

        return forward

    return Backbone(
        module=module, depth=DEPTH, patch=PATCH, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), make_forward=make_forward
    )
