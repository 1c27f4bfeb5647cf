"""What is to be done tonight: what was scored before is carried over, and pinned references join in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.catalog import Catalog, build_catalog
from pipeline.config import InputConfig, ScoreConfig
from pipeline.errors import CatalogError
from pipeline.schema.table import set_columns
from pipeline.schema.tables import CATALOG
from pipeline.store.history import History
from pipeline.tables.selection import Selection, select, unseen, window_of
from tests.corpus import write_files


def settings(**references: str) -> ScoreConfig:
    return ScoreConfig.model_validate({"input": {"uri": "/"}, "output": {"uri": "out"}, "references": references})


BATCH, WINDOW = settings(), settings(source="window")
HOSTILE = ("a/b", "..", "größe", "x" * 300, "line\nbreak", "'quote\"", "category=1", " ")
EARLIER = pa.schema(
    [
        *((name, pa.string()) for name in ("category", "uri", "etag", "status", "reason", "region_uri", "region_etag")),
        ("score_raw", pa.float64()),
        ("label", pa.bool_()),
        ("same", pa.bool_()),
    ]
)


def listed(*names: tuple[str, str, str], reviewed: str | None = None) -> Catalog:
    """Return a catalog of (category, uri, etag); somebody labelled the uri `reviewed`."""
    usual = {"masks": [], "size": 1, "label": True}
    rows = [
        {"image": image, "category": category, "uri": uri, "etag": etag, "reviewed": uri == reviewed, **usual}
        for image, (category, uri, etag) in enumerate(names)
    ]
    return Catalog("folder", CATALOG.rows(rows), pa.table({}), 0)


def before(*rows: dict[str, Any]) -> History:
    """Return a history of rows, of category nut, etag 1, scored and with these settings unless they say otherwise."""
    usual = {"category": "nut", "etag": "1", "status": "scored", "score_raw": 0.5, "same": True}
    return History(pa.Table.from_pylist([usual | row for row in rows], schema=EARLIER), {})


def todo(work: Selection) -> list[str]:
    found: list[str] = work.todo["uri"].to_pylist()
    return found


def carried(work: Selection) -> dict[int, str]:
    assert work.carried is not None
    return dict(zip(work.carried["image"].to_pylist(), work.carried["uri"].to_pylist(), strict=True))


def pin(folder: Path, *rows: tuple[str, str], **columns: str) -> ScoreConfig:
    """Write a manifest of (uri, category) and return settings that pin its images."""
    lines = [",".join(("uri", "category", *columns))]
    lines += [",".join((f'"{uri}"', f'"{category}"', *columns.values())) for uri, category in rows]
    (folder / "pinned.csv").write_text("\n".join(lines) + "\n")
    return settings(source="pinned", pinned=str(folder / "pinned.csv"))


@pytest.mark.parametrize("history", [History(None, {}), before({"uri": "a"})])
def test_without_a_window_everything_is_to_be_done(history: History) -> None:
    work = select(listed(("nut", "a", "1"), ("nut", "b", "1")), BATCH, history)
    assert todo(work) == ["a", "b"] and work.carried is None and work.pinned == {}
    assert work.todo["input"].to_pylist() == [True, True] and work.todo["pinned"].to_pylist() == [False, False]


def test_a_first_night_carries_nothing() -> None:
    work = select(listed(("nut", "a", "1")), WINDOW, History(None, {}))
    assert todo(work) == ["a"] and work.carried is None


def test_unchanged_images_are_carried_with_their_place_in_tonights_catalog() -> None:
    catalog = listed(("bolt", "a", "1"), ("nut", "b", "1"), ("nut", "c", "1"), ("nut", "d", "1"))
    work = select(catalog, WINDOW, before({"uri": "d"}, {"uri": "gone"}, {"uri": "b"}))
    assert todo(work) == ["a", "c"] and work.todo["image"].to_pylist() == [0, 2]
    assert carried(work) == {1: "b", 3: "d"}


@pytest.mark.parametrize(
    "other",
    [{"etag": "2"}, {"category": "bolt"}, {"status": "quarantined", "score_raw": None}, {"same": False}, {"uri": "A"}],
    ids=str,
)
def test_what_changed_or_has_no_score_of_these_settings_is_done_again(other: dict[str, Any]) -> None:
    work = select(listed(("nut", "a", "1"), ("nut", "b", "1")), WINDOW, before({"uri": "a"} | other, {"uri": "b"}))
    assert todo(work) == ["a"] and carried(work) == {1: "b"}


def test_a_history_without_a_usable_row_carries_an_empty_table() -> None:
    work = select(listed(("nut", "a", "1")), WINDOW, before({"uri": "a", "same": False}))
    assert carried(work) == {} and todo(work) == ["a"]
    assert work.carried is not None and work.carried.schema.field("image").type == pa.int64()


def test_an_image_that_somebody_labelled_is_scored_again() -> None:
    catalog = listed(("nut", "a", "1"), ("nut", "b", "1"), reviewed="b")
    work = select(catalog, WINDOW, before({"uri": "b"}, {"uri": "a"}))
    assert todo(work) == ["b"] and carried(work) == {0: "a"}


def test_a_night_without_news_has_nothing_to_do() -> None:
    work = select(listed(("nut", "a", "1"), ("nut", "b", "1")), WINDOW, before({"uri": "b"}, {"uri": "a"}))
    assert todo(work) == [] and work.pinned == {} and carried(work) == {0: "a", 1: "b"}
    assert work.todo.schema.names == [*CATALOG.names, "input", "pinned"]


@pytest.mark.parametrize("category", HOSTILE)
def test_categories_of_any_name_are_carried(category: str) -> None:
    catalog = listed((category, "a", "1"), (category + "'", "a2", "1"))
    work = select(catalog, WINDOW, before({"uri": "a", "category": category}))
    assert carried(work) == {0: "a"} and todo(work) == ["a2"]


def test_pinned_images_join_the_listed_ones_of_their_category(tmp_path: Path) -> None:
    lake = write_files(tmp_path / "lake", "nut/a.png", "nut/b.png", "bolt/c.png", "bolt/d.png")
    others = write_files(tmp_path / "golden", "n1.png", "n2.png", "b1.png", "s1.png")
    config = pin(
        tmp_path,
        (f"{lake}/nut/b.png", "nut"),  # listed, too
        (f"{others}/n2.png", "nut"),
        (f"{others}/n1.png", "nut"),
        (f"{others}/b1.png", "bolt"),
        (f"{others}/s1.png", "screw"),  # of no listed category
        (f"{lake}/nut/a.png", "bolt"),  # listed in another category: another image there
        label="1",
    )
    catalog = build_catalog(InputConfig(uri=str(lake)))
    work = select(catalog, config, History(None, {}))
    rows = work.todo.to_pylist()
    assert work.carried is None and work.pinned == {"nut": 3, "bolt": 2}
    assert [row["image"] for row in rows] == sorted({row["image"] for row in rows})
    assert [row["image"] for row in rows if row["input"]] == catalog.table["image"].to_pylist()
    pinned = {(row["category"], row["uri"].removeprefix(f"{tmp_path}/")) for row in rows if row["pinned"]}
    assert pinned == {
        ("nut", "lake/nut/b.png"),
        ("nut", "golden/n1.png"),
        ("nut", "golden/n2.png"),
        ("bolt", "golden/b1.png"),
        ("bolt", "lake/nut/a.png"),
    }
    added = [row for row in rows if not row["input"]]
    assert len(added) == 4 and all(row["label"] is None and row["masks"] == [] and row["etag"] for row in added)


def test_a_pinned_image_that_is_not_there_says_why(tmp_path: Path) -> None:
    lake = write_files(tmp_path / "lake", "nut/a.png")
    work = select(
        build_catalog(InputConfig(uri=str(lake))), pin(tmp_path, ("gone.png", "nut")), History(None, {})
    ).todo.to_pylist()
    assert work[1]["reason"] == "unreadable" and "gone.png" in work[1]["detail"]


def test_a_manifest_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    config = pin(tmp_path, ("a.png", "nut"))
    (tmp_path / "pinned.csv").write_text("uri\na.png\n")
    with pytest.raises(CatalogError, match="references.pinned: .*lacks the column category"):
        select(listed(("nut", "a", "1")), config, History(None, {}))


MIDNIGHT = datetime(2026, 3, 8, tzinfo=UTC)


def scored(*hours_before: float | None) -> History:
    """Return a history of images that were scored so many hours before midnight, or quarantined."""
    times = [None if hours is None else MIDNIGHT - timedelta(hours=hours) for hours in hours_before]
    rows = {
        "uri": [str(n) for n in range(len(times))],
        "etag": ["1"] * len(times),
        "category": ["nut"] * len(times),
        "status": ["quarantined" if time is None else "scored" for time in times],
        "scored_at": pa.array(times, pa.timestamp("ms", "UTC")),  # as Parquet has it
    }
    return History(pa.table(rows), {})


def test_the_window_has_images_that_were_scored_since_and_no_quarantined_ones() -> None:
    since = MIDNIGHT - timedelta(hours=1, microseconds=-1)
    history = scored(0.5, None, 0.999, 1, 30)
    for count, uris in ((2, ["0", "2"]), (3, ["0", "2", "3", "4"])):  # where these are too few, older ones join them
        window = window_of(history, since, count)
        assert window is not None and window["uri"].to_pylist() == uris
    assert window_of(History(None, {}), since, 2) is None


def test_images_that_the_window_has_seen_are_not_new() -> None:
    scores = pa.table({"uri": ["0", "0", "1", "x"], "etag": ["1", "2", "1", "1"]})
    assert unseen(scores, scored(1, None)).to_pylist() == [{"uri": "0", "etag": "2"}, {"uri": "x", "etag": "1"}]
    assert unseen(scores, History(None, {})) == scores


def test_a_pinned_image_is_looked_at_where_its_category_is(tmp_path: Path) -> None:
    write_files(tmp_path, "lake/nut/a.png", "lake/bolt/b.png", "pinned/c.png", "pinned/d.png", "nut.png")
    mask = str(tmp_path / "nut.png")
    config = pin(tmp_path, ("pinned/c.png", "nut"), ("pinned/d.png", "bolt"))
    own = config.input.model_copy(update={"uri": str(tmp_path / "lake"), "layout": "folder", "region": {"nut": mask}})
    config = config.model_copy(update={"input": own.model_copy(update={"roots": (str(tmp_path),)})})
    work = select(build_catalog(config.input), config, History(None, {}))
    found = {row["uri"].rpartition("/")[2]: row["region_uri"] for row in work.todo.to_pylist()}
    assert found == {"a.png": mask, "b.png": None, "c.png": mask, "d.png": None}
    tags = set(work.todo["region_etag"].to_pylist())
    assert len(tags) == 2 and None in tags


def test_who_was_looked_at_elsewhere_is_scored_again() -> None:
    catalog = listed(("nut", "a", "1"))
    where = {"region_uri": pa.array(["m.png"]), "region_etag": pa.array(["1"])}
    catalog = replace(catalog, table=set_columns(catalog.table, where))
    same = before({"uri": "a", "region_uri": "m.png", "region_etag": "1"})
    assert carried(select(catalog, WINDOW, same)) == {0: "a"}
    for region in ({}, {"region_uri": "n.png", "region_etag": "1"}, {"region_uri": "m.png", "region_etag": "2"}):
        assert todo(select(catalog, WINDOW, before({"uri": "a"} | region))) == ["a"]
