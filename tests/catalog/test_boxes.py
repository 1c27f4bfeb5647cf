"""Boxes in manifests: images cut out of photographs, whole ones, and what is neither."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.catalog import Catalog, build_catalog
from pipeline.config import InputConfig
from pipeline.errors import CatalogError
from pipeline.io.storage import Location
from tests.catalog.test_manifest import KINDS, Rows, write, write_text
from tests.corpus import write_files

EDGES = ("left", "top", "right", "bottom")


def row(uri: str, *box: object, **more: Any) -> dict[str, Any]:
    return {"uri": uri, "category": "cap", **dict(zip(EDGES, box or [None] * 4, strict=True)), **more}


def catalog_of(location: Location, **more: Any) -> Catalog:
    return build_catalog(InputConfig(uri=location.uri, **more))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return write_files(tmp_path, "a.png", "b.png", content=b"12345")


@pytest.mark.parametrize("kind", KINDS)
def test_one_photograph_stands_in_several_rows(kind: str, lake: Path) -> None:
    rows = [row("a.png", 0, 0, 20, 30, lot=1), row("a.png", 20, 0, 40, 30, lot=2), row("b.png", lot=3)]
    catalog = catalog_of(write(lake, kind, rows))
    found = catalog.table.to_pylist()
    assert [of["uri"] for of in found] == [
        f"{lake}/a.png#xywh=0,0,20,30",
        f"{lake}/a.png#xywh=20,0,20,30",
        f"{lake}/b.png",
    ]
    assert {of["size"] for of in found} == {5} and {of["reason"] for of in found} == {None}
    assert found[0]["etag"] == found[1]["etag"] == Location.parse(str(lake / "a.png")).entry().etag
    assert catalog.kept.to_pydict() == {"lot": [1, 2, 3]}


def test_other_columns_may_hold_the_boxes(lake: Path) -> None:
    location = write_text(lake, "uri,category,x0,y0,x1,y1,left\na.png,cap,1,2,21,32,7\n")
    catalog = catalog_of(location, box=("x0", "y0", "x1", "y1"))
    assert catalog.table["uri"].to_pylist() == [f"{lake}/a.png#xywh=1,2,20,30"]
    assert catalog.kept.to_pydict() == {"left": [7]}
    assert catalog_of(location).table["uri"].to_pylist() == [f"{lake}/a.png"]  # three of four are somebody's own
    assert catalog_of(location).kept.column_names == ["x0", "y0", "x1", "y1", "left"]


def test_some_of_the_columns_are_a_manifests_own(lake: Path) -> None:
    catalog = catalog_of(write_text(lake, "uri,category,left,top\na.png,cap,1.5,x\n"))
    assert catalog.table["uri"].to_pylist() == [f"{lake}/a.png"]
    assert catalog.kept.to_pydict() == {"left": [1.5], "top": ["x"]}


@pytest.mark.parametrize(
    "column", [[8, None], [8.0, math.nan], ["8", None], [" 8 ", None]], ids=["int", "float", "text", "padded text"]
)
def test_numbers_may_be_written_in_any_way(column: list[object], lake: Path) -> None:
    values = {"uri": ["a.png", "b.png"], "category": ["cap"] * 2, "left": column, "top": column}
    table = pa.table({**values, "right": pa.array([30, None], pa.uint16()), "bottom": [40.0, math.nan]})
    pq.write_table(table, lake / "m.parquet")
    found = catalog_of(Location.parse(str(lake / "m.parquet"))).table["uri"].to_pylist()
    assert found == [f"{lake}/a.png#xywh=8,8,22,32", f"{lake}/b.png"]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 20, None), "row 2 has no bottom"),
        ((None, 0, 20, 30), "row 2 has no left"),
        ((0, 0.5, 20, 30), "row 2 has top 0.5, which is no whole number"),
        ((0, math.inf, 20, 30), "row 2 has top inf"),
        ((0, math.nan, 20, 30), "row 2 has no top"),
        ((0, 0, "wide", 30), "row 2 has right 'wide'"),
        ((-1, 0, 20, 30), "row 2 has the box -1, 0, 20, 30, which is none: left < right"),
        ((20, 0, 20, 30), "row 2 has the box 20, 0, 20, 30, which is none"),
        ((0, 30, 20, 10), "row 2 has the box"),
        ((0, 0, 10**9, 10), "row 2 has the box"),
        ((0, 0, 1e300, 10), "row 2 has the box"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_box_is_refused_by_its_row(kind: str, box: tuple[Any, ...], words: str, lake: Path) -> None:
    rows: Rows = [row("a.png", 0, 0, 20, 30), row("b.png", *box)]
    if kind == "parquet":
        columns = {name: [of[name] for of in rows] for name in rows[0]}
        texts = {name: [None if value is None else str(value) for value in columns[name]] for name in EDGES}
        numbers = {name: values for name, values in columns.items() if "wide" not in values}
        pq.write_table(pa.table({**columns, **texts, **numbers}), lake / "manifest.parquet")
        location = Location.parse(str(lake / "manifest.parquet"))
    else:
        location = write(lake, kind, rows)
    with pytest.raises(CatalogError, match="manifest.*") as caught:
        catalog_of(location)
    assert words in str(caught.value)


def test_a_column_of_other_things_holds_no_boxes(lake: Path) -> None:
    table = pa.table({"uri": ["a.png"], "category": ["cap"], "left": [[1]], "top": [True], "right": [9], "bottom": [9]})
    pq.write_table(table, lake / "m.parquet")
    with pytest.raises(CatalogError, match=r"row 1 has left '?\[1\]'?, which is no whole number"):
        catalog_of(Location.parse(str(lake / "m.parquet")))


@pytest.mark.parametrize("again", ["a.png", "./a.png", "{lake}/a.png"])
def test_the_same_box_of_a_photograph_twice_is_refused(again: str, lake: Path) -> None:
    rows = [row("a.png", 0, 0, 20, 30), row(again.format(lake=lake), 0, 0, 20, 30)]
    with pytest.raises(CatalogError, match=r"1 uris stand more than once, such as '.*a.png#xywh=0,0,20,30'"):
        catalog_of(write(lake, "csv", rows))


def test_a_file_that_is_called_like_a_box_is_a_row_that_was_not_read(lake: Path) -> None:
    write_files(lake, "cap/a.png", "cap/a.png#xywh=0,0,20,30", content=b"12345")
    found = {Path(of["uri"]).name: of for of in build_catalog(InputConfig(uri=str(lake / "cap"))).table.to_pylist()}
    named = found["a.png#xywh=0,0,20,30"]
    assert found["a.png"]["reason"] is None and (named["reason"], named["etag"]) == ("unreadable", "")
    assert "give the file another name" in named["detail"]


@pytest.mark.parametrize("box", [(), (0, 0, 5, 5)], ids=str)
def test_a_manifest_that_names_such_a_file_has_a_row_that_was_not_read(
    box: tuple[int, ...], lake: Path, asked: list[str]
) -> None:
    write_files(lake, "a.png#xywh=0,0,20,30")
    rows = [row("b.png"), row("a.png#xywh=0,0,20,30", *box)]
    [named, other] = catalog_of(write(lake, "csv", rows)).table.to_pylist()
    assert other["reason"] is None and asked == [f"{lake}/b.png"]
    assert (named["reason"], named["etag"]) == ("forbidden", "") and "columns of input.box" in named["detail"]


def test_such_a_file_and_that_box_are_never_one(lake: Path) -> None:
    rows = [row("a.png", 0, 0, 20, 30), row("a.png#xywh=0,0,20,30")]
    with pytest.raises(CatalogError, match="stand more than once"):
        catalog_of(write(lake, "csv", rows))


def test_a_box_of_what_may_not_be_read_is_forbidden(lake: Path) -> None:
    folder = write_files(lake / "lake", "c.png")
    (folder / "link.png").symlink_to(lake / "a.png")
    rows = [row("c.png", 0, 0, 5, 5), row("../a.png", 0, 0, 5, 5), row("link.png", 0, 0, 5, 5)]
    found = {Path(of["uri"]).name: of["reason"] for of in catalog_of(write(folder, "csv", rows)).table.to_pylist()}
    box = "#xywh=0,0,5,5"
    assert found == {f"c.png{box}": None, f"a.png{box}": "forbidden", f"link.png{box}": "forbidden"}


def test_ten_thousand_boxes_of_a_photograph_are_listed_by_one_question(lake: Path, asked: list[str]) -> None:
    rows = [
        row("a.png", 20 * column, 20 * line, 20 * column + 20, 20 * line + 20)
        for column in range(100)
        for line in range(100)
    ]
    catalog = catalog_of(write(lake, "parquet", rows))
    assert len(catalog) == len(set(catalog.table["uri"].to_pylist())) == 10_000
    assert asked == [f"{lake}/a.png"]


def test_boxes_are_listed_in_a_folder_and_in_a_bucket(place: Location) -> None:
    (place / "a.png").write_bytes(b"12345")
    (place / "caps.csv").write_bytes(b"uri,category,left,top,right,bottom\na.png,cap,1,2,21,32\na.png,cap,,,,\n")
    found = catalog_of(place / "caps.csv").table.to_pylist()
    assert [of["uri"] for of in found] == [f"{place}/a.png", f"{place}/a.png#xywh=1,2,20,30"]
    assert {of["etag"] for of in found} == {(place / "a.png").entry().etag}
