"""The folder of a run: published once, and latest.json names the run that ended last."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.lake.run import RunFolder, latest_run
from pipeline.lake.storage import Location

COUNT_THREADS = """
import os, sys
import pyarrow as pa
from pipeline.lake.run import read_table, write_table
from pipeline.lake.storage import Location

location = Location.parse(sys.argv[1])
write_table(location, pa.table({"a": list(range(1000)), "b": ["text"] * 1000}))
before = len(os.listdir("/proc/self/task"))
assert read_table(location).num_rows == 1000
print(len(os.listdir("/proc/self/task")) - before)
"""


def publish(place: Location, run_id: str, finished: str) -> RunFolder:
    folder = RunFolder(place, run_id)
    (folder.work / "settings.json").write_bytes(b"{}")
    folder.publish({"run_id": run_id, "finished": finished})
    return folder


def test_a_published_run_is_whole_named_and_leaves_no_work(place: Location) -> None:
    folder = publish(place, "one", "2026-01-01T00:00:00+00:00")
    assert folder.finished() == {"run_id": "one", "finished": "2026-01-01T00:00:00+00:00"}
    assert latest_run(place) == "one" and not folder.work.exists()


def test_the_run_that_ended_last_is_the_newest_whoever_writes_last(place: Location) -> None:
    publish(place, "late", "2026-01-02T00:00:00+00:00")
    publish(place, "early", "2026-01-01T00:00:00+00:00")
    assert latest_run(place) == "late"
    publish(place, "later", "2026-01-03T00:00:00+00:00")
    assert latest_run(place) == "later"


def test_a_run_is_published_once(place: Location) -> None:
    publish(place, "one", "2026-01-01T00:00:00+00:00")
    with pytest.raises(StorageError, match="published by another process"):
        publish(place, "one", "2026-01-05T00:00:00+00:00")
    assert json.loads((place / "runs/run_id=one/run.json").read_bytes())["finished"].startswith("2026-01-01")


@pytest.mark.parametrize("damaged", [b"", b"[]", b"not json"])
def test_a_damaged_latest_is_replaced(place: Location, damaged: bytes) -> None:
    (place / "latest.json").write_bytes(damaged)
    publish(place, "one", "2026-01-01T00:00:00+00:00")
    assert latest_run(place) == "one"


def test_reading_a_table_leaves_no_thread_behind_that_could_abort_a_process_at_its_end(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNT_THREADS, str(tmp_path / "table.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0\n", done.stderr
