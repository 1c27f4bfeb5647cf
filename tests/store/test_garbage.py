"""Features that no published run uses are dropped, and no others."""

import errno
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, StorageError
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.io.lock import RunLock
from pipeline.io.storage import Entry, Location
from pipeline.schema.record import GeometryRecord
from pipeline.schema.tables import IMAGE_STATS
from pipeline.store.features import FeatureStore, feature_key
from pipeline.store.garbage import Sweep, Tally, begun_runs, judge, sweep
from pipeline.store.run_folder import RunFolder, write_json, write_table
from pipeline.values import LakeValues
from tests.published import ENCODER, FINGERPRINT, publish, record, row, stored

JOB = Path(__file__).parents[2] / "jobs" / "collect_features.py"
OTHER = "fedcba9876543210"
OLD, BEFORE, YOUNG = 1_000_000_000.0, 1_100_000_000.0, 1_200_000_000.0
ENTRY = Entry("f/category=a/1.parquet", 100, "etag", modified=OLD)


def write_features(
    output: Path, *uris: str, category: str = "a", fingerprint: str = FINGERPRINT, seen: str = ""
) -> Path:
    """Write a block with the features of images, whose rows in a run are `row(category, uri, ...)`, long ago.

    Returns the file that makes it count.
    """
    store = FeatureStore(Location.parse(str(output / "features" / fingerprint)), (3, 2), 8, (2,), "float16")
    rows: dict[str, list[Any]] = {name: [1] * len(uris) for name in ("width", "height", *IMAGE_STATS.names)}
    rows |= {"key": [feature_key(uri, f"{uri}-1", fingerprint, seen) for uri in uris], "uri": list(uris)}
    tokens = np.zeros((len(uris), 1, 6, 8), np.float32)
    name = store.write(category, rows, tokens, np.zeros((len(uris), 5), np.float32))
    images, tokens_file = (output / "features" / fingerprint / part / name for part in ("images", "tokens"))
    for file in (images, tokens_file):
        os.utime(file, (OLD, OLD))
    return images


def bytes_of(images: Path) -> int:
    """Return the size of both files of a block."""
    return images.stat().st_size + Path(str(images).replace("/images/", "/tokens/")).stat().st_size


def at(output: Path) -> Location:
    return Location.parse(str(output))


def test_a_file_is_garbage_when_it_is_old_and_no_run_uses_any_of_its_keys() -> None:
    tally = Tally(1, 2, 100)
    assert judge("f", ENTRY, ["x", "y"], {"z"}, BEFORE) == Sweep("f", garbage=tally)
    assert judge("f", ENTRY, ["x", "y"], {"y", "z"}, BEFORE) == Sweep("f", kept=tally, spare=1)
    assert judge("f", ENTRY, ["x", "y"], {"x", "y"}, BEFORE) == Sweep("f", kept=tally)
    assert judge("f", ENTRY, ["x", "y"], set(), OLD) == Sweep("f", kept=tally, young=1)
    assert judge("f", ENTRY, None, {"x"}, BEFORE) == Sweep("f", garbage=Tally(1, 0, 100), damaged=1)
    assert judge("f", ENTRY, None, {"x"}, OLD) == Sweep("f", kept=Tally(1, 0, 100), young=1, damaged=1)


def test_a_file_that_any_run_uses_stays_and_an_unused_one_goes(tmp_path: Path) -> None:
    first, shared, unused = (write_features(tmp_path, *uris) for uris in [("1", "2"), ("3", "4"), ("5", "6")])
    kept, dropped = bytes_of(first) + bytes_of(shared), bytes_of(unused)
    publish(tmp_path, "one", [row("a", "1", 0.5), row("a", "2", 0.5), row("a", "3", 0.5)])
    publish(tmp_path, "two", [row("a", "1", 0.5)])
    [found] = sweep(at(tmp_path), BEFORE, drop=True)
    assert found == Sweep(FINGERPRINT, Tally(2, 4, kept), Tally(1, 2, dropped), spare=1)
    assert first.exists() and shared.exists() and not unused.exists()
    # Without the run that used it, the shared file is garbage too
    RunFolder(at(tmp_path), "one").results.remove()
    sweep(at(tmp_path), BEFORE, drop=True)
    assert first.exists() and not shared.exists()


def test_features_of_the_bits_and_channels_that_a_run_saw_stay_and_others_go(tmp_path: Path) -> None:
    values = LakeValues({"a": 12}, (2, 1, 0))
    used, plain = write_features(tmp_path, "1", seen=values.key("a")), write_features(tmp_path, "1")
    others = [write_features(tmp_path, "1", seen=seen) for seen in ("12bit", "10bit channels 2,1,0")]
    of_b = write_features(tmp_path, "2", category="b", seen=values.key("b"))
    settings = {"input": {"channels": [2, 1, 0]}}
    publish(tmp_path, "one", [row("a", "1", 0.5), row("b", "2", 0.5)], bits={"a": 12}, settings=settings)
    sweep(at(tmp_path), BEFORE, drop=True)
    assert used.exists() and of_b.exists()
    assert not any(file.exists() for file in (plain, *others))


