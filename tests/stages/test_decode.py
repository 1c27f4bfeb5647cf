"""One block of files on its way to pixels: order, and bad files that cost their own row only."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.config import InputConfig
from pipeline.errors import StoreUnavailable
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.images import Quarantine, decode
from pipeline.images.decoder import Decoder
from pipeline.io.storage import Location
from pipeline.schema.table import set_columns
from pipeline.stages import decode as stage
from pipeline.stages.decode import DecodeBlock
from pipeline.store.checks import counted_in
from pipeline.views import View
from tests.corpus import CORPUS, encoded
from tests.decoders import misbehave

SIDE = 32
PATCH = 8
VIEW = View((SIDE, SIDE))
GEOMETRY = LakeGeometry(Geometry(PATCH, (SIDE, SIDE)))
CONFIG = InputConfig(uri="lake", max_pixels=1_000_000, max_bytes=1_000_000)


def block(folder: Path, contents: dict[str, bytes]) -> pa.Table:
    """Write files and list them as the catalog does."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    entries = [Location.parse(str(folder / name)).entry() for name in contents]
    return pa.table(
        {
            "uri": [str(folder / name) for name in contents],
            "etag": [entry.etag for entry in entries],
            "size": pa.array([entry.size for entry in entries], pa.int64()),
            "category": ["part"] * len(contents),
            **{name: pa.nulls(len(contents), pa.string()) for name in ("region_uri", "region_etag")},
            "key": list(contents),
            "region_uri": pa.nulls(len(contents), pa.string()),
            "region_etag": pa.nulls(len(contents), pa.string()),
        }
    )


def decode_block(files: pa.Table, config: InputConfig = CONFIG) -> pa.Table:
    worker = DecodeBlock(config, GEOMETRY)
    worker.setup("cpu", 1)
    return worker(files)


@pytest.fixture
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with closing(Decoder(60, 1 << 30, misbehave)) as decoder:
        monkeypatch.setattr(stage, "decoder_of", lambda *_: decoder)
        yield


def test_every_row_has_the_pixels_or_the_reason_of_its_own_file(tmp_path: Path) -> None:
    contents = {name: content for name, (content, _) in CORPUS.items()}
    rows = decode_block(block(tmp_path, contents)).to_pylist()
    assert [row["key"] for row in rows] == list(contents)
    for row, content in zip(rows, contents.values(), strict=True):
        try:
            pixels, size = decode(content, VIEW, CONFIG.max_pixels)
        except Quarantine as error:
            assert (row["reason"], row["detail"]) == (error.reason, error.detail)
            assert row["pixels"] is row["width"] is row["height"] is row["rows"] is row["columns"] is None
        else:
            assert row["pixels"] == pixels.tobytes()
            assert (row["width"], row["height"]) == size
            assert (row["rows"], row["columns"], row["counted"]) == (SIDE // PATCH, SIDE // PATCH, None)
            assert row["reason"] is row["detail"] is None


@pytest.mark.usefixtures("misbehaving")
def test_image_that_ends_the_decoder_costs_no_other_row(tmp_path: Path) -> None:
    contents = {"a": b"first", "b": b"segfault", "c": b"second", "d": b"allocate", "e": b"third"}
    found = decode_block(block(tmp_path, contents))
    assert found["reason"].to_pylist() == [None, "crashed", None, "out_of_memory", None]
    assert [pixels and pixels[:1] for pixels in found["pixels"].to_pylist()] == [b"f", None, b"s", None, b"t"]


def test_file_that_cannot_be_read_costs_no_other_row(tmp_path: Path) -> None:
    good = CORPUS["good.png"][0]
    files = block(tmp_path, {"a": good, "b": good, "c": good})
    (tmp_path / "b").unlink()
    found = decode_block(files)
    assert found["reason"].to_pylist() == [None, "unreadable", None]
    assert found["detail"][1].as_py() == f"cannot read {tmp_path / 'b'}: there is no such file or object"


def test_file_that_was_replaced_since_it_was_listed_is_not_taken_for_the_listed_one(tmp_path: Path) -> None:
    good = CORPUS["good.png"][0]
    files = block(tmp_path, {"a": good, "b": good})
    (tmp_path / "b").write_bytes(good + b"\0")
    found = decode_block(files)
    assert found["reason"].to_pylist() == [None, "changed"]
    assert "it changed since it was listed" in found["detail"][1].as_py()


def test_store_that_is_gone_is_no_image_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Location, etag: str) -> bytes:
        raise StoreUnavailable(f"cannot read {self}: tried for 120 s")

    files = block(tmp_path, {"a": CORPUS["good.png"][0]})
    monkeypatch.setattr(Location, "read_bytes", gone)
    with pytest.raises(StoreUnavailable, match="tried for 120 s"):
        decode_block(files)


