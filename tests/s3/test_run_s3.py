"""A whole run from a bucket to a bucket."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.encoders.weights import local_weights
from pipeline.errors import EncoderError
from pipeline.io.storage import Location
from tests.conftest import PlainRun
from tests.s3.conftest import SECRET, Night


def test_a_key_that_may_read_the_lake_and_write_the_results_is_enough(night: Night) -> None:
    assert night.done.returncode == 0, night.done.stderr
    assert "scores/latest.json" in night.results and not any("/work/" in name for name in night.results)


def test_a_run_on_s3_gives_the_scores_of_the_run_on_disk(night: Night, plain_run: PlainRun) -> None:
    expected = plain_run.scores
    found = pq.read_table(io.BytesIO(night.results["scores/runs/run_id=test/scores/part-00000.parquet"])).to_pandas()
    assert [uri.removeprefix("s3://lake/parts") for uri in found["uri"]] == [
        uri.removeprefix(str(plain_run.lake)) for uri in expected["uri"]
    ]
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-6)
    assert found["etag"].str.len().eq(32).all()  # the store's own


def said_in(name: str, content: bytes) -> bytes:
    """Return what a file says: Parquet compresses, and would hide it."""
    if not name.endswith(".parquet"):
        return content
    table = pq.read_table(io.BytesIO(content))
    return f"{table.schema} {table.schema.metadata} {table.to_pylist()}".encode()


def test_a_run_leaves_no_trace_of_its_credentials(night: Night) -> None:
    assert night.done.returncode == 0, night.done.stderr
    assert night.key["AWS_SECRET_ACCESS_KEY"].startswith(SECRET) and night.key["AWS_SESSION_TOKEN"].startswith(SECRET)
    assert SECRET not in night.done.stdout + night.done.stderr
    assert any(name.endswith("run.json") for name in night.results)
    assert [name for name, content in night.results.items() if SECRET.encode() in said_in(name, content)] == []


def test_weights_in_a_bucket_are_fetched_once(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    location = Location.parse(bucket) / "vit.safetensors"
    location.write_bytes(b"weights")
    first = local_weights(location.uri, None)
    assert first is not None and first.path.read_bytes() == b"weights"
    location.write_bytes(b"other weights")
    second = local_weights(location.uri, None)
    assert second is not None and second != first and second.path.read_bytes() == b"other weights"


def test_weights_that_are_replaced_while_they_are_fetched_are_not_taken(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    location = Location.parse(bucket) / "vit.safetensors"
    location.write_bytes(b"weights")
    before = location.entry()
    monkeypatch.setattr(Location, "entry", lambda _: before)
    location.write_bytes(b"others")
    with pytest.raises(EncoderError, match="vit.safetensors cannot be read: .*it changed"):
        local_weights(location.uri, None)
    assert not list(tmp_path.rglob("*.safetensors"))
