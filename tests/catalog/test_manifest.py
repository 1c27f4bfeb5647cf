"""Manifests: tables that somebody else made, as CSV or Parquet."""

import csv
import datetime
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.catalog import Catalog, build_catalog, size
from pipeline.catalog.manifest import read_manifest
from pipeline.config import InputConfig
from pipeline.errors import CatalogError, NothingToScore
from pipeline.io.storage import Location
from pipeline.schema.tables import MANIFEST
from tests.corpus import HOSTILE_NAMES, write_files

Rows = list[dict[str, Any]]
KINDS = ("csv", "parquet")


def write(folder: Path, kind: str, rows: Rows) -> Location:
    """Write rows as a manifest; None is an empty field in CSV and null in Parquet."""
    path = folder / f"manifest.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        sink = io.StringIO()
        writer = csv.DictWriter(sink, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        path.write_bytes(sink.getvalue().encode())
    return Location.parse(str(path))


def write_text(folder: Path, content: str | bytes, name: str = "manifest.csv") -> Location:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Location.parse(str(path))


def catalog_of(location: Location) -> Catalog:
    return build_catalog(InputConfig(uri=location.uri))


@pytest.mark.parametrize("kind", KINDS)
def test_uris_are_taken_from_the_manifests_folder_unless_absolute(kind: str, tmp_path: Path) -> None:
    uris = ["a.png", "deep/b.png", "/lake/c.png", "s3://bucket/d.png", "file:///lake/e.png"]
    table = read_manifest(write(tmp_path, kind, [{"uri": uri, "category": "x"} for uri in uris]))
    assert table["uri"].to_pylist() == [
        f"{tmp_path}/a.png",
        f"{tmp_path}/deep/b.png",
        "/lake/c.png",
        "s3://bucket/d.png",
        "/lake/e.png",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_taken_from_the_manifests_folder_unless_absolute(kind: str, tmp_path: Path) -> None:
    masks = ["m/a.png", None, "/lake/c.png", "s3://bucket/d.png"]
    rows = [{"uri": f"{i}.png", "category": "x", "mask_uri": mask} for i, mask in enumerate(masks)]
    table = read_manifest(write(tmp_path, kind, rows))
    assert table["mask_uri"].to_pylist() == [f"{tmp_path}/m/a.png", None, "/lake/c.png", "s3://bucket/d.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_part_that_an_image_is_a_view_of_has_a_column(kind: str, tmp_path: Path) -> None:
    parts = ["007", "7", "", None, "  ", "u\u0308"]
    rows = [{"uri": f"{i}.png", "category": "x", "group": part, "serial": i} for i, part in enumerate(parts)]
    manifest = write(tmp_path, kind, rows)
    table = read_manifest(manifest)
    assert table["group"].to_pylist() == ["007", "7", None, None, None, "\u00fc"]  # of one form, as categories
    assert table.schema.names == [*MANIFEST.names, "serial"]
    catalog = build_catalog(InputConfig(uri=manifest.uri))
    assert catalog.table["group"].to_pylist() == table["group"].to_pylist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_column_of_parts_may_be_another_and_the_usual_one_is_then_kept(kind: str, tmp_path: Path) -> None:
    rows = [{"uri": f"{i}.png", "category": "x", "serial": f"0{i}", "group": "day"} for i in range(2)]
    manifest = write(tmp_path, kind, rows)
    table = read_manifest(manifest, group="serial")
    assert table["group"].to_pylist() == ["00", "01"] and table["manifest_group"].to_pylist() == ["day"] * 2
    assert table.schema.names == [*MANIFEST.names, "manifest_group"]
    assert build_catalog(InputConfig(uri=manifest.uri, group="serial")).table["group"].to_pylist() == ["00", "01"]
    without = read_manifest(manifest, group=None)
    assert without["group"].null_count == 2 and without["manifest_group"].to_pylist() == ["day"] * 2
    with pytest.raises(CatalogError, match="lacks the column part, which input.group names; it has uri, category"):
        read_manifest(manifest, group="part")


def test_parts_of_a_lake_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts: dict[str, list[str | None]] = {"top": ["1", "2", None], "side": ["1", "2", "2"]}
    rows = [{"uri": f"{c}{i}", "category": c, "group": part} for c, of in parts.items() for i, part in enumerate(of)]
    with caplog.at_level("INFO"):
        catalog_of(write(tmp_path, "csv", rows))
    said = "5 of 6 images are views of 2 parts, 2 to 3 of each; they score within their categories: side, top"
    assert said in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_label_and_mask_may_be_absent(kind: str, tmp_path: Path) -> None:
    table = read_manifest(write(tmp_path, kind, [{"uri": "a.png", "category": "x"}]))
    assert table.schema.names == MANIFEST.names
    assert table["label"].to_pylist() == [None]
    assert table["mask_uri"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0", False),
        ("1", True),
        ("false", False),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        (" 1 ", True),
        ("", None),
        ("none", None),
        ("None", None),
        ("null", None),
        ("NaN", None),
        *((word, False) for word in ("0.0", "normal", "Good", "OK")),
        *((word, True) for word in ("1.0", "defect", "Anomaly", "anomalous", "abnormal", "bad", "NG", "nok")),
    ],
)
def test_label_may_be_written_in_words_or_digits_or_be_absent(written: str, meant: bool | None, tmp_path: Path) -> None:
    rows = [{"uri": "a.png", "category": "x", "label": written}, {"uri": "b.png", "category": "x", "label": "1"}]
    for kind in KINDS:
        assert read_manifest(write(tmp_path, kind, rows))["label"].to_pylist() == [meant, True]


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([False, True, None]),
        pa.array([0, 1, None], pa.int64()),
        pa.array([0, 1, None], pa.uint8()),
        pa.array([0.0, 1.0, None], pa.float64()),  # what pandas makes of integers with a gap
        pa.array(["0", "1", None]).dictionary_encode(),  # what pandas calls a category
        pa.array([0, 1, None]).dictionary_encode(),
        pa.array([0.0, 1.0, float("nan")], pa.float32()),
        pa.array(["0", "1", None], pa.large_string()),
        pa.array([b"ok", b"NG", None]),
    ],
    ids=lambda labels: str(labels.type),
)
def test_label_may_have_any_type_that_parquet_writers_choose(labels: pa.Array, tmp_path: Path) -> None:
    table = pa.table({"uri": ["a.png", "b.png", "c.png"], "category": ["x"] * 3, "label": labels})
    pq.write_table(table, tmp_path / "m.parquet")
    read = read_manifest(Location.parse(str(tmp_path / "m.parquet")))
    assert read["label"].to_pylist() == [False, True, None]
    assert read.schema.field("label").type == pa.bool_()


