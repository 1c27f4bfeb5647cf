"""What is known of an encoder without holding its weights; nothing here imports torch."""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import EncoderConfig
from pipeline.encoders.libraries import split_name
from pipeline.encoders.weights import local_weights
from pipeline.errors import EncoderError

FEATURES = 2  # raise it when decoding, preprocessing or the stored form changes: no features are found again then


@dataclass(frozen=True)
class EncoderSpec:
    """What is known of an encoder without holding its weights.

    `grid` is (H, W) in patches of `patch` pixels a side, that of a square where the size keeps an image's aspect;
    `width` the tokens' D, `layers` the 0-based blocks. `fingerprint` names weights, input size, layers, preprocessing
    and precision: features with the same fingerprint are interchangeable.
    """

    name: str
    grid: tuple[int, int]
    width: int
    embedding: int
    layers: tuple[int, ...]
    fingerprint: str
    patch: int = 0  # in what versions of before November 2026 have kept


def description_key(config: EncoderConfig) -> str:
    """Name the settings and the weights that decide an encoder's features, without loading it.

    A file of weights counts by its content, those of the hub by their name. The library's version counts, since its
    models' code and normalisation do. Raises `EncoderError` for what shows that the settings cannot work.
    """
    library, _ = split_name(config.name)
    check_layers(config.layers)
    weights = local_weights(config.weights, config.weights_sha256)
    decides = {
        "features": FEATURES,
        "settings": config.model_dump(mode="json", include={"name", "size", "layers", "dtype", "store"}),
        "weights": weights and weights.sha256,
        "version": library.distribution and importlib.metadata.version(library.distribution),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def check_layers(layers: Sequence[int] | str | None) -> None:
    """Raise `EncoderError` where chosen layers are none in any encoder; whether this one has them shows its model."""
    if isinstance(layers, str) or layers is None:
        return
    if not layers or list(layers) != sorted(set(layers)):
        raise EncoderError(f"encoder.layers {list(layers)} must rise, and name at least one block")
