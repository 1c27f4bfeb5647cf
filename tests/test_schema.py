"""Tables and run.json as they are written down: what is published is held to it, and so is what the README says."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from pipeline.schema import tables
from pipeline.schema.record import NewerVersion, RunRecord, setting
from pipeline.schema.scores import times_threshold, upgrade_scores, with_manifest
from pipeline.schema.table import Column, TableSchema, count_by, records, set_columns
from pipeline.schema.tables import BOXED, SCORES, VERSION
from tests.conftest import REPOSITORY
from tests.published import facts, first_facts, record

PAIR = TableSchema("A pair.", (Column("uri", pa.string(), "Its name."), Column("row", pa.int32(), "Its row.")))
TABLES = {name: value for name, value in vars(tables).items() if isinstance(value, TableSchema)}


@dataclass(frozen=True)
class Pair:
    uri: str
    row: int | None


def test_a_table_is_made_of_rows_and_of_columns_and_read_back_as_rows() -> None:
    made = PAIR.rows([Pair("a", 1), {"uri": "b"}])
    assert made.schema == PAIR.arrow and made.equals(PAIR.of({"row": [1, None], "uri": ["a", "b"]}))
    assert records(made, Pair) == [Pair("a", 1), Pair("b", None)]
    assert PAIR.empty().schema == PAIR.arrow and PAIR.empty().num_rows == 0
    wide = made.append_column("more", pa.array([True, False])).cast(
        pa.schema([("uri", pa.large_string()), ("row", pa.int64()), ("more", pa.bool_())])
    )
    assert PAIR.cast(wide).equals(made)


def test_what_is_no_column_is_refused_and_so_is_a_column_that_lacks() -> None:
    with pytest.raises(ValueError, match=r"\['size'\] are none of the columns"):
        PAIR.rows([{"uri": "a", "size": 1}])
    with pytest.raises(ValueError, match="and not"):
        PAIR.of({"uri": ["a"]})
    with pytest.raises(ValueError, match="and not"):
        PAIR.of({"uri": ["a"], "row": [1], "size": [1]})
    with pytest.raises(KeyError):
        PAIR.cast(pa.table({"uri": ["a"]}))


def test_columns_are_set_in_their_place_or_behind_the_others() -> None:
    columns = {"uri": pa.array(["b", "b"]), "new": pa.array([True, False])}
    table = set_columns(PAIR.rows([Pair("a", 1), Pair("a", 2)]), columns)
    assert table.column_names == ["uri", "row", "new"] and count_by(table, "uri") == {"b": 2}


@pytest.mark.parametrize("name", TABLES)
def test_each_column_says_what_it_is_in_one_sentence(name: str) -> None:
    names = TABLES[name].names
    assert len(names) == len(set(names)) and TABLES[name].about.endswith(".")
    for column in TABLES[name].columns:
        assert re.fullmatch(r"[^.]+(json|parquet|\.labels)?[^.]*\.", column.about), column.about


def test_scores_change_with_their_version() -> None:
    """Whoever changes this list counts VERSION up, and has `upgrade_scores` read what was written before."""
    evidence = "list<item: struct<uri: string, etag: string, x: float, y: float, distance: float>>"
    assert VERSION == 6
    assert [(column.name, str(column.type)) for column in SCORES.columns] == [
        *((name, "string") for name in ("category", "uri", "etag", "status", "reason", "detail")),
        *((name, "double") for name in ("score", "score_raw", "score_final", "stderr")),
        *(("references", "int64"), ("anomalous", "bool"), ("rule", "string")),
        *((name, "double") for name in ("threshold", "pixel_threshold")),
        *(("regions", "int64"), ("area_share", "double"), ("family", "string")),
        *((name, "int32") for name in ("width", "height")),
        *((f"box_{edge}", "int32") for edge in ("left", "top", "right", "bottom")),
        *((f"original_{name}", "int32") for name in ("width", "height")),
        *((name, "float") for name in ("brightness", "contrast", "sharpness")),
        *(("map_uri", "string"), ("scored_by", "string"), ("scored_at", "timestamp[s, tz=UTC]"), ("label", "bool")),
        *((name, "string") for name in ("group", "region_uri", "region_etag")),
        *((name, evidence) for name in ("evidence", "evidence_normal")),
    ]


def first_scores() -> pa.Table:
    """Return scores as the first version wrote them, with columns of a manifest whose names became ours."""
    names = ("category", "uri", "etag", "status", "reason", "detail", "score", "score_raw", "references", "label")
    first = TableSchema("Scores.", SCORES.only(*names, "width", "height", "map_uri"))
    row = {"category": "nut", "uri": "/a", "etag": "1", "status": "scored", "score": 0.5, "score_raw": 0.25}
    size = {"references": 7, "label": True, "width": 640, "height": 480, "map_uri": "a.png"}
    kept = {"stderr": pa.array(["theirs"]), "manifest_rule": pa.array([1]), "rule": pa.array([2])}
    return set_columns(first.rows([row | size]), kept | {"weight": pa.array([3])})


def test_the_first_versions_scores_get_all_columns_and_keep_a_manifests() -> None:
    scores = upgrade_scores(first_scores())
    own = ["manifest_rule", "weight", "manifest_stderr", "manifest_manifest_rule"]
    assert scores.column_names == [*SCORES.names, *own] and scores.select(SCORES.names).schema == SCORES.arrow
    [row] = scores.to_pylist()
    assert (row["score_raw"], row["references"], row["width"], row["map_uri"]) == (0.25, 7, 640, "a.png")
    assert row["score_final"] == 0.5
    later = {
        "score",
        "stderr",
        "anomalous",
        "rule",
        "threshold",
        "pixel_threshold",
        "scored_by",
        "scored_at",
        "evidence",
    }
    assert {name for name in SCORES.names if row[name] is None} >= later
    assert [row[name] for name in own] == [1, 3, "theirs", 2]
    assert upgrade_scores(scores).equals(scores)


def test_times_are_of_whole_seconds_and_those_of_no_zone_are_a_manifests() -> None:
    moment = datetime(2026, 3, 8, 1, 2, 3, tzinfo=UTC)
    stored = first_scores().append_column("scored_at", pa.array([moment], pa.timestamp("ms", "UTC")))
    assert upgrade_scores(stored)["scored_at"].to_pylist() == [moment]
    theirs = first_scores().append_column("scored_at", pa.array([moment.replace(tzinfo=None)], pa.timestamp("ms")))
    found = upgrade_scores(theirs)
    assert found["scored_at"].null_count == 1 and found["manifest_scored_at"].null_count == 0


def test_before_there_were_parts_a_column_called_as_theirs_is_a_manifests() -> None:
    """Whatever its type is: a manifest's own columns stand behind all of ours."""
    fourth = SCORES.rows([{"uri": "/a", "width": 640, "height": 480}]).drop_columns(BOXED.names)
    scores = upgrade_scores(fourth.append_column("box_left", pa.array([7], pa.int32())))
    assert scores.column_names == [*SCORES.names, "manifest_box_left"]
    [row] = scores.to_pylist()
    assert (row["box_left"], row["manifest_box_left"], row["width"]) == (None, 7, 640)
    cut = {"uri": "/a#xywh=1,2,3,4", "box_left": 1, "original_width": 9}
    today = with_manifest(SCORES.rows([cut]), {"box_left": pa.chunked_array([[7]])})
    assert upgrade_scores(today).equals(today)


