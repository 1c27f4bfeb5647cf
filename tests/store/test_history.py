"""What is kept of earlier runs: which runs count, and which of several rows of one image."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import StoreUnavailable
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.io.parquet import write_parquet
from pipeline.io.storage import Location
from pipeline.schema.record import OLD_FILES, GeometryRecord
from pipeline.schema.table import TableSchema
from pipeline.schema.tables import FAMILIES, KEPT, REGIONS, SCORES
from pipeline.store.history import History, read_history
from pipeline.store.published import Published, file_record
from pipeline.store.run_folder import RunFolder, write_json, write_table
from pipeline.values import LakeValues
from tests.published import ENCODER, record

SETTINGS: dict[str, Any] = {
    "input": {"uri": "lake", "max_pixels": 100, "max_bytes": 1000},
    "encoder": {"name": "timm:any", "store": "fp16"},
    "method": {"degrees": [1, 3]},
    "references": {"source": "window"},
    "search": {"dtype": "fp32"},
    "decision": {"image": {"rule": "quantile"}},
}
TONIGHT = datetime(2026, 3, 8, 1, tzinfo=UTC)
SINCE = TONIGHT - timedelta(days=7)
EARLY = TableSchema("Scores.", SCORES.only("uri", "etag", "category", "status", "score_raw", "scored_at"))


def image(uri: str, score: float | None, etag: str = "1", category: str = "nut") -> dict[str, Any]:
    """Return a row of scores; without a score, it was quarantined."""
    status = "quarantined" if score is None else "scored"
    return {"uri": uri, "etag": etag, "category": category, "status": status, "score_raw": score}


def publish(
    output: Location,
    run_id: str,
    rows: Sequence[dict[str, Any]],
    days_ago: float = 1,
    kept: dict[str, list[Any]] | None = None,
    fingerprint: str = "f",
    changed: dict[str, Any] | None = None,
    bits: dict[str, int] | None = None,
    regions: Sequence[dict[str, Any]] | None = None,
    families: Sequence[dict[str, Any]] = (),
    views: Mapping[str, Geometry] | None = None,
) -> RunFolder:
    """Publish a run that ended so many days ago, its rows with a manifest's further columns."""
    finished = TONIGHT - timedelta(days=days_ago)
    scored_at = [None if row["score_raw"] is None else finished for row in rows]
    timed = [{"scored_at": at} | row for row, at in zip(rows, scored_at, strict=True)]
    table = EARLY.rows(timed)
    for name, values in (kept or {}).items():
        table = table.append_column(name, pa.array(values))
    folder = RunFolder(output, run_id)
    write_table(folder.results / "scores" / "part-00000.parquet", table)
    counts = pa.array([[len(rows), 0, 1]], pa.list_(pa.int64()))
    write_table(folder.results / "pixels.parquet", pa.table({"category": ["nut"], "counts": counts}))
    told = {"encoder": ENCODER | {"fingerprint": fingerprint}, "settings": SETTINGS | (changed or {})}
    if regions is not None:
        files: dict[str, Any] = {what: {"path": path, "size": None, "sha256": None} for what, path in OLD_FILES.items()}
        for what, of in {"regions": REGIONS.rows(regions), "families": FAMILIES.rows(families)}.items():
            (folder.results / f"{what}.parquet").write_bytes(content := write_parquet(of))
            files[what] = file_record(f"{what}.parquet", content).model_dump()
        told["files"] = files
    told["views"] = {
        category: {name: value for name, value in vars(of).items() if name in GeometryRecord.model_fields}
        for category, of in (views or {}).items()
    }
    folder.publish(record(run_id, told | {"bits": bits or {}, "finished": finished.isoformat(timespec="seconds")}))
    return folder


USUAL = Geometry(14, (518, 518))


def read(output: Location, since: datetime = SINCE, until: datetime | None = None) -> History:
    return read_history(output, since, "f", SETTINGS, LakeGeometry(USUAL), until)


