"""Image towers of open_clip."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.encoders.backbone import Backbone, Forward
from pipeline.errors import EncoderError


def load(name: str, size: tuple[int, int] | None, weights: Path | None) -> Backbone:
    """Load the image tower of `<model>/<tag>` for inputs of (height, width), with the tag's weights or those of a file.

    Where inputs differ in size its position embeddings stay as they were trained, and are resized for each size.

    Raises `EncoderError`, also where the model's activation is not the one that the tag's weights were trained with.
    """
    model_name, _, tag = name.partition("/")
    model_config = None if ":" in model_name else open_clip.get_model_config(model_name)  # hf-hub:, local-dir:
    if model_config is None:
        raise EncoderError(f"open_clip has no model {model_name!r}; open_clip.list_models() names them all")
    tag_config = open_clip.get_pretrained_cfg(model_name, tag) if tag else {}
    if tag and not tag_config:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model_name)) or "none"
        raise EncoderError(f"open_clip has no weights {tag!r} for {model_name}; it has {tags}")
    if not tag and weights is None:
        raise EncoderError(f"open_clip:{model_name} names no weights: add /<pretrained tag>, or give encoder.weights")
    _check_activation(model_name, tag, model_config, tag_config)
    try:
        model: Any = open_clip.create_model(
            model_name,
            pretrained=str(weights) if weights else tag,
            force_image_size=size,
            force_preprocess_cfg={key: tag_config[key] for key in ("mean", "std") if key in tag_config},
        )
    except Exception as error:  # hub, file and state dict each fail in their own types
        said = " ".join(str(error).split()) or type(error).__name__
        raise EncoderError(
            f"open_clip:{name} could not be loaded from {weights or 'the hub'}: {said[:300]}"
            + ("" if weights else "; without a network, give encoder.weights a file or an s3:// object")
        ) from error

    tower = model.visual
    try:
        blocks = tower.trunk.blocks if hasattr(tower, "trunk") else tower.transformer.resblocks
        patch = tower.trunk.patch_embed.patch_size if hasattr(tower, "trunk") else tower.patch_size
    except AttributeError as error:
        raise EncoderError(f"open_clip:{name} is not a vision transformer") from error

    def make_forward(layers: tuple[int, ...]) -> Forward:
        def forward(images: Tensor) -> tuple[list[Tensor], Tensor]:
            with _positions_for(tower, (images.shape[2], images.shape[3])):
                found = tower.forward_intermediates(images, indices=list(layers), output_fmt="NLC")
            return found["image_intermediates"], found["image_features"]

        return forward

    preprocess = open_clip.get_model_preprocess_cfg(model)
    return Backbone(
        module=tower,
        depth=len(blocks),
        patch=patch[0],
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
        make_forward=make_forward,
    )


@contextmanager
def _positions_for(tower: Any, size: tuple[int, int]) -> Iterator[None]:
    """Within the block let a tower take images of another (height, width): its position embeddings are resized.

    As open_clip resizes them itself when it loads a model for another size.
    """
    if hasattr(tower, "trunk"):  # a model of timm's, which looks after that itself
        yield
        return
    grid = size[0] // tower.patch_size[0], size[1] // tower.patch_size[1]
    if grid == tuple(tower.grid_size):
        yield
        return
    usual = tower.positional_embedding  # of the class token, then of the patches
    planes = usual[1:].view(1, *tower.grid_size, -1).permute(0, 3, 1, 2).float()
    planes = F.interpolate(planes, size=grid, mode="bicubic", antialias=True, align_corners=False)
    resized = torch.cat([usual[:1], planes.flatten(2)[0].mT.to(usual.dtype)])
    tower.positional_embedding = torch.nn.Parameter(resized, requires_grad=False)
    try:
        yield
    finally:
        tower.positional_embedding = usual


def _check_activation(model: str, tag: str, model_config: dict[str, Any], tag_config: dict[str, Any]) -> None:
    """Refuse weights trained with QuickGELU in a model without it: it costs accuracy, and nothing else shows it."""
    if not tag_config:
        return
    in_model, in_weights = bool(model_config.get("quick_gelu")), bool(tag_config.get("quick_gelu"))
    if in_model != in_weights:
        other = f"{model}-quickgelu" if in_weights else model.removesuffix("-quickgelu")
        raise EncoderError(
            f"the weights {tag!r} were trained with {'QuickGELU' if in_weights else 'GELU'}, the model {model} has "
            f"{'QuickGELU' if in_model else 'GELU'}; use open_clip:{other}/{tag}"
        )
