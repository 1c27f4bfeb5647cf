"""Where to look: masks of categories and of images, whose own comes first, and those that are not there."""

import csv
from pathlib import Path
from typing import Any

import pytest

from pipeline.catalog import build_catalog
from pipeline.catalog.regions import with_regions
from pipeline.config import InputConfig
from pipeline.errors import CatalogError
from pipeline.io.storage import Location
from tests.corpus import write_files


def regions(config: InputConfig) -> dict[str, tuple[str | None, str | None]]:
    """Return region and tag of each image, by its name."""
    rows = build_catalog(config).table.to_pylist()
    return {row["uri"].rpartition("/")[2]: (row["region_uri"], row["region_etag"]) for row in rows}


def tag(path: Path) -> str:
    return Location.parse(str(path)).entry().etag


def manifest(folder: Path, rows: list[dict[str, str]]) -> InputConfig:
    with (folder / "lake.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return InputConfig(uri=str(folder / "lake.csv"))


def test_a_category_has_its_mask_and_others_none(tmp_path: Path) -> None:
    write_files(tmp_path, "lake/nut/a.png", "lake/nut/b.png", "lake/bolt/c.png", "nut.png")
    uri = str(tmp_path / "nut.png")
    found = regions(InputConfig(uri=str(tmp_path / "lake"), layout="folder", region={"nut": uri}))
    assert found == {
        "a.png": (uri, tag(tmp_path / "nut.png")),
        "b.png": (uri, tag(tmp_path / "nut.png")),
        "c.png": (None, None),
    }


def test_without_masks_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, "lake/nut/a.png")
    table = build_catalog(InputConfig(uri=str(tmp_path / "lake"), layout="folder")).table
    monkeypatch.setattr(Location, "entry", None)
    assert with_regions(table, {}) is table and table["region_uri"].null_count == 1


def test_a_mask_in_the_lake_is_no_image(tmp_path: Path) -> None:
    write_files(tmp_path, "lake/nut/a.png", "lake/nut/where.png")
    uri = str(tmp_path / "lake/nut/where.png")
    config = InputConfig(uri=str(tmp_path / "lake"), layout="folder", region={"nut": uri})
    assert regions(config) == {"a.png": (uri, tag(tmp_path / "lake/nut/where.png"))}


def test_an_images_own_mask_comes_before_that_of_its_category(tmp_path: Path) -> None:
    write_files(tmp_path, "a.png", "b.png", "c.png", content=b"x")
    write_files(tmp_path, "own.png", "usual.png", content=b"mask")
    rows = [
        {"uri": "a.png", "category": "nut", "region_uri": "own.png"},
        {"uri": "b.png", "category": "nut", "region_uri": ""},
        {"uri": "c.png", "category": "bolt", "region_uri": ""},
    ]
    config = manifest(tmp_path, rows).model_copy(update={"region": {"nut": str(tmp_path / "usual.png")}})
    found = regions(config)
    assert found == {
        "a.png": (str(tmp_path / "own.png"), tag(tmp_path / "own.png")),
        "b.png": (str(tmp_path / "usual.png"), tag(tmp_path / "usual.png")),
        "c.png": (None, None),
    }


@pytest.mark.parametrize("of", ["category", "image"])
def test_a_mask_that_is_not_there_is_an_error_that_names_it(of: str, tmp_path: Path) -> None:
    write_files(tmp_path, "a.png", "b.png")
    rows = [{"uri": f"{name}.png", "category": "nut", "region_uri": ""} for name in "ab"]
    more: dict[str, Any] = {}
    if of == "image":
        rows[1]["region_uri"] = "absent.png"
    else:
        more["region"] = {"nut": str(tmp_path / "absent.png")}
    with pytest.raises(CatalogError, match=r"the mask of where to look cannot be read: .*absent\.png"):
        build_catalog(manifest(tmp_path, rows).model_copy(update=more))


def test_a_mask_that_a_manifest_names_elsewhere_is_not_read(tmp_path: Path) -> None:
    write_files(tmp_path, "lake/a.png", "lake/b.png", "secret.png")
    rows = [
        {"uri": "a.png", "category": "nut", "region_uri": str(tmp_path / "secret.png")},
        {"uri": "b.png", "category": "nut", "region_uri": ""},
    ]
    table = build_catalog(manifest(tmp_path / "lake", rows)).table.to_pylist()
    assert [row["reason"] for row in table] == ["forbidden", None]
    assert "secret.png is not below" in table[0]["detail"] and table[0]["region_uri"] is None


def test_a_changed_mask_has_another_tag(tmp_path: Path) -> None:
    write_files(tmp_path, "lake/nut/a.png", "nut.png")
    config = InputConfig(uri=str(tmp_path / "lake"), layout="folder", region={"nut": str(tmp_path / "nut.png")})
    before = regions(config)
    write_files(tmp_path, "nut.png", content=b"another mask")
    after = regions(config)
    assert before["a.png"][0] == after["a.png"][0] and before["a.png"][1] != after["a.png"][1]
