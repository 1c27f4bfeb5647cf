"""A published run: what its run.json lists is read and nothing else, and no other attempt writes over it."""

import json

import pyarrow as pa
import pytest

from pipeline.errors import DamagedFile, StorageError
from pipeline.io.parquet import write_parquet
from pipeline.io.storage import Location
from pipeline.schema.record import RunRecord
from pipeline.store.published import Published, file_record
from pipeline.store.run_folder import RunFolder
from tests.published import first_facts, record, row, stored


def attempt(folder: RunFolder, uri: str) -> RunFolder:
    """Begin an attempt, and write all that it leaves for readers but run.json."""
    begun = folder.begin_attempt()
    for what in ("catalog", "pixels", "metrics", "regions", "families", "parts"):
        (begun.results / begun.part(what)).write_bytes(write_parquet(pa.table({"of": [begun.attempt]})))
    (begun.results / begun.part("scores")).write_bytes(write_parquet(stored([row("nut", uri, 0.5)])))
    (begun.results / begun.part("metrics_json")).write_bytes(b"{}")
    (begun.output / begun.maps / "category=nut" / f"{uri}.png").write_bytes(b"map")
    (begun.report / "index.html").write_bytes(b"page")
    return begun


def publish(folder: RunFolder) -> Published:
    parts = {what: folder.part(what) for what in ("scores", "regions", "catalog", "pixels", "metrics")}
    files = {what: file_record(path, (folder.results / path).read_bytes()) for what, path in parts.items()}
    told = {"attempt": folder.attempt, "files": {what: of.model_dump() for what, of in files.items()}}
    run = record(folder.run_id, told)
    folder.publish(run)
    return Published(folder, run)


def contents(place: Location) -> dict[str, bytes]:
    return {entry.path: (place / entry.path).read_bytes() for entry in place.files()}


def test_each_attempt_has_names_of_its_own_and_the_first_the_plain_ones(place: Location) -> None:
    folder = RunFolder(place, "night")
    first, second = attempt(folder, "a"), attempt(folder, "b")
    assert (first.attempt, second.attempt) == (0, 1)
    assert sorted(contents(folder.results)) == [
        "catalog-1.parquet",
        "catalog.parquet",
        "families-1.parquet",
        "families.parquet",
        "maps-1/category=nut/b.png",
        "maps/category=nut/a.png",
        "metrics-1.json",
        "metrics-1.parquet",
        "metrics.json",
        "metrics.parquet",
        "parts-1.parquet",
        "parts.parquet",
        "pixels-1.parquet",
        "pixels.parquet",
        "regions-1.parquet",
        "regions.parquet",
        "report-1/index.html",
        "report/index.html",
        "scores/part-00000.parquet",
        "scores/part-00001.parquet",
    ]


@pytest.mark.parametrize("winner", [0, 1])
def test_the_attempt_that_creates_run_json_is_read_and_the_others_leave_nothing(place: Location, winner: int) -> None:
    folder = RunFolder(place, "night")
    attempts = attempt(folder, "a"), attempt(folder, "b")
    published, other = publish(attempts[winner]), attempts[1 - winner]
    assert published.scores()["uri"].to_pylist() == ["ab"[winner]]
    assert published.table("catalog")["of"].to_pylist() == [winner]
    kept = contents(folder.results)
    assert len(kept) == 11 and not folder.work.exists()
    # the other one wakes up, and goes on where it was
    for what in ("scores", "catalog"):
        (other.results / other.part(what)).write_bytes(b"late")
    with pytest.raises(StorageError, match="night was published by another process meanwhile, and stays as it is"):
        other.publish(record("night"))
    assert contents(folder.results) == kept


@pytest.mark.parametrize("what", ["scores", "regions", "catalog", "pixels", "metrics"])
@pytest.mark.parametrize("how", ["cut", "flipped", "another"])
def test_a_file_that_is_not_what_was_published_is_named(place: Location, what: str, how: str) -> None:
    published = publish(attempt(RunFolder(place, "night"), "a"))
    location = published.location(what)
    content = location.read_bytes()
    flipped = content[:50] + bytes([content[50] ^ 1]) + content[51:]
    other = write_parquet(stored([row("nut", "c", 0.1)]))
    location.write_bytes({"cut": content[:-10], "flipped": flipped, "another": other}[how])
    with pytest.raises(DamagedFile, match=f"{location} is damaged: it is not what run.json says; restore it"):
        published.table(what)


def test_a_run_that_listed_nothing_is_read_by_the_names_of_then(place: Location) -> None:
    folder = RunFolder(place, "old")
    (folder.results / "scores/part-00000.parquet").write_bytes(write_parquet(stored([row("nut", "a", 0.5)])))
    run = RunRecord.read(json.dumps(first_facts("old")).encode())
    assert Published(folder, run).scores()["uri"].to_pylist() == ["a"]
    with pytest.raises(DamagedFile, match="lists no metrics_json"):
        Published(folder, run).location("metrics_json")