def test_features_of_the_region_and_the_geometry_that_a_run_saw_stay_and_others_go(tmp_path: Path) -> None:
    tiles = Geometry(14, scale=0.5, tile=28, overlap=14)
    lake = LakeGeometry(Geometry(14, (28, 28)), {"b": tiles})
    used = write_features(tmp_path, "1", seen=lake.key("a", "m.png", "7"))
    of_b = write_features(tmp_path, "2", category="b", seen=lake.key("b"))
    others = [write_features(tmp_path, "1", seen=lake.key("a", *region)) for region in (("m.png", "8"), ("n.png", "7"))]
    others += [write_features(tmp_path, "1"), write_features(tmp_path, "2", category="b")]
    rows = [row("a", "1", 0.5, region_uri="m.png", region_etag="7"), row("b", "2", 0.5)]
    publish(
        tmp_path, "one", rows, views={"b": {n: v for n, v in vars(tiles).items() if n in GeometryRecord.model_fields}}
    )
    sweep(at(tmp_path), BEFORE, drop=True)
    assert used.exists() and of_b.exists()
    assert not any(file.exists() for file in others)


def test_turned_features_stay_while_a_run_turns_references(tmp_path: Path) -> None:
    lake = LakeGeometry(Geometry(14, (28, 28)))
    seen = {angle: replace(lake, turned=angle).key("a", "m.png", "7") for angle in (45, 90, 180, 270)}
    files = {angle: write_features(tmp_path, "1", seen=seen) for angle, seen in seen.items()}
    strange = write_features(tmp_path, "9", seen=replace(lake, turned=90).key("a"))
    upright = write_features(tmp_path, "1", seen=lake.key("a", "m.png", "7"))
    # yesterday's night did not turn, and has the rows of tonight's references
    publish(tmp_path, "one", [row("a", "1", 0.5, region_uri="m.png", region_etag="7")])
    publish(tmp_path, "two", [row("a", "2", 0.5)], settings={"references": {"turns": 4}})
    sweep(at(tmp_path), BEFORE, drop=True)
    assert [angle for angle, file in files.items() if file.exists()] == [90, 180, 270]
    assert upright.exists() and not strange.exists()
    RunFolder(at(tmp_path), "two").results.remove()
    sweep(at(tmp_path), BEFORE, drop=True)
    assert upright.exists() and not any(file.exists() for file in files.values())


def test_a_dry_run_finds_the_same_and_drops_nothing(tmp_path: Path) -> None:
    file = write_features(tmp_path, "1")
    dry = sweep(at(tmp_path), BEFORE, drop=False)
    assert file.exists() and dry[0].garbage.files == 1
    assert sweep(at(tmp_path), BEFORE, drop=True) == dry and not file.exists()


def test_young_files_stay_whoever_uses_them(tmp_path: Path) -> None:
    young, old = write_features(tmp_path, "1"), write_features(tmp_path, "2")
    os.utime(young, (YOUNG, YOUNG))
    [found] = sweep(at(tmp_path), BEFORE, drop=True)
    assert young.exists() and not old.exists() and (found.young, found.garbage.files) == (1, 1)


def test_only_the_same_image_content_encoder_and_category_is_a_use(tmp_path: Path) -> None:
    other_encoder = write_features(tmp_path, "1", fingerprint=OTHER)
    other_category = write_features(tmp_path, "1", category="b")
    changed, quarantined = write_features(tmp_path, "2"), write_features(tmp_path, "3")
    used = write_features(tmp_path, "1")
    rows = [row("a", "1", 0.5), row("a", "2", 0.5, etag="new"), row("a", "3", None, reason="alone"), row("b", "4", 0.5)]
    publish(tmp_path, "one", rows)
    found = sweep(at(tmp_path), BEFORE, drop=True)
    assert [(of.fingerprint, of.kept.files, of.garbage.files) for of in found] == [(FINGERPRINT, 1, 3), (OTHER, 0, 1)]
    assert used.exists()
    assert not any(file.exists() for file in (other_encoder, other_category, changed, quarantined))