def test_file_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    good = CORPUS["good.png"][0]
    files = block(tmp_path, {"at the limit": good, "above": good + b"\0"})
    (tmp_path / "above").unlink()
    config = CONFIG.model_copy(update={"max_bytes": len(good)})
    found = decode_block(files, config)
    assert found["reason"].to_pylist() == [None, "too_large"]
    assert found["detail"][1].as_py() == f"{len(good) + 1} bytes, the limit is {len(good)}"


def with_region(files: pa.Table, mask: Path | None) -> pa.Table:
    """Return a block whose images are looked at by a mask."""
    if mask is None:
        return files
    told = {"region_uri": str(mask), "region_etag": Location.parse(str(mask)).entry().etag}
    return set_columns(files, {name: pa.array([value] * files.num_rows) for name, value in told.items()})


def white(path: Path, left: int, top: int, right: int, bottom: int) -> Path:
    """Write a black mask of 64 x 64 pixels with a white box."""
    mask = Image.new("L", (64, 64))
    mask.paste(255, (left, top, right, bottom))
    mask.save(path)
    return path


def counts(row: dict[str, Any], side: int = 4) -> NDArray[np.bool_]:
    return counted_in(row["counted"], side * side).reshape(side, side)


@pytest.mark.parametrize("turned", [0, 90])
def test_a_region_says_which_patches_count(turned: int, tmp_path: Path) -> None:
    files = block(tmp_path, {"a.png": encoded(Image.new("RGB", (50, 50)), "PNG")})
    files = with_region(files, white(tmp_path / "m.png", 0, 0, 64, 16))  # the upper row
    [row] = DecodeBlock(CONFIG, replace(GEOMETRY, turned=turned))(files).to_pylist()
    expected = np.zeros((4, 4), bool)
    expected[0] = True
    assert np.array_equal(counts(row), np.rot90(expected, -turned // 90)) and row["reason"] is None


def test_by_an_eighth_those_count_that_are_in_the_region_and_in_the_image(tmp_path: Path) -> None:
    files = block(tmp_path, {"a.png": encoded(Image.new("RGB", (50, 50)), "PNG")})
    geometry = LakeGeometry(Geometry(4, (SIDE, SIDE)), turned=45)
    found = [
        counts(DecodeBlock(CONFIG, geometry)(with_region(files, mask)).to_pylist()[0], 8)
        for mask in (None, white(tmp_path / "all.png", 0, 0, 64, 64), white(tmp_path / "half.png", 0, 0, 64, 32))
    ]
    inside = View((SIDE, SIDE), (8, 8), turned=45).inside
    assert inside is not None and np.array_equal(found[0].ravel(), inside) and np.array_equal(found[1], found[0])
    assert 0 < found[2].sum() < found[0].sum() and not (found[2] & ~found[0]).any()


@pytest.mark.parametrize("mask", [None, (0, 0, 8, 8)])
def test_of_what_turns_out_of_sight_a_row_says_so(mask: tuple[int, int, int, int] | None, tmp_path: Path) -> None:
    """Scoring would find an image without any patch: a small grid has none inside, nor has a region in a corner."""
    files = block(tmp_path, {"a.png": encoded(Image.new("RGB", (50, 50)), "PNG")})
    geometry = LakeGeometry(Geometry(16 if mask is None else 4, (SIDE, SIDE)), turned=45)
    files = with_region(files, None if mask is None else white(tmp_path / "m.png", *mask))
    [row] = DecodeBlock(CONFIG, geometry)(files).to_pylist()
    assert row["pixels"] is None and row["reason"] == "too_small"
    assert "left to look at" in row["detail"] or "covers half of no patch" in row["detail"]
