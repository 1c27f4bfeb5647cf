"""build_catalog(): from an address to one row for each input."""

import os
from pathlib import Path

import pytest

from pipeline.catalog import Catalog, build_catalog
from pipeline.config import InputConfig, Layout
from pipeline.errors import CatalogError, ConfigError, NothingToScore, StorageError
from pipeline.io.storage import Location
from pipeline.schema.tables import CATALOG
from tests.corpus import HOSTILE_NAMES, write_files


def catalog_of(folder: Path, layout: Layout = "auto") -> Catalog:
    return build_catalog(InputConfig(uri=str(folder), layout=layout))


def names(catalog: Catalog, folder: Path) -> list[str]:
    return [uri.removeprefix(f"{folder}/") for uri in catalog.table["uri"].to_pylist()]


def test_address_with_nothing_at_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="nothing at .*/absent"):
        catalog_of(tmp_path / "absent")


def test_empty_folder_is_nothing_to_score(tmp_path: Path) -> None:
    with pytest.raises(NothingToScore, match=str(tmp_path)):
        catalog_of(tmp_path)


def test_folder_of_notes_is_nothing_to_score_and_says_how_many_there_are(tmp_path: Path) -> None:
    write_files(tmp_path, "a.txt", "b/c.json", "b/d.csv")
    with pytest.raises(NothingToScore, match="3 other files"):
        catalog_of(tmp_path)


def test_layout_that_does_not_fit_is_nothing_to_score_and_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, "line/a.png")
    with pytest.raises(NothingToScore, match="mvtec"):
        catalog_of(tmp_path, "mvtec")