def found(output: Location) -> dict[tuple[str, str], float | None]:
    rows = read(output).rows
    assert rows is not None
    kept = {(row["uri"], row["etag"]): row["score_raw"] for row in rows.to_pylist()}
    assert len(kept) == rows.num_rows
    return kept


def test_where_nothing_ran_there_is_no_history(place: Location) -> None:
    for output in (place, place / "absent"):
        nothing = read(output)
        assert nothing.rows is None and nothing.scored() is None and nothing.pixels == {}


def test_rows_of_several_runs_stand_together_and_their_pixels_are_added(place: Location) -> None:
    publish(place, "one", [image("a", 0.25), image("b", None)], days_ago=3)
    publish(place, "two", [image("c", 0.75, category="größe/ #1")], days_ago=2)
    whole = read(place)
    assert found(place) == {("a", "1"): 0.25, ("b", "1"): None, ("c", "1"): 0.75}
    scored = whole.scored()
    assert scored is not None and scored["uri"].to_pylist() == ["a", "c"]
    assert scored["category"].to_pylist() == ["nut", "größe/ #1"] and scored["same"].to_pylist() == [True, True]
    assert {category: counts.tolist() for category, counts in whole.pixels.items()} == {"nut": [3, 0, 2]}


def test_regions_are_those_of_the_run_that_gave_an_image_its_row(place: Location) -> None:
    def region(uri: str, peak: float, etag: str = "1") -> dict[str, Any]:
        return {"category": "nut", "uri": uri, "etag": etag, "region": 1, "peak": peak}

    publish(place, "old", [image("a", 0.25)], days_ago=4)  # it knew of no regions
    publish(place, "one", [image("a", 0.25), image("b", 0.5)], days_ago=3, regions=[region("a", 0.2), region("b", 0.3)])
    two = [region("a", 0.4), region("a", 0.1, "gone")]
    publish(place, "two", [image("a", 0.75), image("c", 0.1)], days_ago=2, regions=two)
    regions = read(place).regions
    assert regions.schema == REGIONS.arrow
    assert {row["uri"]: row["peak"] for row in regions.to_pylist()} == {"b": 0.3, "a": 0.4}


def test_families_are_those_that_the_last_run_of_a_category_knew(place: Location) -> None:
    def family(category: str, name: str) -> dict[str, Any]:
        return {"category": category, "family": name, "regions": 1, "centroid": [1.0]}

    old, new = [family("nut", "a"), family("nut", "b"), family("bolt", "a")], [family("nut", "c")]
    publish(place, "one", [image("a", 0.25)], days_ago=3, regions=[], families=old)
    publish(place, "two", [image("a", 0.25)], days_ago=2, regions=[], families=new)
    families = read(place).families
    assert families.schema == FAMILIES.arrow
    assert [(row["category"], row["family"]) for row in families.to_pylist()] == [("bolt", "a"), ("nut", "c")]


def test_a_category_of_whose_images_other_values_were_seen_is_left_out(place: Location) -> None:
    rows = [image("a", 0.25, category="nut"), image("b", 0.5, category="bolt"), image("c", 0.75, category="pin")]
    publish(place, "one", rows, bits={"nut": 12, "bolt": 10})

    def known(values: LakeValues) -> tuple[list[str], list[str]]:
        history = read_history(place, SINCE, "f", SETTINGS, LakeGeometry(USUAL, values=values))
        assert history.rows is not None
        return history.rows["uri"].to_pylist(), sorted(history.pixels)

    assert known(LakeValues({"nut": 12, "bolt": 10})) == (["a", "b", "c"], ["nut"])
    assert known(LakeValues({"nut": 10, "bolt": 10, "pin": None})) == (["b", "c"], [])
    assert known(LakeValues({"nut": 12, "bolt": 16, "pin": 14})) == (["a"], ["nut"])
    assert known(LakeValues({"nut": 12, "bolt": 10}, (2, 1, 0))) == ([], [])


