"""Extract: decode and encode images, and write their features; what is stored already is not encoded again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import EncoderConfig, InputConfig, ScoreConfig
from pipeline.encoders.describe import not_the_same
from pipeline.encoders.spec import EncoderSpec
from pipeline.errors import LakeScoreError
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.images import Pixels, Reason
from pipeline.memory import is_out_of_memory
from pipeline.schema.table import TableSchema
from pipeline.schema.tables import COUNT, EXTRACTED, FEATURES
from pipeline.stage import Runner
from pipeline.store.checks import counted_in
from pipeline.store.feature_index import FeatureIndex
from pipeline.store.features import FeatureStore, Stored, block_images, feature_key
from pipeline.tables.rows import check_rows

if TYPE_CHECKING:
    from pipeline.encoders.encoder import Encoded, Encoder

log = logging.getLogger(__name__)

MADE = TableSchema("What a worker says of each image; who runs it says where.", (*EXTRACTED.without("node"), COUNT))


@dataclass(frozen=True)
class Extracted:
    """`images` follows EXTRACTED, one row for each image, rising."""

    images: pa.Table
    reused: int


def extract(
    images: pa.Table,
    config: ScoreConfig,
    spec: EncoderSpec,
    geometry: LakeGeometry,
    store: FeatureStore,
    runner: Runner,
    name: str = "extract",
) -> Extracted:
    """Give every image of a catalog's table features in the store, or a reason why it has none.

    `name` is what is told of progress. `runner` does `DecodeBlock` before it gives a block to the encoder.
    """
    known = _reuse(images, spec, geometry, store, config.input)
    reused = known.num_rows - images.num_rows + images["reason"].null_count  # the others cannot be opened
    taken = pa.array(known["image"].to_pylist(), pa.int64())
    todo = images.filter(pc.invert(pc.is_in(images["image"], value_set=taken)))
    with runner.progress(name, "images", images.num_rows, already=known.num_rows) as progress:
        if todo.num_rows:
            blocks = _blocks(todo, spec, geometry, store, config.encoder.batch_size)
            encoded = runner(EncodeBlock(config.encoder, geometry, spec.fingerprint, store), blocks, progress)
            new = EXTRACTED.cast(encoded)
            _index(new, pa.concat_tables(blocks), store)
            known = pa.concat_tables([known, new])
    check_rows("extract", images["image"].to_pylist(), known["image"].to_pylist())
    return Extracted(known.sort_by("image"), reused)


@dataclass
class EncodeBlock:
    """A worker's part: holds the encoder, and writes the features of each block, which has DECODED's columns."""

    config: EncoderConfig
    geometry: LakeGeometry
    fingerprint: str
    store: FeatureStore
    _encoder: Encoder | None = field(default=None, init=False)

    def setup(self, device: str, threads: int) -> None:
        import torch

        from pipeline.encoders.encoder import take_encoder

        torch.set_num_threads(threads)
        self._encoder = take_encoder(self.config, device)
        if self._encoder.spec.fingerprint != self.fingerprint:
            raise LakeScoreError(not_the_same(self.config, self._encoder.spec.fingerprint, self.fingerprint))

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = block.drop_columns("pixels").to_pylist()
        geometry = self.geometry.of(rows[0]["category"])  # a block is of one category
        alike: dict[tuple[int, int], list[int]] = {}  # a file holds images of one grid
        for index, row in enumerate(rows):
            if row["reason"] is None:
                alike.setdefault((row["rows"], row["columns"]), []).append(index)
        for grid, good in alike.items():
            size = [geometry.patch * length for length in grid]
            buffers = [memoryview(block["pixels"][i].as_buffer()) for i in good]
            pixels = [np.frombuffer(buffer, np.uint8).reshape(*size, 3) for buffer in buffers]
            if geometry.tile:
                for of, index in zip(pixels, good, strict=True):
                    self._encode(of[None], [rows[index]], geometry)
            else:
                self._encode(np.stack(pixels), [rows[i] for i in good], geometry)
        return MADE.rows({name: row.get(name) for name in MADE.names} | {"count": 1} for row in rows)

    def _encode(self, pixels: Pixels, rows: list[dict[str, Any]], geometry: Geometry) -> None:
        """Encode images and write their features; with less at a time where memory runs out."""
        import torch

        assert self._encoder is not None, "setup comes first"
        precision = getattr(torch, self.store.precision)
        try:
            if geometry.tile:
                [image] = pixels
                self._write(self._encoder.in_tiles(image, geometry.tile, geometry.overlap, precision), rows)
            else:
                # of images that differ in shape few fill a batch
                self._write(self._encoder(pixels, precision, None if geometry.sides else 1), rows)
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Here, since the error held on to what did not fit
        if self._encoder.batch_size > 1 and (geometry.sides or geometry.tile):  # others go through one by one
            self._encoder.batch_size //= 2
            log.warning("memory ran out: this worker encodes batches of %d from now on", self._encoder.batch_size)
            self._encode(pixels, rows, geometry)
        elif len(rows) > 1:
            for half in (slice(None, len(rows) // 2), slice(len(rows) // 2, None)):
                self._encode(pixels[half], rows[half], geometry)
        else:
            what = "tiles.size or tiles.scale" if geometry.tile else "encoder.size"
            detail = f"the encoder finds no memory for one image: take a smaller {what}, or a larger worker"
            rows[0] |= {"reason": str(Reason.OUT_OF_MEMORY), "detail": detail}

    def _write(self, encoded: Encoded, rows: list[dict[str, Any]]) -> None:
        """Write a file of the rows' features, and say in each row where they lie, or why they are not kept."""
        finite = encoded.finite().tolist()
        for row, is_finite in zip(rows, finite, strict=True):
            if not is_finite:
                detail = f"tokens do not fit {self.store.dtype}; try encoder.store fp32, or encoder.dtype fp32"
                row |= {"reason": str(Reason.NOT_FINITE), "detail": detail}
        kept = [row for row in rows if row["reason"] is None]
        if not kept:
            return
        tokens, embeddings = encoded.tokens.cpu().numpy(), encoded.embeddings.cpu().numpy()
        if len(kept) < len(rows):  # hardly ever, and a copy
            tokens, embeddings = tokens[finite], embeddings[finite]
        columns = {name: [row[name] for row in kept] for name in FEATURES.names}
        counted = None
        if any(row["counted"] is not None for row in kept):
            patches = tokens.shape[2]
            counted = [
                np.ones(patches, bool) if row["counted"] is None else counted_in(row["counted"], patches)
                for row in kept
            ]
        grid = (kept[0]["rows"], kept[0]["columns"])
        file = self.store.write(kept[0]["category"], columns, tokens, embeddings, grid, counted)
        for number, row in enumerate(kept):
            row |= {"file": file, "row": number}


