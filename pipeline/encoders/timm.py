"""Vision transformers of timm: DINOv2, DINOv3, and plain ViTs."""

from pathlib import Path
from typing import Any

import timm
from torch import Tensor

from pipeline.encoders.backbone import Backbone, Forward
from pipeline.errors import EncoderError


def load(name: str, size: tuple[int, int] | None, weights: Path | None) -> Backbone:
    """Load a timm ViT with its hub's weights, or with those of a file in timm's or the authors' own naming.

    Position embeddings are interpolated to the input in the forward pass. Raises `EncoderError`.
    """
    _check_activation(name, weights)
    options: dict[str, Any] = {"num_classes": 0, "dynamic_img_size": True, "pretrained": True}
    try:
        if weights is not None:
            options["pretrained_cfg_overlay"] = {"state_dict": _without_classifier(name, weights), "classifier": None}
        model: Any = timm.create_model(name, **options)
    except TypeError as error:
        raise EncoderError(f"timm:{name} is not a vision transformer that takes any input size: {error}") from error
    except Exception as error:  # hub, file and state dict each fail in their own types
        source = weights or "the hub"
        said = " ".join(str(error).split()) or type(error).__name__
        raise EncoderError(
            f"timm:{name} could not be loaded from {source}: {said[:300]}"
            + ("" if weights else "; without a network, give encoder.weights a file or an s3:// object")
        ) from error

    if not (hasattr(model, "num_prefix_tokens") and hasattr(model, "blocks")):
        raise EncoderError(f"timm:{name} is not a plain vision transformer")

    # The DINO family is read after its final norm, others as raw residual streams (MuSc's official code)
    norm = "dino" in name
    prefix, has_class_token = model.num_prefix_tokens, getattr(model, "cls_token", None) is not None

    def make_forward(layers: tuple[int, ...]) -> Forward:
        def forward(images: Tensor) -> tuple[list[Tensor], Tensor]:
            final, blocks = model.forward_intermediates(images, indices=list(layers), norm=norm, output_fmt="NLC")
            return blocks, final[:, 0] if has_class_token else final[:, prefix:].mean(dim=1)

        return forward

    return Backbone(
        module=model,
        depth=len(model.blocks),
        patch=_side(model.patch_embed.patch_size),
        mean=tuple(model.pretrained_cfg["mean"]),
        std=tuple(model.pretrained_cfg["std"]),
        make_forward=make_forward,
    )


def _check_activation(name: str, weights: Path | None) -> None:
    """Refuse weights trained with QuickGELU in a model without it: it costs accuracy, and nothing else shows it."""
    architecture, _, tag = name.partition(".")
    if "quickgelu" in name or (weights is not None and not tag) or not timm.is_model(architecture):
        return
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise EncoderError(f"timm has no weights {tag!r} for {architecture}: {error}") from error
    if known is not None and "QuickGELU" in " ".join(known.notes or ()):
        other = architecture.replace("_clip_", "_clip_quickgelu_") + (f".{tag}" if tag else "")
        raise EncoderError(
            f"the weights of timm:{name} were trained with QuickGELU, the model has GELU; use timm:{other}"
        )


def _without_classifier(name: str, weights: Path) -> dict[str, Tensor]:
    """Read a state dict without its classifier; timm would drop that too, and every check for missing names with it."""
    config = timm.get_pretrained_cfg(name)
    heads = (config.classifier if config else None) or ()
    prefixes = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    state: dict[str, Tensor] = timm.models.load_state_dict(str(weights))
    return {key: value for key, value in state.items() if not (prefixes and key.startswith(prefixes))}


def _side(patch: int | tuple[int, int]) -> int:
    return patch if isinstance(patch, int) else patch[0]
