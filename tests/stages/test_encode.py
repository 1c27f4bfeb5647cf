"""One block on its way to its file of features: order, what drops out, and what ends the run."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.config import EncoderConfig
from pipeline.encoders import encoder
from pipeline.encoders.encoder import Encoded
from pipeline.encoders.spec import EncoderSpec
from pipeline.errors import StorageError
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.images import Pixels
from pipeline.io.storage import Location
from pipeline.schema.tables import IMAGE_STATS
from pipeline.stages.encode import EncodeBlock
from pipeline.store.features import FeatureStore

PATCH, SIDES, LAYERS = 16, (48, 32), (2, 11)
SPEC = EncoderSpec("bright", grid=(3, 2), width=8, embedding=5, layers=LAYERS, fingerprint="f")
NOTHING = -1  # the brightness of an image that could not be decoded
TOO_BRIGHT = 255
TOO_HEAVY = 254


class Bright:
    """Stands in for an encoder: an image's tokens and embedding are its brightness, of the brightest no number."""

    memory = 8  # images that a forward pass has memory for

    def __init__(self, config: EncoderConfig, device: str) -> None:
        self.spec, self.batch_size = SPEC, 8

    def __call__(self, pixels: Pixels, dtype: torch.dtype, batch: int | None) -> Encoded:
        if self.batch_size > self.memory or (pixels[:, 0, 0, 0] == TOO_HEAVY).any():
            torch.empty(10**15)  # bytes that nobody has
        brightness = torch.from_numpy(pixels[:, 0, 0, 0].astype(np.float32))
        brightness[brightness == TOO_BRIGHT] = torch.inf
        tokens = brightness.to(dtype)[:, None, None, None].repeat(
            1, len(LAYERS), SPEC.grid[0] * SPEC.grid[1], SPEC.width
        )
        return Encoded(tokens, torch.ones(len(pixels), SPEC.embedding))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(Location.parse(str(tmp_path / "features")), SPEC.grid, SPEC.width, LAYERS, "float16")


@pytest.fixture
def worker(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> EncodeBlock:
    monkeypatch.setattr(encoder, "take_encoder", Bright)
    worker = EncodeBlock(EncoderConfig(size=SIDES), LakeGeometry(Geometry(PATCH, SIDES)), SPEC.fingerprint, store)
    worker.setup("cpu", torch.get_num_threads())
    return worker


def decoded(*brightness: int) -> pa.Table:
    """Return a block as decoding leaves it: one image of each brightness."""
    numbers = range(len(brightness))
    nothing = [b == NOTHING for b in brightness]
    pixels = [None if b == NOTHING else np.full((*SIDES, 3), b, np.uint8).tobytes() for b in brightness]
    return pa.table(
        {
            "image": pa.array([100 + n for n in numbers], pa.int64()),
            "uri": [f"/lake/{n}.png" for n in numbers],
            "category": ["bottle" for _ in numbers],
            "key": [f"key{n}" for n in numbers],
            "pixels": pa.array(pixels, pa.binary()),
            "rows": pa.array([None if none else SPEC.grid[0] for none in nothing], pa.int32()),
            "columns": pa.array([None if none else SPEC.grid[1] for none in nothing], pa.int32()),
            "counted": pa.nulls(len(nothing), pa.string()),
            "width": pa.array([None if none else 640 for none in nothing], pa.int32()),
            "height": pa.array([None if none else 480 for none in nothing], pa.int32()),
            **{name: pa.array([0.5] * len(brightness), pa.float32()) for name in IMAGE_STATS.names},
            "reason": pa.array(["damaged" if none else None for none in nothing], pa.string()),
            "detail": pa.array(["why" if none else None for none in nothing], pa.string()),
        }
    )


def test_each_image_of_a_block_finds_its_own_features_whatever_dropped_out(
    worker: EncodeBlock, store: FeatureStore
) -> None:
    brightness = (7, NOTHING, 9, TOO_BRIGHT, 3)
    found = worker(decoded(*brightness)).to_pylist()
    assert [row["image"] for row in found] == [100, 101, 102, 103, 104]
    assert [row["reason"] for row in found] == [None, "damaged", None, "not_finite", None]
    assert [row["row"] for row in found] == [0, None, 1, None, 2]
    good = [row for row in found if row["reason"] is None]
    places = [(row["file"], row["row"]) for row in good]
    assert store.tokens(places, LAYERS[1])[:, 0, 0].tolist() == [7, 9, 3]
    assert sorted(store.find("bottle").images) == ["key0", "key2", "key4"]


def test_a_block_without_one_good_image_has_no_file(worker: EncodeBlock, store: FeatureStore) -> None:
    found = worker(decoded(NOTHING, TOO_BRIGHT)).to_pylist()
    assert [row["reason"] for row in found] == ["damaged", "not_finite"]
    assert [row["file"] for row in found] == [None, None]
    assert store.find("bottle").images == {}


@pytest.mark.parametrize(
    ("geometry", "batch"), [(Geometry(PATCH, SIDES), None), (Geometry(PATCH, short=min(SIDES)), 1)], ids=["same", "own"]
)
def test_images_that_may_differ_in_shape_are_encoded_one_by_one(
    geometry: Geometry, batch: int | None, worker: EncodeBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    encode = Bright.__call__

    def noted(self: Bright, pixels: Pixels, dtype: torch.dtype, batch: int | None) -> Encoded:
        asked.append(batch)
        return encode(self, pixels, dtype, batch)

    monkeypatch.setattr(Bright, "__call__", noted)
    worker.geometry = LakeGeometry(geometry)
    assert [row["reason"] for row in worker(decoded(7, 9)).to_pylist()] == [None, None]
    assert asked == [batch]


def test_features_that_cannot_be_written_end_the_block(worker: EncodeBlock, store: FeatureStore) -> None:
    Path(store.root.path).write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        worker(decoded(1, 2))


def test_memory_that_runs_out_costs_smaller_batches_and_then_only_the_images_that_do_not_fit(
    worker: EncodeBlock, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bright, "memory", 2)
    found = worker(decoded(7, 8, 9)).to_pylist()
    assert (
        worker._encoder is not None
        and worker._encoder.batch_size == 2
        and [row["reason"] for row in found] == [None] * 3
    )
    found = worker(decoded(7, TOO_HEAVY, NOTHING, 9, 3)).to_pylist()
    assert [row["reason"] for row in found] == [None, "out_of_memory", "damaged", None, None]
    good = [row for row in found if row["reason"] is None]
    tokens = store.tokens([(row["file"], row["row"]) for row in good], LAYERS[0])
    assert tokens[:, 0, 0].tolist() == [7, 9, 3]


def test_other_errors_of_the_encoder_are_not_taken_for_memory(
    worker: EncodeBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Bright, *_: object) -> Encoded:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Bright, "__call__", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        worker(decoded(1))