def test_single_image_is_refused_with_what_to_give_instead(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png")
    with pytest.raises(CatalogError, match="folder that holds"):
        catalog_of(tmp_path / "a.png")


def test_table_has_one_row_for_each_image_after_the_schema(tmp_path: Path) -> None:
    write_files(tmp_path, "line/a.png", content=b"12345")
    catalog = catalog_of(tmp_path)
    assert catalog.layout == "folder"
    assert catalog.table.schema == CATALOG.arrow
    (row,) = catalog.table.to_pylist()
    assert row.pop("etag")
    assert row == {
        "image": 0,
        "uri": f"{tmp_path}/line/a.png",
        "category": "line",
        "label": None,
        "masks": [],
        "reviewed": False,
        "region_uri": None,
        "region_etag": None,
        "group": None,
        "size": 5,
        "reason": None,
        "detail": None,
    }


def test_rows_are_sorted_by_category_and_then_uri(tmp_path: Path) -> None:
    write_files(tmp_path, "b/1.png", "b/10.png", "b/2.png", "a b/1.png", "a/9.png", "a/c/1.png", "Z/0.png", "é/0.png")
    catalog = catalog_of(tmp_path)
    assert names(catalog, tmp_path) == [
        "Z/0.png",
        "a/9.png",
        "a/c/1.png",
        "a b/1.png",
        "b/1.png",
        "b/10.png",
        "b/2.png",
        "é/0.png",
    ]
    assert catalog.table["image"].to_pylist() == list(range(8))


def test_category_that_lies_in_many_folders_is_sorted_as_one(tmp_path: Path) -> None:
    write_files(tmp_path, "b/test/good/1.png", "b/test/bad/1.png", "a/test/good/1.png", "a/test/bad/1.png")
    assert names(catalog_of(tmp_path), tmp_path) == [
        "a/test/bad/1.png",
        "a/test/good/1.png",
        "b/test/bad/1.png",
        "b/test/good/1.png",
    ]


def test_folder_may_be_written_with_a_slash_at_its_end(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png")
    catalog = build_catalog(InputConfig(uri=f"{tmp_path}/"))
    assert catalog.table["category"].to_pylist() == [tmp_path.name]
    assert names(catalog, tmp_path) == ["a.png"]


def test_what_is_no_regular_file_becomes_a_row_with_a_reason(tmp_path: Path) -> None:
    write_files(tmp_path, "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "broken.png").symlink_to("nowhere.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    rows = {Path(row["uri"]).name: row for row in catalog_of(tmp_path).table.to_pylist()}
    assert {name: row["reason"] for name, row in rows.items()} == {
        "good.png": None,
        "pipe.png": "unreadable",
        "broken.png": "unreadable",
        "loop.png": "unreadable",
    }
    details = {name: rows[name]["detail"] for name in ("pipe.png", "broken.png", "loop.png")}
    assert details == {
        "pipe.png": "not a regular file",
        "broken.png": "a link to nowhere: nowhere.png",
        "loop.png": "a link to nowhere: loop.png",
    }


def test_link_to_an_image_is_the_image(tmp_path: Path) -> None:
    store = write_files(tmp_path / "store", "a.png", content=b"12345")
    lake = write_files(tmp_path / "lake", "b.png")
    (lake / "linked.png").symlink_to(store / "a.png")
    rows = {Path(row["uri"]).name: row for row in catalog_of(lake).table.to_pylist()}
    assert rows["linked.png"]["reason"] is None
    assert rows["linked.png"]["size"] == 5


def test_etag_of_a_link_changes_with_the_image_behind_it(tmp_path: Path) -> None:
    store = write_files(tmp_path / "store", "a.png", content=b"12345")
    lake = tmp_path / "lake"
    lake.mkdir()
    (lake / "linked.png").symlink_to(store / "a.png")
    os.utime(store / "a.png", ns=(10**18, 10**18))
    before = catalog_of(lake).table["etag"].to_pylist()
    os.utime(store / "a.png", ns=(2 * 10**18, 2 * 10**18))
    assert catalog_of(lake).table["etag"].to_pylist() != before


def test_name_that_is_not_utf_8_becomes_a_row_with_a_reason_and_a_name_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"12345")
    (row,) = catalog_of(tmp_path).table.to_pylist()
    assert row["uri"] == f"{tmp_path}/caf\\xe9.png"
    assert row["reason"] == "unreadable"
    assert "UTF-8" in row["detail"]


def test_two_names_that_can_only_be_written_alike_are_two_rows(tmp_path: Path) -> None:
    write_files(tmp_path, os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png")
    assert sorted(catalog_of(tmp_path).table["reason"].to_pylist(), key=str) == [None, "unreadable"]


def test_hidden_files_and_folders_are_neither_inputs_nor_counted(tmp_path: Path) -> None:
    write_files(tmp_path, "a/b.png", "a/.hidden.png", ".git/c.png", "a/.cache/d/e.png", ".DS_Store")
    catalog = catalog_of(tmp_path)
    assert names(catalog, tmp_path) == ["a/b.png"]
    assert catalog.ignored == 0


def test_lake_below_a_hidden_folder_is_listed(tmp_path: Path) -> None:
    lake = write_files(tmp_path / ".cache" / "lake", "a.png")
    assert names(catalog_of(lake), lake) == ["a.png"]


def test_folder_that_cannot_be_listed_is_an_error_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A permission that is missing tonight must not look like a lake that has shrunk."""
    write_files(tmp_path, "open/a.png", "locked/b.png")
    scandir = os.scandir

    def guarded(path: str) -> "os._ScandirIterator[str]":
        if os.fspath(path).endswith("/locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(StorageError, match="Permission denied"):
        catalog_of(tmp_path)


def test_hostile_names_are_listed_literally(tmp_path: Path) -> None:
    write_files(tmp_path, *(f"{Path(name).stem}/{name}" for name in HOSTILE_NAMES), content=b"12345")
    catalog = catalog_of(tmp_path)
    assert sorted(names(catalog, tmp_path)) == sorted(f"{Path(name).stem}/{name}" for name in HOSTILE_NAMES)
    assert set(catalog.table["size"].to_pylist()) == {5}
    assert set(catalog.table["reason"].to_pylist()) == {None}


def test_what_a_layout_does_not_take_is_counted(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        "bottle/test/good/0.png",
        "bottle/test/broken/0.png",
        "bottle/ground_truth/broken/0_mask.png",
        "bottle/ground_truth/broken/1_mask.png",
        "bottle/train/good/0.png",
        "bottle/license.txt",
        "overview.png",
    )
    catalog = catalog_of(tmp_path)
    assert catalog.layout == "mvtec"
    assert len(catalog) == 2
    assert catalog.ignored == 4  # a mask of no image, a training image, a note, an image in no test


def test_masks_are_whole_uris(tmp_path: Path) -> None:
    write_files(tmp_path, "b/test/good/0.png", "b/test/cut/0.png", "b/ground_truth/cut/0_mask.png")
    catalog = catalog_of(tmp_path)
    assert catalog.table["masks"].to_pylist() == [[f"{tmp_path}/b/ground_truth/cut/0_mask.png"], []]
    assert catalog.table["label"].to_pylist() == [True, False]


def test_layout_that_is_asked_for_wins_over_the_one_that_is_seen(tmp_path: Path) -> None:
    write_files(tmp_path, "bottle/test/good/0.png", "bottle/train/good/0.png")
    assert len(catalog_of(tmp_path)) == 1
    catalog = catalog_of(tmp_path, "folder")
    assert (catalog.layout, len(catalog)) == ("folder", 2)
    assert catalog.table["label"].to_pylist() == [None, None]


def visa(folder: Path, split: bytes) -> Path:
    write_files(folder, "candle/Data/Images/Normal/0.JPG", "candle/Data/Images/Anomaly/0.JPG")
    return write_files(folder, "split_csv/1cls.csv", content=split)


def test_image_that_only_visas_split_names_becomes_a_row_with_a_reason(tmp_path: Path) -> None:
    rows = (
        "object,split,label,image,mask\n"
        "candle,test,normal,candle/Data/Images/Normal/0.JPG,\n"
        "candle,test,normal,candle/Data/Images/Normal/1.JPG,\n"
    )
    catalog = catalog_of(visa(tmp_path, rows.encode()))
    assert catalog.layout == "visa"
    assert catalog.table["reason"].to_pylist() == [None, "unreadable"]
    assert "split" in catalog.table["detail"].to_pylist()[1]


@pytest.mark.parametrize(
    "split",
    [b"object,label,image\ncandle,normal,candle/Data/Images/Normal/0.JPG\n", b"\xff\xfe\x00\x00", b"split\ntest\n"],
    ids=["no split column", "not UTF-8", "no image column"],
)
def test_visa_split_that_cannot_be_read_is_refused_and_named(split: bytes, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="1cls.csv"):
        catalog_of(visa(tmp_path, split))


def test_image_that_visas_split_names_twice_is_one_row(tmp_path: Path) -> None:
    row = "candle,test,normal,candle/Data/Images/Normal/0.JPG,\n"
    folder = visa(tmp_path, f"object,split,label,image,mask\n{row}{row}".encode())
    try:
        uris = catalog_of(folder).table["uri"].to_pylist()
    except CatalogError:
        return  # to refuse it is as good
    assert len(uris) == 1


@pytest.mark.parametrize(
    ("name", "total", "anomalous", "masks"),
    [("aws_l4v/alien", 118, 60, 0), ("aws_l4v/cookie", 77, 32, 32), ("bsdata/ballscrew", 59, 14, 14)],
)
def test_real_sets_have_the_images_and_masks_that_they_are_published_with(
    name: str, total: int, anomalous: int, masks: int, shared_data: Path
) -> None:
    folder, _, category = name.partition("/")
    catalog = catalog_of(shared_data / folder)
    rows = [row for row in catalog.table.to_pylist() if row["category"] == category]
    assert catalog.layout == "mvtec"
    assert len(rows) == total
    assert sum(row["label"] for row in rows) == anomalous
    assert sum(len(row["masks"]) for row in rows) == masks
    assert all(row["label"] for row in rows if row["masks"])
    assert {row["reason"] for row in rows} == {None}


def test_real_set_is_the_same_listed_by_itself(shared_data: Path) -> None:
    above, alone = catalog_of(shared_data / "bsdata"), catalog_of(shared_data / "bsdata" / "ballscrew")
    assert alone.table.equals(above.table)


def test_a_link_to_a_folder_is_followed_and_a_circle_of_them_ends(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write_files(elsewhere, "a.png", "b.png")
    lake = tmp_path / "lake"
    lake.mkdir()
    (lake / "parts").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(lake)
    catalog = build_catalog(InputConfig(uri=str(lake)))
    assert catalog.table["uri"].to_pylist() == [f"{lake}/parts/a.png", f"{lake}/parts/b.png"]


def test_mask_that_visas_split_names_and_nobody_listed_is_not_taken(tmp_path: Path) -> None:
    """A split file is the lake's own: its names must not lead out of the lake."""
    (tmp_path / "secret.png").write_bytes(b"elsewhere")
    names = ["candle/Data/Masks/Anomaly/0.png", "../secret.png", "/etc/hostname", ""]
    images = [f"candle/Data/Images/Anomaly/{number}.JPG" for number in range(len(names))]
    rows = [f"candle,test,anomaly,{image},{mask}" for image, mask in zip(images, names, strict=True)]
    folder = visa(tmp_path / "lake", "\n".join(["object,split,label,image,mask", *rows]).encode())
    write_files(folder, names[0], *images)
    assert catalog_of(folder).table["masks"].to_pylist() == [[f"{folder}/{names[0]}"], [], [], []]


def test_split_file_larger_than_an_image_may_be_is_not_read(tmp_path: Path) -> None:
    folder = visa(tmp_path, b"object,split,label,image,mask\n")
    with pytest.raises(CatalogError, match="1cls.csv has 30 bytes, the limit is 29"):
        build_catalog(InputConfig(uri=str(folder), max_bytes=29))


def test_a_root_that_is_no_address_is_refused_though_nothing_needs_it(tmp_path: Path) -> None:
    write_files(tmp_path, "line/a.png")
    with pytest.raises(ConfigError) as raised:
        build_catalog(InputConfig(uri=str(tmp_path), roots=("s3://key:secret@bucket/a",)))
    assert "secret" not in str(raised.value)


def test_a_layout_that_was_asked_for_and_does_not_look_so_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = write_files(tmp_path, "nut/test/good/a.png", "nut/test/bent/b.png", "nut/ground_truth/bent/b_mask.png")
    assert len(build_catalog(InputConfig(uri=str(lake), layout="folder"))) == 3
    assert caplog.messages == ["layout folder takes each image for one to score, masks too; this tree looks like mvtec"]
    with pytest.raises(NothingToScore, match="layout visa, 3 other files.; it looks like layout mvtec"):
        build_catalog(InputConfig(uri=str(lake), layout="visa"))


def test_a_category_in_which_nothing_is_normal_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_files(tmp_path, "nut/test/good/a.png", "nut/test/cut/b.png", "bolt/test/fine/a.png", "bolt/test/cut/b.png")
    catalog_of(tmp_path)
    assert caplog.messages == [
        "labels   nothing is normal in 1 categories: bolt; folders of normal images are called good, normal, ok"
    ]


def test_a_category_written_in_two_forms_of_unicode_is_one(tmp_path: Path) -> None:
    write_files(tmp_path, "Pr\u00fcfung/a.png", "Pru\u0308fung/b.png")
    assert catalog_of(tmp_path).table["category"].to_pylist() == ["Pr\u00fcfung"] * 2


def test_what_tools_leave_beside_images_is_no_input(tmp_path: Path) -> None:
    left = ("_SUCCESS", "line_$folder$", "line/_committed_123", "line/_started_123", "line/Thumbs.db", "desktop.ini")
    write_files(tmp_path, *left, ".DS_Store", "line/a.png", "line/_a.png", "line/_SUCCESS.png")
    catalog = catalog_of(tmp_path)
    assert names(catalog, tmp_path) == ["line/_SUCCESS.png", "line/_a.png", "line/a.png"]
    assert catalog.ignored == len(left)


def test_an_empty_object_named_like_a_folder_is_no_input(bucket: str) -> None:
    lake = Location.parse(f"{bucket}/lake")
    for name, content in (("line", b""), ("line/", b""), ("line/deep", b""), ("line/deep/a.png", b"1"), ("b.png", b"")):
        (lake / name).write_bytes(content)
    uris = build_catalog(InputConfig(uri=lake.uri)).table["uri"].to_pylist()
    assert sorted(uris) == [f"{lake}/b.png", f"{lake}/line/deep/a.png"]


def test_an_output_in_the_lake_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    results = (
        "out/runs/run_id=monday/maps/category=line/1.png",
        "out/runs/run_id=monday/maps-1/category=line/1.png",
        "out/runs/run_id=monday/report/images/0/a.webp",
        "out/runs/run_id=monday/run.json",
        "out/work/run_id=tuesday/unit_results/0/a.npy",
        "out/features/0123456789abcdef/tokens/category=line/a.parquet",
        "runs/run_id=monday/maps/category=line/1.png",
    )
    inputs = "line/a.png", "runs/a.png", "out/maps/b.png", "features/front/c.png", "work/run_id/d.png"
    write_files(tmp_path, *results, *inputs)
    catalog = catalog_of(tmp_path)
    assert sorted(catalog.table["uri"].to_pylist()) == sorted(str(tmp_path / name) for name in inputs)
    assert "7 files below" in caplog.text and "are results of runs, such as" in caplog.text and catalog.ignored == 0