@pytest.mark.parametrize("label", ["2", "fine", "anomaly 7", "-1", "0.5", "yes"])
@pytest.mark.parametrize("kind", KINDS)
def test_label_of_another_kind_is_refused_and_named(kind: str, label: str, tmp_path: Path) -> None:
    location = write(tmp_path, kind, [{"uri": "a.png", "category": "x", "label": label}])
    with pytest.raises(CatalogError, match=repr(label)):
        read_manifest(location)


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_look_like_numbers_stay_as_they_are_written(kind: str, tmp_path: Path) -> None:
    rows = [{"uri": "007", "category": "010"}, {"uri": "1e3", "category": "1.50"}, {"uri": "true", "category": "2024"}]
    table = read_manifest(write(tmp_path, kind, rows))
    assert table["uri"].to_pylist() == [f"{tmp_path}/007", f"{tmp_path}/1e3", f"{tmp_path}/true"]
    assert table["category"].to_pylist() == ["010", "1.50", "2024"]


@pytest.mark.parametrize("name", ["NA", "null", "NULL", "nan", "NaN", "n/a"])
def test_names_that_look_like_missing_values_stay_as_they_are_written(name: str, tmp_path: Path) -> None:
    table = read_manifest(write(tmp_path, "csv", [{"uri": f"{name}.png", "category": name}]))
    assert table["category"].to_pylist() == [name]


