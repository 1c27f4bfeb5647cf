"""Labels that people gave, before those of the layout."""

import csv
import io
import logging
from pathlib import Path

import pytest

from pipeline.catalog import build_catalog
from pipeline.catalog.labels import confirmed_normals, read_families, read_labels
from pipeline.config import InputConfig
from pipeline.errors import CatalogError, ConfigError, StorageError
from pipeline.io.storage import Location
from tests.corpus import HOSTILE_NAMES, write_files
from tests.published import row, table


def write(folder: Path, *rows: tuple[str, str], header: tuple[str, ...] = ("uri", "label")) -> Location:
    """Write labels as the report's page does, in the form of RFC 4180."""
    sink = io.StringIO()
    csv.writer(sink).writerows([header, *rows])
    return text(folder, sink.getvalue())


def text(folder: Path, content: str | bytes) -> Location:
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Location.parse(str(path))


def test_labels_are_read_with_whatever_stands_beside_them(tmp_path: Path) -> None:
    content = "\ufeffwho,label,uri\r\nme, Defect ,a.png\r\nyou,normal,s3://b/c.png\r\n"
    assert read_labels(text(tmp_path, content)) == {"a.png": True, "s3://b/c.png": False}


@pytest.mark.parametrize("word", ["0", "0.0", "False", "NORMAL", "good", "Ok"])
@pytest.mark.parametrize(
    "other", ["1", "1.0", "TRUE", "defect", "Anomaly", "anomalous", "abnormal", "bad", "NG", "nok"]
)
def test_labels_may_be_any_usual_word(word: str, other: str, tmp_path: Path) -> None:
    assert read_labels(write(tmp_path, ("a", word), ("b", f" {other} "))) == {"a": False, "b": True}


def test_labels_are_read_from_a_folder_and_from_a_bucket(place: Location) -> None:
    (place / "labels.csv").write_bytes(b"uri,label\r\na,defect\r\n")
    assert read_labels(place / "labels.csv") == {"a": True}