def test_no_column_of_a_manifest_takes_the_place_of_another() -> None:
    kept = {"uri": pa.chunked_array([[1]]), "manifest_uri": pa.chunked_array([[2]])}
    scores = with_manifest(SCORES.rows([{"uri": "/a"}]), kept)
    assert scores.select(["uri", "manifest_uri", "manifest_manifest_uri"]).to_pylist() == [
        {"uri": "/a", "manifest_uri": 1, "manifest_manifest_uri": 2}
    ]


def test_the_readmes_table_has_each_column_of_scores_and_no_other() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    table = readme[readme.index("| column | meaning |") :].split("\n\n")[0]
    told = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(told) == sorted(SCORES.names)


def keys() -> set[str]:
    """Return the names of all keys of run.json, wherever in it."""
    whole = RunRecord.model_json_schema()
    return {name for part in (whole, *whole["$defs"].values()) for name in part.get("properties", ())}


def test_what_the_docs_say_of_run_json_is_in_it() -> None:
    texts = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    told = {name for path in texts for name in re.findall(r"`(\w+)` (?:in|of) run\.json", path.read_text())}
    assert told >= {"drift", "drifted", "map_scale", "reasons", "seconds"} and told <= keys()


def test_the_run_json_of_today_is_read_as_it_was_written() -> None:
    written = facts("one")
    assert record("one").told() == written and list(record("one").told()) == list(written)
    assert record("one").started.tzinfo is not None and record("one").setting("references.count") == 256
    assert record("one").setting("references.days") is record("one").setting("metrics.more") is None


