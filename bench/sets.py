"""The three sets of real images that accuracy is measured on, encoded by the sample's encoder."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.catalog import build_catalog
from pipeline.catalog.masks import read_masks
from pipeline.config import EncoderConfig, InputConfig
from pipeline.encoders import Encoder
from pipeline.images import decode
from pipeline.io.storage import Location
from pipeline.sample.weights import ENCODER, sample_weights

SHARED = Path(os.environ.get("LAKESCORE_SHARED", Path(__file__).parents[2] / "shared"))
SIZE = 224


@dataclass(frozen=True)
class Set:
    """One category: tokens (N, L, P, D) as stored, embeddings (N, E), labels (N,), masks (N, H, W) or None."""

    name: str
    tokens: Tensor
    embeddings: Tensor
    labels: NDArray[np.bool_]
    masks: NDArray[np.bool_] | None
    uris: list[str]
    grid: tuple[int, int] = (16, 16)


def real_sets() -> list[Set]:
    """Load and encode the sets in ../shared/data; raises SystemExit with the reason where they are not there."""
    if not (SHARED / "data").is_dir():
        raise SystemExit(f"accuracy is measured on the sets in {SHARED / 'data'}, which is not there: NOT RUN")
    catalog = build_catalog(InputConfig(uri=str(SHARED / "data")))
    encoder = Encoder(EncoderConfig(name=ENCODER, weights=str(sample_weights()), size=SIZE))
    categories = pc.unique(catalog.table["category"]).to_pylist()
    return [
        _encoded(name, catalog.table.filter(pc.equal(catalog.table["category"], name)), encoder, catalog.mask_above)
        for name in categories
    ]


def _encoded(name: str, rows: pa.Table, encoder: Encoder, mask_above: float) -> Set:
    images: list[dict[str, Any]] = rows.to_pylist()
    decoded = [decode(Location.parse(row["uri"]).read_bytes(), SIZE, 10**8) for row in images]
    encoded = encoder(np.stack([pixels for pixels, _ in decoded]))
    masks = None
    if any(row["masks"] for row in images):
        masks = np.stack(
            [read_masks(row["masks"], SIZE, mask_above, wh) for row, (_, wh) in zip(images, decoded, strict=True)]
        )
    return Set(
        name.rpartition("/")[2],
        encoded.tokens.to(torch.float16),
        encoded.embeddings,
        np.array([row["label"] for row in images], bool),
        masks,
        [row["uri"] for row in images],
    )
