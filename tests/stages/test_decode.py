"""One block of files on its way to pixels: order, and bad files that cost their own row only."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.config import InputConfig
from pipeline.errors import StoreUnavailable
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.images import Quarantine, decode
from pipeline.images.decoder import Decoder
from pipeline.io.storage import Location
from pipeline.stages import decode as stage
from pipeline.stages.decode import DecodeBlock
from pipeline.views import View
from tests.corpus import CORPUS
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
            "region_uri": pa.nulls(len(contents), pa.string()),
            "region_etag": pa.nulls(len(contents), pa.string()),
            "key": list(contents),
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
