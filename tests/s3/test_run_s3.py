"""A whole run from a bucket to a bucket."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.encoders.weights import local_weights
from pipeline.errors import EncoderError
from pipeline.io.storage import Location
from pipeline.run import score_lake
from pipeline.sample.weights import sample_weights
from tests.running import flags, parse, read_scores, run_job, settings, small_lake


def test_a_run_on_s3_gives_the_scores_of_the_run_on_disk(ray_here: None, bucket: str, tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", categories=("brick",), images=9)
    store = Location.parse(bucket)
    for path in lake.rglob("*.png"):
        (store / f"lake/{path.relative_to(lake)}").write_bytes(path.read_bytes())
    (store / "weights/vit.safetensors").write_bytes(sample_weights().read_bytes())

    score_lake(parse(flags(settings(lake, tmp_path / "out"))))
    there = settings(f"{bucket}/lake", f"{bucket}/out", encoder__weights=f"{bucket}/weights/vit.safetensors")
    cloud = run_job(*flags(there), "--quiet", env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert (cloud.returncode, cloud.stderr) == (0, "")  # not even Ray says a word

    expected = read_scores(tmp_path / "out")
    with (store / "out/runs/run_id=test/scores/part-00000.parquet").open() as file:
        found = pq.read_table(file).to_pandas()
    assert [uri.removeprefix(f"{bucket}/lake") for uri in found["uri"]] == [
        uri.removeprefix(str(lake)) for uri in expected["uri"]
    ]
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-6)
    assert found["etag"].str.len().eq(32).all()  # the store's own
    assert (store / "out/latest.json").exists() and not (store / "out/work").exists()


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
