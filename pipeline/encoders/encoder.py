"""One small interface over vision transformers: pixels in, patch tokens of several blocks and an embedding out."""

import functools
import hashlib
import importlib
import json
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.config import EncoderConfig
from pipeline.encoders.backbone import Backbone, Load
from pipeline.encoders.libraries import split_name
from pipeline.encoders.spec import FEATURES, EncoderSpec, check_layers, description_key
from pipeline.encoders.weights import local_weights
from pipeline.errors import EncoderError
from pipeline.geometry import tiles_along
from pipeline.images import Pixels
from pipeline.precision import DTYPES, keep_fp32_sums


@dataclass(frozen=True)
class Encoded:
    """What the encoder makes of a batch: tokens (B, L, P, D), and embeddings (B, E) of length 1."""

    tokens: Tensor
    embeddings: Tensor

    def finite(self) -> Tensor:
        """Return (B,), true where no number of an image is infinite or NaN."""
        # NaN passes through a maximum, and to ask every single number takes ten times as long
        largest = self.tokens.abs().amax(dim=(1, 2, 3))
        return torch.isfinite(largest) & torch.isfinite(self.embeddings).all(dim=1)


class Encoder:
    """A vision transformer, ready to encode.

        encoder = Encoder(EncoderConfig(name="timm:vit_small_patch14_dinov2.lvd142m", size=224))
        encoded = encoder(pixels)   # (B, 224, 224, 3) uint8 -> tokens (B, 4, 256, 384), embeddings (B, 384)

    Raises `EncoderError` when weights, layers or size do not fit; no image is needed to find that out.
    """

    def __init__(self, config: EncoderConfig, device: str = "cpu") -> None:
        keep_fp32_sums()
        backbone = _load(config)
        layers = _layers(config, backbone.depth)
        if not config.keeps_aspect:
            for side in config.sides:
                _check_side(side, config, backbone.patch)
        self.batch_size = config.batch_size
        self._device, self._dtype = torch.device(device), DTYPES[config.dtype]
        parameters = _digest(backbone.module)
        backbone.module.requires_grad_(False).eval().to(self._device, self._dtype)
        self._mean = torch.tensor(backbone.mean, device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(backbone.std, device=self._device).view(1, 3, 1, 1)
        self._forward = backbone.make_forward(layers)

        self._patch = backbone.patch
        grid = (config.sides[0] // backbone.patch, config.sides[1] // backbone.patch)
        if min(grid) < 1:
            raise EncoderError(
                f"encoder.size {config.sides[0]} is less than a patch of {config.name}, {backbone.patch}"
            )
        height, width = self._whole = (grid[0] * backbone.patch, grid[1] * backbone.patch)
        if config.keeps_aspect:
            self._check_other_shapes(config)
        with torch.inference_mode():  # of one image: a whole batch of a large model takes a CPU minutes
            blocks, embedding = self._forward(self._normalised(np.zeros((1, height, width, 3), np.uint8)))
        _, patches, values = blocks[0].shape
        if patches != grid[0] * grid[1]:
            raise EncoderError(f"{config.name} gives {patches} patches where {grid[0]} x {grid[1]} are expected")
        self.spec = EncoderSpec(
            name=config.name,
            grid=grid,
            width=values,
            embedding=embedding.shape[1],
            layers=layers,
            fingerprint="",
            patch=backbone.patch,
        )
        self.spec = replace(self.spec, fingerprint=_fingerprint(config, self.spec, backbone, parameters))

    def in_tiles(self, pixels: Pixels, tile: int, overlap: int, dtype: torch.dtype | None = None) -> Encoded:
        """Encode an RGB image (H, W, 3), uint8, tile by tile, and stitch the tokens to one grid; its B is 1.

        Each patch is taken from the tile in which it lies most central. The embedding is that of the whole image,
        squeezed to `encoder.size`.

        Args:
            pixels: whole patches.
            tile: side of a tile in pixels, whole patches; a shorter side of the image is one tile.
            overlap: pixels that tiles share, at least.
            dtype: of the tokens.
        """
        rows, columns = (side // self._patch for side in pixels.shape[:2])
        along = [tiles_along(length, tile // self._patch, -(-overlap // self._patch)) for length in (rows, columns)]
        places = list(product(*along))
        stitched: Tensor | None = None  # (1, L, rows, columns, D)
        for start in range(0, len(places), self.batch_size):
            part = places[start : start + self.batch_size]
            cut = np.stack(
                [
                    pixels[self._patch * y.start : self._patch * y.stop, self._patch * x.start : self._patch * x.stop]
                    for y, x in part
                ]
            )
            found = self(cut, dtype).tokens  # (b, L, p, D)
            if stitched is None:
                stitched = found.new_empty((1, found.shape[1], rows, columns, found.shape[3]))
            for tokens, (y, x) in zip(found, part, strict=True):
                of_tile = tokens.view(tokens.shape[0], y.stop - y.start, x.stop - x.start, -1)
                stitched[0, :, y.low : y.high, x.low : x.high] = of_tile[
                    :, y.low - y.start : y.high - y.start, x.low - x.start : x.high - x.start
                ]
        assert stitched is not None, "a side has a tile at least"
        whole = np.array(Image.fromarray(pixels).resize(self._whole[::-1], Image.Resampling.BICUBIC))
        return Encoded(stitched.flatten(2, 3), self._embedding(whole[None]))

    @torch.inference_mode()
    def _embedding(self, pixels: Pixels) -> Tensor:
        """Return the embedding (1, E) of one image: always alone, where a whole batch would be filled up for it."""
        _, embedding = self._forward(self._normalised(pixels))
        return torch.nn.functional.normalize(embedding.float(), dim=-1)

    @torch.inference_mode()
    def __call__(self, pixels: Pixels, dtype: torch.dtype | None = None, batch: int | None = None) -> Encoded:
        """Encode RGB images (B, H, W, 3), uint8; tokens come in `dtype`, or else in that of the forward pass.

        Every forward pass has `batch` images, `batch_size` by default, the last one filled up: with one shape of
        products, an image's tokens do not depend on which images were encoded with it, to the last bit.
        """
        count, size = len(pixels), batch or self.batch_size
        embeddings = []
        for start in range(0, count, size):
            part = pixels[start : start + size]
            filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            blocks, embedding = self._forward(self._normalised(filled))
            if start == 0:
                # Layer by layer, as they are stored: their one copy on the way from the model to Arrow
                tokens = blocks[0].new_empty((len(blocks), count, *blocks[0].shape[1:]), dtype=dtype)  # (L, B, P, D)
            for layer, block in zip(tokens, blocks, strict=True):
                layer[start : start + len(part)] = block[: len(part)]
            embeddings.append(torch.nn.functional.normalize(embedding.float(), dim=-1)[: len(part)])
        return Encoded(tokens.transpose(0, 1), torch.cat(embeddings))

    def _check_other_shapes(self, config: EncoderConfig) -> None:
        """Raise `EncoderError` where the model takes images of one size only."""
        height, width = self._whole
        try:
            with torch.inference_mode():
                self._forward(self._normalised(np.zeros((1, height, width + self._patch, 3), np.uint8)))
        except (RuntimeError, AssertionError) as error:
            raise EncoderError(
                f"{config.name} takes images of one size only: give encoder.size a number, or height,width"
            ) from error

    def _normalised(self, pixels: Pixels) -> Tensor:
        """Turn a batch (B, H, W, 3) into what the model takes (B, 3, H, W)."""
        images = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2).float()
        return images.div_(255).sub_(self._mean).div_(self._std).to(self._dtype)


def encoder_of(config: EncoderConfig, device: str = "cpu") -> Encoder:
    """Return this process's encoder, loaded again only when settings or weights change; raises as `Encoder` does."""
    return _encoder(description_key(config), config, device)


def take_encoder(config: EncoderConfig, device: str = "cpu") -> Encoder:
    """Return the same, and keep it for nobody else: when its user is gone, so is its memory."""
    encoder = encoder_of(config, device)
    _encoder.cache_clear()
    return encoder


@functools.lru_cache(maxsize=1)
def _encoder(key: str, config: EncoderConfig, device: str) -> Encoder:
    return Encoder(config, device)


def _load(config: EncoderConfig) -> Backbone:
    library, name = split_name(config.name)
    weights = local_weights(config.weights, config.weights_sha256)
    load: Load = importlib.import_module(library.module).load
    size = None if config.keeps_aspect else config.sides
    return load(name, size, weights.path if weights else None)


def _check_side(side: int, config: EncoderConfig, patch: int) -> None:
    if side % patch:
        of = f" of {list(config.size)}" if isinstance(config.size, tuple) else ""
        below = side // patch * patch
        raise EncoderError(
            f"encoder.size {side}{of} is not a multiple of the patch of {config.name}, {patch}; "
            f"use {f'{below} or ' if below else ''}{below + patch}"
        )


def _layers(config: EncoderConfig, depth: int) -> tuple[int, ...]:
    layers = config.layers
    if layers is None or layers == "middle":
        quarters = (1, 2, 3, 4) if layers is None else (2, 3)
        layers = tuple(sorted({max(0, depth * quarter // 4 - 1) for quarter in quarters}))
    if wrong := [layer for layer in layers if not 0 <= layer < depth]:
        raise EncoderError(f"encoder.layers: {wrong[0]} is out of range; {config.name} has blocks 0 to {depth - 1}")
    check_layers(layers)
    return layers


def _digest(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _fingerprint(config: EncoderConfig, spec: EncoderSpec, backbone: Backbone, parameters: str) -> str:
    identity = {
        "features": FEATURES,
        "parameters": parameters,
        "architecture": config.name.partition("/")[0].partition(".")[0],
        "layers": spec.layers,
        "grid": spec.grid,
        "size": config.model_dump(mode="json")["size"],
        "mean": backbone.mean,
        "std": backbone.std,
        "dtype": config.dtype,
        "store": config.store,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