def test_names_of_integer_columns_become_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"uri": ["a.png", "b.png"], "category": [7, 12]}), tmp_path / "m.parquet")
    table = read_manifest(Location.parse(str(tmp_path / "m.parquet")))
    assert table["category"].to_pylist() == ["7", "12"]


def test_gaps_in_a_column_of_floats_are_no_values(tmp_path: Path) -> None:
    gaps = pa.array([float("nan"), None], pa.float64())
    table = pa.table({"uri": ["a.png", "b.png"], "category": [1.0, 2.0], "label": gaps, "mask_uri": gaps})
    pq.write_table(table, tmp_path / "m.parquet")
    read = read_manifest(Location.parse(str(tmp_path / "m.parquet")))
    assert read["category"].to_pylist() == ["1", "2"]
    assert read["label"].to_pylist() == read["mask_uri"].to_pylist() == [None, None]


def test_further_columns_are_kept_in_order_and_type(tmp_path: Path) -> None:
    more = {
        "lot": pa.array(["A", None]),
        "camera": pa.array([3, 4], pa.int8()),
        "taken": pa.array([datetime.datetime(2024, 1, 2, 3), None]),
        "tags": pa.array([["wet", "night"], []]),
    }
    pq.write_table(
        pa.table({"lot": more["lot"], "uri": ["a", "b"], "category": ["x", "x"], **more}), tmp_path / "m.parquet"
    )
    table = read_manifest(Location.parse(str(tmp_path / "m.parquet")))
    assert table.schema.names == [*MANIFEST.names, "lot", "camera", "taken", "tags"]
    for name, values in more.items():
        assert table[name].type == values.type
        assert table[name].to_pylist() == values.to_pylist()