def test_the_first_versions_run_json_tells_what_it_can() -> None:
    run = RunRecord.read(json.dumps(first_facts("old")).encode())
    assert (run.version, run.search.kind, run.search.tile, run.estimate) == (VERSION, "gemm", None, None)
    assert (run.counts.scored, run.counts.carried, run.counts.anomalous) == (1, None, None)
    assert (run.drifted, run.drift, run.nodes.units) == (None, {}, {})
    assert run.setting("references") is None and RunRecord.read(json.dumps(run.told()).encode()) == run


def test_the_third_versions_run_json_listed_its_files_but_neither_regions_nor_decisions() -> None:
    told = facts("old") | {"version": 3, "attempt": 2}
    del told["reaches"], told["decisions"]
    run = RunRecord.read(json.dumps(told).encode())
    assert run.told() == told | {"version": VERSION, "reaches": {}, "decisions": {}}


def test_settings_of_before_have_the_names_of_today() -> None:
    old = facts("old", references__burst=0.999)
    del old["version"]
    run = RunRecord.read(json.dumps(old).encode())
    expected = {"source": "window", "mode": "auto", "count": 256, "near_duplicates": 0.999}
    assert run.settings["references"] == run.config["references"] == expected
    assert run.settings == facts("new", references__near_duplicates=0.999)["settings"]


def test_a_run_json_whose_bit_flipped_is_damaged() -> None:
    written = json.dumps(record("one").written())
    assert RunRecord.read(written.encode()) == record("one")
    for place in range(10, len(written) - 1, 7):
        flipped = written[:place] + chr(ord(written[place]) ^ 1) + written[place + 1 :]
        with pytest.raises((ValueError, NewerVersion)):
            RunRecord.read(flipped.encode())


def test_before_version_4_score_was_the_final_one_and_no_multiple_of_the_threshold() -> None:
    rows: list[dict[str, object]] = [
        {"uri": "/a", "score": 0.75, "score_raw": 0.3, "threshold": 0.2},
        {"uri": "/b", "score": 0.25, "score_raw": 0.1, "threshold": 0.2},
        {"uri": "/c", "score": 0.5, "score_raw": 0.1, "threshold": None},
        {"uri": "/d", "score": None, "score_raw": None, "threshold": None},
    ]
    old = SCORES.rows(rows).drop_columns(["score_final", "regions", "area_share", "family"])
    found = upgrade_scores(old)
    assert found.column_names == SCORES.names
    assert found["score_final"].to_pylist() == [0.75, 0.25, 0.5, None]
    assert found["score"].to_pylist() == [pytest.approx(1.5), pytest.approx(0.5), None, None]
    assert found.drop_columns(["score", "score_final"]) == SCORES.rows(rows).drop_columns(["score", "score_final"])
    assert upgrade_scores(found).equals(found)


def test_before_version_4_a_column_family_was_a_manifests() -> None:
    old = SCORES.rows([{"uri": "/a", "score": 0.5}]).drop_columns(["score_final", "regions", "area_share", "family"])
    found = upgrade_scores(old.append_column("family", pa.array(["gearbox"])))
    assert found["family"].to_pylist() == [None] and found["manifest_family"].to_pylist() == ["gearbox"]