def test_a_category_that_was_seen_otherwise_is_left_out(place: Location) -> None:
    tiles, sides = Geometry(14, scale=0.5, tile=56, overlap=14), Geometry(14, (280, 700))
    rows = [image("a", 0.25, category="nut"), image("b", 0.5, category="bolt"), image("c", 0.75, category="pin")]
    publish(place, "one", rows, views={"nut": tiles, "bolt": sides})

    def known(**categories: Geometry) -> tuple[list[str], list[str]]:
        history = read_history(place, SINCE, "f", SETTINGS, LakeGeometry(USUAL, categories))
        assert history.rows is not None
        return history.rows["uri"].to_pylist(), sorted(history.pixels)

    assert known(nut=tiles, bolt=sides) == (["a", "b", "c"], ["nut"])
    assert known(nut=tiles) == (["a", "c"], ["nut"])
    assert known(nut=replace(tiles, scale=0.75), bolt=sides) == (["b", "c"], [])
    assert known(nut=replace(tiles, overlap=28), bolt=Geometry(14, (700, 280)), pin=tiles) == ([], [])


def test_the_newest_row_of_a_content_wins_whatever_the_runs_are_called(place: Location) -> None:
    publish(place, "a", [image("x", 0.5), image("y", 0.5)], days_ago=1)
    publish(place, "b", [image("x", 0.75), image("x", 0.25, etag="2")], days_ago=2)
    publish(place, "c", [image("y", 0.75)], days_ago=3)
    assert found(place) == {("x", "1"): 0.5, ("x", "2"): 0.25, ("y", "1"): 0.5}


def test_an_image_that_was_quarantined_before_it_was_scored_is_scored(place: Location) -> None:
    # Alone in its category, say, until others came. Quarantined rows have no time.
    publish(place, "first", [image("x", None), image("y", 0.5)], days_ago=2)
    publish(place, "then", [image("x", 0.5), image("y", None)], days_ago=1)
    assert found(place) == {("x", "1"): 0.5, ("y", "1"): None}


def test_a_run_counts_from_the_second_that_it_ended_in_any_zone(place: Location) -> None:
    publish(place, "old", [image("a", 0.5)], days_ago=7.001)
    publish(place, "just", [image("b", 0.5)], days_ago=7)
    assert list(found(place)) == [("b", "1")]
    kept = read(place, SINCE.astimezone(timezone(timedelta(hours=-9)))).rows
    assert kept is not None and kept["uri"].to_pylist() == ["b"]


def test_runs_of_another_encoder_or_method_are_left_out(place: Location) -> None:
    publish(place, "encoder", [image("a", 0.5)], fingerprint="g")
    publish(place, "method", [image("b", 0.5)], changed={"method": {"degrees": [1]}})
    assert read(place).rows is None and read(place).pixels == {}


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"encoder": {"other": 1}}, False),
        ({"references": {"other": 1}}, False),
        ({"search": {"other": 1}}, False),
        ({"decision": {"other": 1}}, False),
        ({"input": {"uri": "lake", "max_pixels": 99, "max_bytes": 1000}}, False),
        ({"input": {"uri": "another", "max_pixels": 100, "max_bytes": 1000}}, True),
        ({"metrics": "musc"}, True),
    ],
)
def test_rows_say_whether_they_have_these_settings(place: Location, changed: dict[str, Any], same: bool) -> None:
    publish(place, "one", [image("a", 0.5)], changed=changed)
    rows = read(place).rows
    assert rows is not None and rows["same"].to_pylist() == [same]


def test_a_run_that_is_not_finished_is_left_out_without_a_word(
    place: Location, caplog: pytest.LogCaptureFixture
) -> None:
    publish(place, "whole", [image("a", 0.5)])
    (publish(place, "cut", [image("b", 0.5)]).results / "run.json").remove()
    assert list(found(place)) == [("a", "1")] and not caplog.records