def test_no_label_at_all_is_no_error(tmp_path: Path) -> None:
    assert read_labels(write(tmp_path)) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("uri,label\na,fine\n", "line 2: label 'fine' of a is neither normal nor defect: write 0, false, normal"),
        ("uri,label\na,\n", "line 2: label '' of a is neither"),
        ("uri,label\na\n", "line 2: label None of a is neither"),
        ("uri,label\n,normal\n", "line 2: there is no uri"),
        ("uri,label\na,normal\nb,defect\na,normal\n", "line 4: a stands twice"),
        ("uri,tag\na,good\n", "lacks the column label; it has uri, tag"),
        ("uri;label\na;normal\n", "lacks the column uri; it has uri;label"),
        ("", "lacks the column uri"),
        ('uri,label\n"a,normal\n', "is not a CSV that can be read"),
        (b"uri,label\n\xff,normal\n", "is not a CSV that can be read"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(content: str | bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=f"labels.csv.*{said}"):
        read_labels(text(tmp_path, content))


def test_a_file_that_is_not_there_is_said_before_the_lake_is_listed(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="absent.csv: there is no such file"):
        build_catalog(InputConfig(uri=str(tmp_path / "no lake"), labels=str(tmp_path / "absent.csv")))


def test_labels_stand_before_the_layouts_and_a_normal_image_has_no_mask(tmp_path: Path) -> None:
    lake = write_files(
        tmp_path / "lake", *(f"nut/test/{name}.png" for name in ("good/a", "good/b", "hole/c", "hole/d", "hole/e"))
    )
    write_files(lake, *(f"nut/ground_truth/hole/{name}_mask.png" for name in "cde"))
    test = f"{lake}/nut/test"
    said = write(tmp_path, (f"{test}/hole/d.png", "normal"), (f"{test}/good/b.png", "defect"))
    plain = build_catalog(InputConfig(uri=str(lake)))
    table = build_catalog(InputConfig(uri=str(lake), labels=said.uri)).table
    assert table.schema == plain.table.schema
    rows = {Path(row["uri"]).stem: row for row in table.to_pylist()}
    assert {name: row["label"] for name, row in rows.items()} == dict(a=False, b=True, c=True, d=False, e=True)
    assert [name for name, row in rows.items() if row["masks"]] == ["c", "e"]
    assert [name for name, row in rows.items() if row["reviewed"]] == ["b", "d"]
    assert not any(plain.table["reviewed"].to_pylist())
    untouched = [name for name in table.column_names if name not in ("label", "masks", "reviewed")]
    assert table.select(untouched) == plain.table.select(untouched)


def test_a_folder_without_labels_has_those_that_people_gave(tmp_path: Path) -> None:
    lake = write_files(tmp_path / "lake", "nut/a.png", "nut/b.png", "nut/c.png")
    said = write(tmp_path, (f"{lake}/nut/b.png", "defect"), (f"{lake}/nut/c.png", "normal"))
    table = build_catalog(InputConfig(uri=str(lake), labels=said.uri)).table
    assert table["label"].to_pylist() == [None, True, False]


def test_uris_that_the_lake_does_not_have_are_counted_and_cost_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = write_files(tmp_path / "lake", "nut/a.png", "nut/b.png")
    gone = [(f"{lake}/nut/{name}.png", "normal") for name in ("old", "older", "oldest", "gone")]
    said = write(tmp_path, *gone, (f"{lake}/nut/a.png", "defect"))
    with caplog.at_level(logging.WARNING):
        table = build_catalog(InputConfig(uri=str(lake), labels=said.uri)).table
    assert table["label"].to_pylist() == [True, None]
    [message] = caplog.messages
    assert f"4 of 5 uris in {said} are not in the lake: {lake}/nut/old.png" in message
    assert "oldest" in message and "gone" not in message


def test_names_of_any_kind_find_their_image(tmp_path: Path) -> None:
    lake = write_files(tmp_path / "lake", *(f"nut/{name}" for name in HOSTILE_NAMES))
    plain = build_catalog(InputConfig(uri=str(lake))).table
    said = write(tmp_path, *((uri, "defect") for uri in plain["uri"].to_pylist()))
    table = build_catalog(InputConfig(uri=str(lake), labels=said.uri)).table
    assert table["label"].to_pylist() == table["reviewed"].to_pylist() == [True] * len(HOSTILE_NAMES)


SCORES = table([row("nut", "a", 0.1), row("nut", "b", 0.2), row("bolt", "c", 0.3), row("bolt", "d", None)])


def test_confirmed_normals_are_those_that_were_scored(caplog: pytest.LogCaptureFixture) -> None:
    labels = {"a": False, "b": True, "c": False, "d": False, "gone": False}
    found = confirmed_normals(SCORES, labels, Location.parse("/labels.csv"))
    assert found.to_pylist() == [{"uri": "a", "category": "nut"}, {"uri": "c", "category": "bolt"}]
    assert caplog.messages == ["labels   1 of 4 uris in /labels.csv are not in the run: gone"]


def test_confirmed_parts_of_photographs_are_named_by_their_boxes() -> None:
    scores = table([row("nut", "a#xywh=1,2,20,30", 0.1), row("nut", "b", 0.2), row("nut", "c#xywh=0,0,9,9", 0.3)])
    labels = {"a#xywh=1,2,20,30": False, "b": False, "c#xywh=0,0,9,9": True}
    found = confirmed_normals(scores, labels, Location.parse("/labels.csv"), ("l", "t", "r", "b"))
    assert found.to_pylist() == [
        {"uri": "a", "category": "nut", "l": 1, "t": 2, "r": 21, "b": 32},
        {"uri": "b", "category": "nut", "l": None, "t": None, "r": None, "b": None},
    ]


@pytest.mark.parametrize("labels", [{}, {"a": True}, {"d": False}])
def test_a_run_without_a_confirmed_normal_image_pins_nothing(labels: dict[str, bool]) -> None:
    with pytest.raises(ConfigError, match="none of the run's scored images is labelled normal in /labels.csv"):
        confirmed_normals(SCORES, labels, Location.parse("/labels.csv"))


def test_labels_of_another_lake_are_refused(tmp_path: Path) -> None:
    lake = write_files(tmp_path / "lake", "nut/a.png")
    said = write(tmp_path, ("/other/a.png", "normal"), ("/other/b.png", "defect"))
    with pytest.raises(CatalogError, match="none of the 2 uris in .* is in the lake, such as /other/a.png"):
        build_catalog(InputConfig(uri=str(lake), labels=said.uri))


def test_people_may_say_what_they_call_the_family_of_a_defect(tmp_path: Path) -> None:
    location = text(tmp_path, "uri,label,family\na.png,defect, crack \nb.png,normal,\nc.png,defect\n")
    assert read_labels(location) == {"a.png": True, "b.png": False, "c.png": True}
    assert read_families(location) == {"a.png": "crack"}
    assert read_families(write(tmp_path, ("a", "defect"))) == {}