def test_before_version_5_a_column_group_was_a_manifests() -> None:
    ours = SCORES.rows([{"uri": "/a", "group": "part 1"}])
    assert upgrade_scores(ours).equals(ours)
    old = ours.drop_columns(["group"]).append_column("group", pa.array(["night"]))
    found = upgrade_scores(old)
    assert found["group"].to_pylist() == [None] and found["manifest_group"].to_pylist() == ["night"]
    assert upgrade_scores(found).equals(found)
    older = first_scores().append_column("group", pa.array(["night"]))
    assert upgrade_scores(older)["manifest_group"].to_pylist() == ["night"]


def test_scores_of_today_stay_as_they_are() -> None:
    today = SCORES.rows([{"uri": "/a", "score": 1.5, "score_raw": 0.3, "threshold": 0.2, "score_final": None}])
    assert upgrade_scores(today).equals(today)


def test_a_score_that_a_manifest_has_is_not_taken_for_ours() -> None:
    """Version 1 wrote no thresholds; a column of words is somebody else's."""
    old = SCORES.rows([{"uri": "/a", "score": 0.5, "score_raw": 0.3}]).drop_columns(["score_final", "threshold"])
    kept = old.append_column("threshold", pa.array(["theirs"]))
    found = upgrade_scores(kept)
    assert found["score_final"].to_pylist() == [0.5] and found["score"].to_pylist() == [None]
    assert found["manifest_threshold"].to_pylist() == ["theirs"]
    empty = upgrade_scores(kept.slice(0, 0))
    assert empty.num_rows == 0 and empty.select(SCORES.names).schema == SCORES.arrow


@pytest.mark.parametrize(("threshold", "multiple"), [(0.0, 3e8), (1e-9, 3e8), (0.1, 3.0)])
def test_a_threshold_of_nothing_has_a_multiple_all_the_same(threshold: float, multiple: float) -> None:
    values = times_threshold(pa.chunked_array([[0.3]]), pa.chunked_array([[threshold]]))
    assert values.to_pylist() == [pytest.approx(multiple)]


@pytest.mark.parametrize(("old", "new"), [("musc", "paper"), ("subspace", "subspace"), (None, "paper")])
def test_runs_of_before_version_4_have_the_preset_that_their_method_is_called_now(old: str | None, new: str) -> None:
    method = {"degrees": [1, 3, 5], "interval": 0.3} | ({} if old is None else {"name": old, "variance": 0.99})
    told = facts("old", method=method) | {"version": 3}
    del told["decisions"], told["settings"]["search"]["radius"]
    run = RunRecord.read(json.dumps(told).encode())
    assert (run.version, run.decisions, run.attempt) == (VERSION, {}, 0)
    assert run.setting("method.preset") == new and run.setting("method.name") is None
    assert run.setting("method.degrees") == [1, 3, 5] and run.setting("search.radius") == "auto"
    assert RunRecord.read(json.dumps(run.told()).encode()) == run


def test_decisions_are_read_as_they_were_written() -> None:
    decision = {"rule": "auto: batch", "threshold": 0.5, "low": 0.4, "high": 0.6, "false_alarms": 0.04}
    decision |= {"recall": None, "flagged": 3, "unsure": 1, "clear": True}
    run = record("one", {"decisions": {"nut": decision}})
    assert run.told()["decisions"] == {"nut": decision}
    assert run.decisions["nut"].flagged == 3 and run.decisions["nut"].recall is None


@pytest.mark.parametrize(("taken", "dtype"), [("fp16", "fp16"), (None, "auto")])
def test_settings_as_taken_have_the_precision_of_the_search(taken: str | None, dtype: str) -> None:
    search = {"kind": "gemm", "tile": 1, "products": 1.0, "aggregated": 1.0, "dtype": taken, "near_tile": 0}
    run = record("one", {"search": search}, search__dtype="auto")
    assert setting(run.taken, "search.dtype") == dtype and setting(run.taken, "search.kind") == "auto"
    assert run.setting("search.dtype") == "auto"