def test_further_columns_of_csv_are_kept_beside_their_rows(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png", "b.png", "c.png")
    rows = [
        {"uri": "c.png", "category": "x", "lot": "third", "weight": "3.5"},
        {"uri": "a.png", "category": "x", "lot": "first", "weight": "1.5"},
        {"uri": "b.png", "category": "a", "lot": "second", "weight": "2.5"},
    ]
    catalog = catalog_of(write(tmp_path, "csv", rows))
    assert [Path(uri).name for uri in catalog.table["uri"].to_pylist()] == ["b.png", "a.png", "c.png"]
    assert catalog.kept.to_pydict() == {"lot": ["second", "first", "third"], "weight": [2.5, 1.5, 3.5]}


@pytest.mark.parametrize("kind", KINDS)
def test_uri_that_stands_twice_is_refused_and_named(kind: str, tmp_path: Path) -> None:
    uris = ["a.png", "b.png", "a.png", "a.png"]
    location = write(tmp_path, kind, [{"uri": uri, "category": "x"} for uri in uris])
    with pytest.raises(CatalogError, match="a.png") as caught:
        read_manifest(location)
    assert "b.png" not in str(caught.value)


@pytest.mark.parametrize("again", ["{folder}/a.png", "file://{folder}/a.png", "./a.png", "deep/../a.png"])
def test_one_file_written_in_two_ways_stands_twice(again: str, tmp_path: Path) -> None:
    rows = [{"uri": "a.png", "category": "x"}, {"uri": again.format(folder=tmp_path), "category": "y"}]
    location = write(tmp_path, "csv", rows)
    with pytest.raises(CatalogError, match="a.png"):
        read_manifest(location)


@pytest.mark.parametrize("column", ["uri", "category"])
@pytest.mark.parametrize("kind", KINDS)
def test_missing_column_is_refused_and_named(kind: str, column: str, tmp_path: Path) -> None:
    row = {"uri": "a.png", "category": "x", "lot": "1"}
    location = write(tmp_path, kind, [{name: value for name, value in row.items() if name != column}])
    with pytest.raises(CatalogError, match=f"lacks the column {column}.*lot"):
        read_manifest(location)


@pytest.mark.parametrize("column", ["uri", "category"])
@pytest.mark.parametrize("kind", KINDS)
def test_row_without_a_name_is_refused_by_its_number(kind: str, column: str, tmp_path: Path) -> None:
    rows: Rows = [{"uri": "a.png", "category": "x"}, {"uri": "b.png", "category": "x"}]
    rows[1][column] = None
    location = write(tmp_path, kind, rows)
    with pytest.raises(CatalogError, match=f"row 2 has no {column}"):
        read_manifest(location)


def test_csv_field_may_hold_a_newline_a_comma_and_quotes(tmp_path: Path) -> None:
    odd = 'one\ntwo, "three"\r\nfour'
    rows = [{"uri": f"{odd}.png", "category": odd, "note": odd}, {"uri": "b.png", "category": "x", "note": "y"}]
    table = read_manifest(write(tmp_path, "csv", rows))
    assert table["uri"].to_pylist() == [f"{tmp_path}/{odd}.png", f"{tmp_path}/b.png"]
    assert table["category"].to_pylist() == [odd, "x"]
    assert table["note"].to_pylist() == [odd, "y"]


def test_csv_fields_with_newlines_are_read_whole_in_a_long_file(tmp_path: Path) -> None:
    """Arrow reads a megabyte at a time, and must not begin in the middle of a field."""
    rows = [{"uri": f"{i}.png", "category": "x", "note": f"line\n,{i}\n" * 5} for i in range(25_000)]
    location = write(tmp_path, "csv", rows)
    assert len(location.read_bytes()) > 1 << 20
    table = read_manifest(location)
    assert table["note"].to_pylist() == [row["note"] for row in rows]


def test_csv_of_a_spreadsheet_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    table = read_manifest(write_text(tmp_path, b"\xef\xbb\xbfuri,category\r\na.png,x\r\n"))
    assert table["uri"].to_pylist() == [f"{tmp_path}/a.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_names_are_taken_literally(kind: str, tmp_path: Path) -> None:
    write_files(tmp_path, *HOSTILE_NAMES, content=b"12345")
    catalog = catalog_of(write(tmp_path, kind, [{"uri": name, "category": name} for name in HOSTILE_NAMES]))
    assert sorted(catalog.table["category"].to_pylist()) == sorted(HOSTILE_NAMES)
    assert catalog.table["size"].to_pylist() == [5] * len(HOSTILE_NAMES)
    assert catalog.table["reason"].to_pylist() == [None] * len(HOSTILE_NAMES)


@pytest.mark.parametrize(
    "missing", ["none.png", "no/folder/a.png", "a.png/b.png", "x" * 300, "nul\0byte.png", "folder"]
)
def test_uri_with_no_file_behind_it_becomes_a_row_with_a_reason(missing: str, tmp_path: Path) -> None:
    write_files(tmp_path, "a.png", "folder/c.png")
    location = write(tmp_path, "parquet", [{"uri": name, "category": "x"} for name in ("a.png", missing)])
    rows = {row["uri"]: row for row in catalog_of(location).table.to_pylist()}
    assert rows[f"{tmp_path}/a.png"]["reason"] is None
    assert rows[f"{tmp_path}/{missing}"]["reason"] == "unreadable"
    assert rows[f"{tmp_path}/{missing}"]["detail"]


@pytest.mark.parametrize("kind", KINDS)
def test_manifest_without_rows_is_nothing_to_score(kind: str, tmp_path: Path) -> None:
    if kind == "csv":
        location = write_text(tmp_path, "uri,category,label\n")
    else:
        pq.write_table(
            pa.table({"uri": pa.array([], pa.string()), "category": pa.array([], pa.string())}), tmp_path / "m.parquet"
        )
        location = Location.parse(str(tmp_path / "m.parquet"))
    with pytest.raises(NothingToScore, match="no rows"):
        catalog_of(location)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


BAD_TEXT = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9.png"]).buffers())
GOOD = _parquet(pa.table({"uri": [f"{i}.png" for i in range(50)], "category": ["x"] * 50}))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", b""),
        ("m.csv", b"uri,category\na.png\n"),
        ("m.csv", b"uri,category\na.png,x,y\n"),
        ("m.csv", b"uri,category\ncaf\xe9.png,x\n"),
        ("m.csv", b"uri,uri,category\na.png,b.png,x\n"),
        ("m.csv", b"uri,category,lot,lot\na.png,x,1,2\n"),
        ("m.csv", GOOD),
        ("m.parquet", b""),
        ("m.parquet", b"uri,category\na.png,x\n"),
        ("m.parquet", GOOD[: len(GOOD) // 2]),
        ("m.parquet", b"PAR1" + bytes(len(GOOD) - 12) + GOOD[-8:]),
        ("m.parquet", GOOD[:-8] + b"\xff\xff\xff\x7fPAR1"),
        ("m.parquet", GOOD[:4] + bytes(60) + GOOD[64:]),
        ("m.parquet", _parquet(pa.table({"uri": [["a.png"]], "category": ["x"]}))),
        ("m.parquet", _parquet(pa.table({"uri": [b"caf\xe9.png"], "category": ["x"]}))),
        ("m.parquet", _parquet(pa.table({"uri": ["a.png"], "category": ["x"], "label": [{"a": 1}]}))),
        ("m.parquet", _parquet(pa.table({"uri": ["a.png"], "category": ["x"], "note": BAD_TEXT}))),
        ("m.parquet", _parquet(pa.table({"uri": BAD_TEXT, "category": ["x"]}))),
        ("m.csv", b"uri,category,caf\xe9\na.png,x,1\n"),
        ("m.csv", "uri,category\na.png,x\n".encode("utf-16")),
    ],
    ids=[
        "csv of no bytes",
        "csv row too short",
        "csv row too long",
        "csv not UTF-8",
        "csv with uri twice",
        "csv with a further column twice",
        "parquet named csv",
        "parquet of no bytes",
        "csv named parquet",
        "parquet cut",
        "parquet with zeros for its footer",
        "parquet with a footer too long",
        "parquet with zeros for a page",
        "uri is a list",
        "uri is not UTF-8",
        "label is a struct",
        "note is text that is not UTF-8",
        "uri is text that is not UTF-8",
        "csv with a name that is not UTF-8",
        "csv in UTF-16",
    ],
)
def test_table_that_cannot_be_read_is_refused_and_named(name: str, content: bytes, tmp_path: Path) -> None:
    location = write_text(tmp_path, content, name)
    with pytest.raises(CatalogError, match=name):
        read_manifest(location)


@pytest.mark.parametrize("column", ["uri", "category", "note"])
@pytest.mark.parametrize("nested", [False, True])
def test_parquet_that_is_small_and_holds_gigabytes_is_refused_before_it_is_read(
    column: str, nested: bool, tmp_path: Path
) -> None:
    rows = 3000
    long = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["a" * 1_000_000])
    texts = {"uri": pa.array([f"{row}.png" for row in range(rows)]), "category": pa.array(["x"] * rows)}
    texts[column] = pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), long) if nested else long
    pq.write_table(pa.table(texts), tmp_path / "bomb.parquet", store_schema=False)
    assert (tmp_path / "bomb.parquet").stat().st_size < 3_000_000
    with pytest.raises(CatalogError, match="bomb.parquet is too large for a manifest: .* 3000 rows, the limit is 2147"):
        read_manifest(Location.parse(str(tmp_path / "bomb.parquet")))