def test_runs_of_each_encoder_keep_their_own_features_in_folders_of_any_name(tmp_path: Path) -> None:
    category = "a=b/%20 é" + "x" * 300
    files = [write_features(tmp_path, "1", category=category, fingerprint=name) for name in (FINGERPRINT, OTHER)]
    publish(tmp_path, "one", [row(category, "1", 0.5)])
    publish(tmp_path, "two", [row(category, "1", 0.5)], encoder=ENCODER | {"fingerprint": OTHER})
    assert [of.garbage for of in sweep(at(tmp_path), BEFORE, drop=True)] == [Tally(), Tally()]
    assert all(file.exists() for file in files)


def not_parquet(content: bytes) -> bytes:
    return b"PAR1 no more"


def no_key(content: bytes) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"other": ["x"]}), sink)
    return sink.getvalue()


def broken_footer(content: bytes) -> bytes:
    length = int.from_bytes(content[-8:-4], "little")
    return content[: -8 - length] + b"\xff" * length + content[-8:]


@pytest.mark.parametrize("damage", [not_parquet, no_key, broken_footer])
def test_a_damaged_file_goes_when_it_is_old(tmp_path: Path, damage: Any) -> None:
    file, neighbour = write_features(tmp_path, "1"), write_features(tmp_path, "2")
    file.write_bytes(damage(file.read_bytes()))
    os.utime(file, (OLD, OLD))
    publish(tmp_path, "one", [row("a", "1", 0.5), row("a", "2", 0.5)])
    [young] = sweep(at(tmp_path), OLD, drop=True)
    assert (young.damaged, young.young) == (1, 1) and file.exists()
    [found] = sweep(at(tmp_path), BEFORE, drop=True)
    assert (found.damaged, found.kept.files, found.garbage.files) == (1, 1, 1)
    assert neighbour.exists() and not file.exists()


def test_a_store_that_fails_while_a_file_is_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_features(tmp_path, "1")

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "the store does not answer")

    def gone(self: Location) -> bytes:
        raise StorageError(f"cannot read {self}: the store does not answer")

    monkeypatch.setattr(Location, "open", lambda self: Failing(b"x" * 1000))
    with pytest.raises(StorageError, match="does not answer"):
        sweep(at(tmp_path), BEFORE, drop=True)
    monkeypatch.setattr(Location, "read_bytes", gone)
    with pytest.raises(StorageError, match="does not answer"):
        sweep(at(tmp_path), BEFORE, drop=True)
    assert file.exists()


def test_a_run_that_is_published_later_keeps_what_was_garbage_before(tmp_path: Path) -> None:
    file = write_features(tmp_path, "1")
    assert sweep(at(tmp_path), BEFORE, drop=False)[0].garbage.files == 1
    folder = publish(tmp_path, "one", [row("a", "1", 0.5)])
    run_json = Path(folder.results.uri) / "run.json"
    content = run_json.read_bytes()
    run_json.unlink()  # scores without run.json are no run
    assert sweep(at(tmp_path), BEFORE, drop=False)[0].garbage.files == 1
    run_json.write_bytes(content)
    assert sweep(at(tmp_path), BEFORE, drop=True)[0].garbage.files == 0 and file.exists()


def test_a_run_published_while_features_are_listed_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_features(tmp_path, "1")
    files = Location.files

    def slow(self: Location) -> Any:
        yield from files(self)
        if self.path.endswith("/features"):
            publish(tmp_path, "one", [row("a", "1", 0.5)])

    monkeypatch.setattr(Location, "files", slow)
    assert sweep(at(tmp_path), BEFORE, drop=True)[0].garbage.files == 0 and file.exists()


def test_what_was_written_since_an_unpublished_run_began_stays(tmp_path: Path) -> None:
    before_it, since = write_features(tmp_path, "1"), write_features(tmp_path, "2")
    os.utime(since, (OLD + 200, OLD + 200))
    folder = RunFolder(at(tmp_path), "long")
    for number, name in enumerate(("settings.json", "units.json")):
        write_json(folder.work / name, {})
        os.utime(Path((folder.work / name).uri), (OLD + 100 * (number + 1), OLD + 100 * (number + 1)))
    assert begun_runs(at(tmp_path)) == {"long": OLD + 100}
    sweep(at(tmp_path), BEFORE, drop=True)
    assert since.exists() and not before_it.exists()
    publish(tmp_path, "long", [])
    write_json(folder.work / "settings.json", {})  # left behind by a run that was cut short as it was published
    assert begun_runs(at(tmp_path)) == {}


def test_a_run_that_cannot_be_read_stops_the_sweep(tmp_path: Path) -> None:
    file = write_features(tmp_path, "1")
    folder = publish(tmp_path, "one", [])
    scores = Path(folder.results.uri) / "scores" / "part-00000.parquet"
    scores.write_bytes(b"PAR1 no more")
    with pytest.raises(StorageError, match="cannot read .*part-00000.parquet"):
        sweep(at(tmp_path), BEFORE, drop=True)
    scores.unlink()
    with pytest.raises(StorageError, match="cannot read .*part-00000.parquet: there is no such file"):
        sweep(at(tmp_path), BEFORE, drop=True)
    assert file.exists()


