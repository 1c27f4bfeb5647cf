"""Keys that may do less than everything: what they may not do is said early."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.io import bucket as storage
from pipeline.io.storage import Location
from tests.running import flags, settings, small_lake
from tests.s3.conftest import SECRET, Grant, Key, run_as


@pytest.fixture
def results(bucket: str) -> str:
    """The address of a second bucket, for the output."""
    name = f"{bucket.removeprefix('s3://')}-results"
    storage.client().create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def lake(bucket: str, tmp_path: Path) -> Iterator[str]:
    """The address of a small lake in a bucket."""
    folder = small_lake(tmp_path / "lake", categories=("brick",), images=6)
    lake = Location.parse(bucket) / "parts"
    for path in folder.rglob("*.png"):
        (lake / f"{path.relative_to(folder)}").write_bytes(path.read_bytes())
    yield lake.uri


def test_a_key_that_may_only_read_ends_the_run_before_anything_is_encoded(
    ray_here: None, bucket: str, lake: str, results: str, reader: Key, grant: Grant
) -> None:
    grant(bucket, [reader], [])
    grant(results, [reader], [])
    done = run_as(reader, *flags(settings(lake, f"{results}/scores")))
    assert done.returncode == 1
    assert f"cannot write {results}/scores/locks/test.000001.json: access denied" in done.stderr
    assert "extract" not in done.stderr and "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert list(Location.parse(results).files()) == []


def test_a_key_that_may_not_see_the_output_ends_the_run_before_anything_is_listed(
    bucket: str, lake: str, results: str, reader: Key, grant: Grant
) -> None:
    grant(bucket, [reader], [])
    done = run_as(reader, *flags(settings(lake, f"{results}/scores")))
    assert done.returncode == 1
    assert f"cannot read {results}/scores/runs/run_id=test/run.json: access denied" in done.stderr
    assert "catalog" not in done.stderr and "Traceback" not in done.stderr


def test_a_key_that_may_not_list_the_lake_ends_the_run(lake: str, results: str, scorer: Key, grant: Grant) -> None:
    grant(results, [scorer], [scorer])
    done = run_as(scorer, *flags(settings(lake, f"{results}/scores")))
    assert done.returncode == 1
    assert f"cannot read {lake}: access denied" in done.stderr
    assert "extract" not in done.stderr and "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert list(Location.parse(results).files()) == []  # the lock is gone, too
