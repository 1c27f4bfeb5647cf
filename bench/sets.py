"""Images encoded by the sample's encoder, and the three sets of real ones that accuracy is measured on."""

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

from bench.report import NotRun
from pipeline.catalog import build_catalog
from pipeline.catalog.masks import read_masks
from pipeline.config import EncoderConfig, InputConfig
from pipeline.encoders.encoder import Encoder
from pipeline.images import decode
from pipeline.io.storage import Location
from pipeline.sample.weights import ENCODER, sample_weights
from pipeline.views import View

SHARED = Path(os.environ.get("LAKESCORE_SHARED", Path(__file__).parents[2] / "shared"))


@dataclass(frozen=True)
class Set:
    """One category: tokens (N, L, P, D), embeddings (N, E), labels (N,), masks (N, side, side) or None.

    `side` is that of its images and maps in pixels, `grid` (H, W) in patches.
    """

    name: str
    tokens: Tensor
    embeddings: Tensor
    labels: NDArray[np.bool_]
    masks: NDArray[np.bool_] | None
    uris: list[str]
    grid: tuple[int, int]
    side: int


def sample_encoder(side: int, batch_size: int = 8) -> EncoderConfig:
    """Return the settings of the sample's ViT-S/14 for images of so many pixels a side."""
    return EncoderConfig(name=ENCODER, weights=str(sample_weights()), size=side, batch_size=batch_size)


def real_sets(side: int, images: int | None) -> list[Set]:
    """Load and encode the sets in ../shared/data: all, or of each so many images, half of them anomalous.

    Raises `NotRun` where they are not there.
    """
    if not (SHARED / "data").is_dir():
        raise NotRun(f"{SHARED / 'data'} is absent; set LAKESCORE_SHARED to the folder that holds data/")
    catalog = build_catalog(InputConfig(uri=str(SHARED / "data")))
    encoder = Encoder(sample_encoder(side))
    sets = []
    for name in pc.unique(catalog.table["category"]).to_pylist():
        rows = catalog.table.filter(pc.equal(catalog.table["category"], name))
        if images is not None:
            both = [rows.filter(pc.equal(rows["label"], label)) for label in (False, True)]
            rows = pa.concat_tables([of.slice(0, images // 2) for of in both])
        sets.append(_encoded(name, rows, encoder, side))
    return sets


def _encoded(name: str, rows: pa.Table, encoder: Encoder, side: int) -> Set:
    images: list[dict[str, Any]] = rows.to_pylist()
    decoded = [decode(Location.parse(row["uri"]).read_bytes(), View((side, side)), 10**8) for row in images]
    encoded = encoder(np.stack([pixels for pixels, _ in decoded]))
    masks = None
    if any(row["masks"] for row in images):
        masks = np.stack(
            [read_masks(row["masks"], View((side, side)), wh) for row, (_, wh) in zip(images, decoded, strict=True)]
        )
    return Set(
        name.rpartition("/")[2],
        encoded.tokens.to(torch.float16),  # as stored
        encoded.embeddings,
        np.array([row["label"] for row in images], bool),
        masks,
        [row["uri"] for row in images],
        encoder.spec.grid,
        side,
    )
