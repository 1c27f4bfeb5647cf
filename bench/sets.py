"""Images encoded by the sample's encoder, and the three sets of real ones that accuracy is measured on."""

import hashlib
import json
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
from pipeline.sample.lake import write_sample
from pipeline.sample.weights import ENCODER, sample_weights
from pipeline.views import View

KEPT = Path("out/bench/features")
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
    return sets_of(beside("data"), side, images)


def judged_sets(side: int, images: int | None) -> list[Set]:
    """Load the sets that methods are judged on: those of ../shared/data and more_data, and the embedded sample.

    Raises `NotRun` where the first are not there.
    """
    more = SHARED / "more_data"
    roots = [beside("data"), *([more] if more.is_dir() else []), sample_folder()]
    return [of for root in roots for of in sets_of(root, side, images)]


def sample_set(category: str, side: int, images: int | None) -> Set:
    """Load and encode a category of the embedded sample."""
    [found] = sets_of(sample_folder(), side, images, category)
    return found


def sets_of(root: Path, side: int, images: int | None, only: str | None = None) -> list[Set]:
    """Load and encode the categories of a folder: all images, or of each so many, half of them anomalous.

    What was encoded is kept below out/bench, so that a second call takes seconds.
    """
    catalog, encoder = build_catalog(InputConfig(uri=str(root))).table, Encoder(sample_encoder(side))
    sets = []
    for name in [only] if only else pc.unique(catalog["category"]).to_pylist():
        rows = catalog.filter(pc.equal(catalog["category"], name))
        if images is not None:
            both = [rows.filter(pc.equal(rows["label"], label)) for label in (False, True)]
            rows = pa.concat_tables([of.slice(0, images // 2) for of in both])
        content = json.dumps([encoder.spec.fingerprint, rows["uri"].to_pylist(), rows["etag"].to_pylist()])
        path = KEPT / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.pt"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            found = _encoded(name, rows, encoder, side)
            torch.save({"tokens": found.tokens, "embeddings": found.embeddings, "masks": found.masks}, path)
        kept = torch.load(path, weights_only=False)
        labels = np.array([row["label"] for row in rows.to_pylist()], bool)
        short, uris = name.rpartition("/")[2], rows["uri"].to_pylist()
        sets.append(
            Set(short, kept["tokens"], kept["embeddings"], labels, kept["masks"], uris, encoder.spec.grid, side)
        )
    return sets


def sample_folder() -> Path:
    """Write the embedded sample's lake below out/bench, and return where."""
    folder = Path("out/bench/sample")
    write_sample(Location.parse(str(folder)))
    return folder


def beside(name: str) -> Path:
    """Return a folder of the material beside the repository; raises `NotRun` where it is not there."""
    folder = SHARED / name
    if not folder.is_dir():
        raise NotRun(f"{folder} is absent; set LAKESCORE_SHARED to the folder that holds {name}/")
    return folder


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