def test_parquet_of_many_equal_numbers_is_refused_by_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"uri": ["a.png"] * 20_000, "category": ["x"] * 20_000, "lot": [7] * 20_000})
    pq.write_table(table, tmp_path / "bomb.parquet")
    monkeypatch.setattr(size, "LIMIT", 20_000 * 3 * 8)
    with pytest.raises(CatalogError, match="bomb.parquet is too large for a manifest: .* 20000 rows, the limit is"):
        read_manifest(Location.parse(str(tmp_path / "bomb.parquet")))


def test_manifest_may_have_any_name_when_the_layout_says_so(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png")
    write_text(tmp_path, _parquet(pa.table({"uri": ["a.png"], "category": ["x"]})), "list.data")
    catalog = build_catalog(InputConfig(uri=str(tmp_path / "list.data"), layout="manifest"))
    assert catalog.layout == "manifest"
    assert len(catalog) == 1


def test_mask_is_handed_on_with_its_image(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png", "b.png", "m.png")
    rows: Rows = [
        {"uri": "a.png", "category": "x", "label": "1", "mask_uri": "m.png"},
        {"uri": "b.png", "category": "x", "label": "0", "mask_uri": None},
    ]
    catalog = catalog_of(write(tmp_path, "csv", rows))
    assert catalog.table["masks"].to_pylist() == [[f"{tmp_path}/m.png"], []]
    assert catalog.table["label"].to_pylist() == [True, False]


OUTSIDE = [
    "../outside.png",
    "deep/../../outside2.png",
    "/etc/hostname",
    "file:///etc/passwd",
    "link/outside.png",
    "s3://another-bucket/a.png",
    "http://169.254.169.254/latest/meta-data/iam",
    "https://me:secret@host/a.png",
    "ftp://host/a.png",
    "s3://",
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_outside_of_the_allowed_folders_is_a_row_that_was_not_read(
    kind: str, tmp_path: Path, asked: list[str]
) -> None:
    lake = write_files(tmp_path / "lake", "a.png", "m.png")
    write_files(tmp_path, "outside.png")
    (lake / "link").symlink_to(tmp_path)
    rows = [{"uri": uri, "category": "x", "mask_uri": None} for uri in ["a.png", *OUTSIDE]]
    rows.append({"uri": "m.png", "category": "x", "mask_uri": "../outside.png"})
    found = catalog_of(write(lake, kind, rows)).table.to_pylist()
    assert len(found) == len(rows) and asked == [f"{lake}/a.png"]
    reasons = {row["uri"]: (row["reason"], row["detail"], row["masks"]) for row in found}
    assert reasons.pop(f"{lake}/a.png") == (None, None, [])
    assert {reason for reason, _, _ in reasons.values()} == {"forbidden"}
    assert all("secret" not in detail and not masks for _, detail, masks in reasons.values())


def test_other_roots_may_be_named(tmp_path: Path) -> None:
    lake, other = write_files(tmp_path / "lake", "a.png"), write_files(tmp_path / "other", "b.png", "c/d.png")
    rows = [{"uri": uri, "category": "x"} for uri in ("a.png", str(other / "b.png"), "../other/c/d.png", "../x.png")]
    manifest = write(lake, "csv", rows)
    found = build_catalog(InputConfig(uri=manifest.uri, roots=(str(other),))).table.to_pylist()
    assert {row["uri"]: row["reason"] for row in found} == {
        f"{lake}/a.png": None,
        f"{other}/b.png": None,
        f"{other}/c/d.png": None,
        f"{tmp_path}/x.png": "forbidden",
    }


def test_a_manifest_with_nothing_inside_says_what_to_set(tmp_path: Path) -> None:
    manifest = write(tmp_path, "csv", [{"uri": "s3://bucket/a.png", "category": "x"}])
    with pytest.raises(CatalogError, match="none of its 1 images may be read: .*input.roots"):
        catalog_of(manifest)
