"""The folder of a run: published once, and latest.json names the run that ended last."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.io.storage import Location
from pipeline.schema.tables import VERSION
from pipeline.store.run_folder import RunFolder, latest_run
from tests.published import facts, first_facts, record

COUNT_THREADS = """
import os, sys
import pyarrow as pa
from pipeline.store.run_folder import read_table, write_table
from pipeline.io.storage import Location

location = Location.parse(sys.argv[1])
write_table(location, pa.table({"a": list(range(1000)), "b": ["text"] * 1000}))
before = len(os.listdir("/proc/self/task"))
assert read_table(location).num_rows == 1000
print(len(os.listdir("/proc/self/task")) - before)
"""


def publish(place: Location, run_id: str) -> RunFolder:
    folder = RunFolder(place, run_id)
    (folder.work / "settings.json").write_bytes(b"{}")
    folder.publish(record(run_id))
    return folder


def test_a_published_run_is_whole_named_and_leaves_no_work(place: Location) -> None:
    folder = publish(place, "one")
    assert folder.finished() == record("one")
    assert latest_run(place) == "one" and not folder.work.exists()


def test_the_run_that_was_published_last_is_the_newest_whoever_writes_last(tmp_path: Path) -> None:
    place = Location.parse(str(tmp_path))
    early = publish(place, "early")
    publish(place, "late")
    assert latest_run(place) == "late"
    os.utime(f"{early.results}/run.json", (0, 0))
    early.point_at_it()  # as its next start does, where it was killed after run.json
    assert latest_run(place) == "late"
    publish(place, "later")
    assert latest_run(place) == "later"


def test_a_run_is_published_once(place: Location) -> None:
    publish(place, "one")
    again = RunFolder(place, "one")
    with pytest.raises(StorageError, match="published by another process"):
        again.publish(record("one", {"layout": "other"}))
    assert again.finished() == record("one")


@pytest.mark.parametrize("damaged", [b"", b"[]", b"not json", b'{"run_id": "deleted"}'])
def test_a_latest_that_names_no_run_is_replaced(place: Location, damaged: bytes) -> None:
    (place / "latest.json").write_bytes(damaged)
    publish(place, "one")
    assert latest_run(place) == "one"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            json.dumps(facts("one") | {"version": VERSION + 1}),
            "was written by a newer version of LakeScore.*read it with that version",
        ),
        (json.dumps(facts("one") | {"tiles": 4}), "was written by a newer version of LakeScore: it has tiles; read it"),
        (json.dumps(first_facts("one") | {"tiles": 4}), "was written by a newer version of LakeScore: it has tiles"),
        (
            json.dumps(facts("one") | {"version": "two"}),
            "was written by a newer version of LakeScore: it is of version two",
        ),
        ("not json", "is damaged: .*; remove its run, or choose another output.run_id"),
        ("[]", "is damaged: it is no JSON object; remove its run"),
        (json.dumps(facts("one") | {"counts": {}}), "is damaged: counts.images: Field required; remove its run"),
    ],
)
def test_a_run_json_that_cannot_be_read_says_which_and_what_to_do(place: Location, content: str, said: str) -> None:
    folder = RunFolder(place, "one")
    (folder.results / "run.json").write_bytes(content.encode())
    with pytest.raises(StorageError, match=f"runs/run_id=one/run.json {said}"):
        folder.finished()


def test_reading_a_table_leaves_no_thread_behind_that_could_abort_a_process_at_its_end(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNT_THREADS, str(tmp_path / "table.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0\n", done.stderr