def _reuse(
    images: pa.Table, spec: EncoderSpec, geometry: LakeGeometry, store: FeatureStore, config: InputConfig
) -> pa.Table:
    """Return rows of EXTRACTED for images whose features are stored, and for those that cannot be opened."""
    rows: list[dict[str, Any]] = []
    stored: dict[str, Mapping[str, Stored]] = {}
    for image in images.to_pylist():
        row: dict[str, Any] = dict.fromkeys(EXTRACTED.names)
        row["image"] = image["image"]
        if image["reason"] is not None:
            rows.append(row | {"reason": image["reason"], "detail": image["detail"]})
            continue
        category = image["category"]
        if category not in stored:
            of_category = store.find(category)
            for file in of_category.damaged:  # or every night would find them again
                store.drop(file)
            stored[category] = of_category.images
        seen = geometry.key(category, image["region_uri"], image["region_etag"])
        key = feature_key(image["uri"], image["etag"], spec.fingerprint, seen)
        found = stored[category].get(key)
        fits = image["size"] <= config.max_bytes  # what is stored obeys this run's limits, too
        if found is not None and fits and found.width * found.height <= config.max_pixels:
            rows.append(row | {name: value for name, value in vars(found).items() if name in row})
    return EXTRACTED.rows(rows)


def _index(encoded: pa.Table, keyed: pa.Table, store: FeatureStore) -> None:
    """Say in the store's index where the features of encoded images lie, which `keyed` has the keys of."""
    kept = encoded.filter(pc.is_null(encoded["reason"])).sort_by("image")
    order = np.argsort(keyed["image"].to_numpy())
    places = order[np.searchsorted(keyed["image"].to_numpy()[order], kept["image"].to_numpy())]
    named = keyed.select(["category", "key", "uri"]).take(pa.array(places))
    for name in named.column_names:
        kept = kept.append_column(name, named[name])
    for category in pc.unique(kept["category"]).to_pylist():
        FeatureIndex(store.root, category).write(kept.filter(pc.equal(kept["category"], category)))


def _blocks(
    todo: pa.Table, spec: EncoderSpec, geometry: LakeGeometry, store: FeatureStore, batch: int
) -> list[pa.Table]:
    """Cut images into blocks of one category, each of which becomes one file, or one for each grid of its images."""
    bytes_per_patch = len(spec.layers) * spec.width * np.dtype(store.dtype).itemsize
    columns = ["image", "uri", "etag", "category", "size", "region_uri", "region_etag"]
    named = (todo[name].to_pylist() for name in ("uri", "etag", "category", "region_uri", "region_etag"))
    keys = [
        feature_key(uri, etag, spec.fingerprint, geometry.key(category, *region))
        for uri, etag, category, *region in zip(*named, strict=True)
    ]
    keyed = todo.select(columns).append_column("key", pa.array(keys))
    blocks = []
    for category in pc.unique(keyed["category"]):
        images = keyed.filter(pc.equal(keyed["category"], category))
        high, wide = geometry.grid(category.as_py())
        tiled = geometry.of(category.as_py()).tile > 0  # whose batches are of tiles
        step = block_images(bytes_per_patch * high * wide, 1 if tiled else batch)
        blocks += [images.slice(start, step) for start in range(0, images.num_rows, step)]
    return blocks
