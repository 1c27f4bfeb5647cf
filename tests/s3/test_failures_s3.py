"""A whole run over a store that refuses requests, cuts them, goes away, and replaces an image while it is read."""

import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.io.storage import Location
from tests.cluster.test_same_scores import largest_difference
from tests.conftest import PlainRun
from tests.running import flags, run_job, settings
from tests.s3.proxy import FaultyProxy


def put(lake: Path, there: Location) -> None:
    for path in lake.rglob("*.png"):
        (there / str(path.relative_to(lake))).write_bytes(path.read_bytes())


def scores_of(output: Location) -> Any:
    with (output / "runs/run_id=test/scores/part-00000.parquet").open() as file:
        return pq.read_table(file).to_pandas()


@pytest.mark.timeout(600)
def test_a_store_that_fails_and_goes_away_changes_no_score(
    plain_run: PlainRun, bucket: str, faulty: FaultyProxy
) -> None:
    """A tenth of the requests fail, uploads and downloads are cut, the store is gone for 20 s, an image changes."""
    lake, there = plain_run.lake, Location.parse(bucket)
    put(lake, there / "lake")
    replaced = there / "lake" / "brick" / "test" / "good" / "replaced.png"
    replaced.write_bytes((lake / "brick" / "test" / "good" / "000.png").read_bytes())

    gone = threading.Event()

    def happens(method: str, path: str) -> None:
        if method == "GET" and path.endswith("replaced.png"):
            replaced.write_bytes(b"another image")
        if method == "PUT" and "/tokens/" in path and not gone.is_set():  # in the middle of the run
            gone.set()
            threading.Thread(target=faulty.down).start()
            threading.Timer(20, faulty.up).start()

    faulty.on_request(happens)
    faulty.fail(0.1)
    faulty.cut_uploads(3)
    faulty.cut_downloads(3)
    done = run_job(*flags(settings(f"{bucket}/lake", f"{bucket}/out", report__images=20)), env=faulty.environment)
    assert done.returncode == 0, done.stderr
    assert gone.is_set() and faulty.faults["cut_upload"] == 3 and faulty.faults["fail"] > 10, faulty.faults

    scores = scores_of(there / "out")
    assert scores["uri"].is_unique and len(scores) == 25
    [changed] = scores[scores["status"] == "quarantined"].to_dict("records")
    assert changed["uri"] == replaced.uri and changed["reason"] == "changed"
    good = scores[scores["status"] == "scored"].reset_index(drop=True)
    good["uri"] = [uri.replace(f"{bucket}/lake", str(lake)) for uri in good["uri"]]
    assert largest_difference(plain_run.scores, good) <= 1e-6
    assert not (there / "out/work").exists() and not (there / "out/locks").exists()