def test_the_scores_that_run_json_lists_count_and_no_others(tmp_path: Path) -> None:
    file, other = write_features(tmp_path, "1"), write_features(tmp_path, "2")
    folder = RunFolder(at(tmp_path), "one", attempt=1)
    for attempt, uri in ((0, "2"), (1, "1")):
        write_table(folder.results / replace(folder, attempt=attempt).part("scores"), stored([row("a", uri, 0.5)]))
    files = {"scores": {"path": "scores/part-00001.parquet", "size": None, "sha256": None}}
    folder.publish(record("one", {"attempt": 1, "files": files}))
    sweep(at(tmp_path), BEFORE, drop=True)
    assert file.exists() and not other.exists()


def test_what_is_not_a_file_of_features_is_left_alone(tmp_path: Path) -> None:
    write_features(tmp_path, "1")
    strangers = [tmp_path / "features" / name for name in ("note.parquet", f"{FINGERPRINT}/images/category=a/note.txt")]
    for stranger in strangers:
        stranger.write_bytes(b"x")
        os.utime(stranger, (OLD, OLD))
    assert sweep(at(tmp_path), BEFORE, drop=True)[0].garbage.files == 1
    assert all(stranger.exists() for stranger in strangers)


def test_an_output_without_features_is_an_error(tmp_path: Path) -> None:
    publish(tmp_path, "one", [])
    with pytest.raises(ConfigError, match="there are no features below"):
        sweep(at(tmp_path), BEFORE, drop=True)


def job(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(JOB), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_job_is_dry_by_default_and_says_what_it_did(tmp_path: Path) -> None:
    file, young = write_features(tmp_path, "1"), write_features(tmp_path, "2", "3")
    os.utime(young)
    for parent, when in ((file.parent, OLD), (young.parent, time.time())):  # of killed processes, and of one at work
        partial = parent / f".{len(str(when)):032x}.partial"
        partial.write_bytes(b"half")
        os.utime(partial, (when, when))
    done = job(str(tmp_path))
    assert done.returncode == 0 and file.exists(), done.stderr
    heading, _, line, *notes = done.stdout.splitlines()
    assert heading.split("  ")[-1] == "MB to drop" and line.split() == [FINGERPRINT, "1", "2", "0.0", "1", "1", "0.0"]
    assert notes == [
        "files that no run uses, kept as a run that is not published may (see --hours): 1",
        "files that killed processes were writing, to drop: 1",
        "a dry run: nothing was dropped; --apply drops",
    ]
    told = json.loads(job(str(tmp_path), "--json").stdout)
    assert (told["dropped"], told["unfinished"], told["begun"]) == (False, 1, {})
    assert [(of["fingerprint"], of["garbage"]["files"]) for of in told["features"]] == [(FINGERPRINT, 1)]
    done = job(str(tmp_path), "--apply")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "dropped" and not file.exists() and young.exists()
    assert len(list(tmp_path.rglob(".*.partial"))) == 1
    assert job(str(tmp_path), "--apply", "--hours=0").returncode == 0 and not young.exists()
    done = job(str(tmp_path))
    assert done.returncode == 2 and "there are no features below" in done.stderr


def test_a_damaged_file_is_found_in_its_tokens_too_but_not_in_a_hurry(tmp_path: Path) -> None:
    images = write_features(tmp_path, "1")
    publish(tmp_path, "one", [row("a", "1", 0.5)])
    tokens = Path(str(images).replace("/images/", "/tokens/"))
    content = tokens.read_bytes()
    tokens.write_bytes(content[:60] + b"\xff" + content[61:])
    os.utime(tokens, (OLD, OLD))
    told = json.loads(job(str(tmp_path), "--json", "--quick").stdout)
    assert told["features"][0]["damaged"] == 0
    done = job(str(tmp_path), "--apply")
    assert "damaged files: 1" in done.stdout and f"{tokens} is damaged" in done.stderr
    assert not images.exists() and not tokens.exists()


def test_nothing_is_dropped_while_a_run_is_at_work(tmp_path: Path) -> None:
    file = write_features(tmp_path, "1")
    with RunLock(at(tmp_path), "night"):
        done = job(str(tmp_path), "--apply")
        assert done.returncode == 4 and "1 runs are at work, such as night" in done.stderr and file.exists()
        assert job(str(tmp_path)).returncode == 0
    assert job(str(tmp_path), "--apply").returncode == 0 and not file.exists()