@pytest.mark.parametrize("gone", ["scores/part-00000.parquet", "pixels.parquet"])
def test_a_run_that_somebody_deletes_is_left_out_with_a_warning(
    place: Location, gone: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(place, "whole", [image("a", 0.5)])
    (publish(place, "going", [image("b", 0.5)]).results / gone).remove()
    assert list(found(place)) == [("a", "1")]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "run going is left out of the window" in record.message and gone in record.message
    assert read(place).pixels["nut"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("damaged", ["run.json", "scores/part-00000.parquet", "pixels.parquet"])
def test_a_damaged_run_does_not_end_all_later_ones(
    place: Location, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(place, "whole", [image("a", 0.5)])
    (publish(place, "broken", [image("b", 0.5)]).results / damaged).write_bytes(b"PAR1 or not")
    assert list(found(place)) == [("a", "1")]
    assert "run broken is left out of the window" in caplog.text


def test_a_store_that_does_not_answer_is_not_taken_for_runs_that_are_gone(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All images would be scored again, against none of the window's.
    publish(place, "whole", [image("a", 0.5)])

    def silent(self: Published, what: str) -> pa.Table:
        raise StoreUnavailable(f"cannot read {self.location(what)}")

    monkeypatch.setattr(Published, "table", silent)
    with pytest.raises(StoreUnavailable):
        read(place)


def test_columns_of_manifests_neither_clash_nor_take_the_place_of_ours(place: Location) -> None:
    publish(place, "one", [image("a", 0.5)], kept={"weight": [1], "same": ["no"], "image": [None]})
    publish(place, "two", [image("b", 0.5)], kept={"weight": ["heavy"]})
    rows = read(place).rows
    assert rows is not None and rows.column_names == [*KEPT.names, "same"] and rows["same"].to_pylist() == [True, True]


def test_a_run_without_rows_or_of_quarantined_ones_keeps_the_types(place: Location) -> None:
    publish(place, "empty", [])
    rows = read(place).rows
    assert rows is not None and rows.num_rows == 0 and rows.schema.field("same").type == pa.bool_()
    publish(place, "bad", [image("a", None), image("b", None)])
    publish(place, "good", [image("c", 0.5)])
    rows, scored = read(place).rows, read(place).scored()
    assert rows is not None and scored is not None
    assert rows["score_raw"].type == pa.float64() and rows["scored_at"].type == pa.timestamp("s", "UTC")
    assert scored["uri"].to_pylist() == ["c"]


def test_folders_that_are_no_runs_are_not_looked_into(place: Location) -> None:
    publish(place, "one", [image("a", 0.5)])
    write_json(place / "runs" / "notes" / "run.json", {})
    (place / "runs" / "readme.txt").write_bytes(b"x")
    assert list(found(place)) == [("a", "1")]


def test_many_runs_are_read_and_the_last_wins(place: Location) -> None:
    order = np.random.default_rng(0).permutation(8).tolist()
    for run, day in enumerate(order):
        publish(place, f"{run:02d}", [image("a", float(day))], days_ago=6 - day / 10)
    assert found(place) == {("a", "1"): 7.0}
    assert read(place).pixels["nut"].tolist() == [8, 0, 8]


def test_runs_that_ended_later_than_asked_are_the_future(place: Location) -> None:
    publish(place, "before", [image("a", 0.5)], days_ago=2)
    publish(place, "after", [image("a", 0.7), image("b", 0.1)], days_ago=1)
    rows = read(place, until=TONIGHT - timedelta(days=1.5)).rows
    assert rows is not None and rows["score_raw"].to_pylist() == [0.5]
    assert read(place, until=TONIGHT - timedelta(days=3)).rows is None


def test_a_manifests_own_column_of_a_name_that_became_ours_is_left_out(place: Location) -> None:
    publish(place, "old", [image("a", 0.5)], days_ago=2, kept={"stderr": ["a note"]})
    publish(place, "new", [image("b", 0.7)], days_ago=1, kept={"stderr": [0.25]})
    rows = read(place).rows
    assert rows is not None and rows["stderr"].to_pylist() == [None, 0.25]
