"""Regions as COCO: to the pixel, and as the format's own library reads them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from scipy import ndimage

from pipeline.errors import NothingToScore, StorageError
from pipeline.report import coco as module
from pipeline.report.coco import Mask, Polygon, coco, common_folder, outlines, regions
from pipeline.result import Result, read_result
from pipeline.views import View
from tests.corpus import HOSTILE_NAMES
from tests.published import publish, row
from tests.running import run_script

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own

BLOB = """
................
..######........
..##..##........
..##..###.......
..######........
.......#........
................
.............##.
.............#..
"""


def drawn(picture: str) -> Mask:
    return np.array([[pixel == "#" for pixel in line] for line in picture.split()])


def area_of(polygon: Polygon) -> float:
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def filled(polygons: list[list[float]], height: int, width: int) -> NDArray[Any]:
    """Return the mask that the format's own library makes of polygons."""
    return np.asarray(rle.decode(rle.merge(rle.frPyObjects(polygons, height, width)))).astype(bool)


def test_a_blob_with_a_hole_is_told_to_the_pixel() -> None:
    mask = drawn(BLOB)
    distances = np.where(mask, 0.5, 0.25)
    distances[1, 2], distances[7, 14] = 0.75, 0.625
    first, second = regions(distances, 0.25, View(mask.shape), (16, 9))
    assert (first["area"], first["bbox"], first["score"]) == (22, [2, 1, 7, 5], 0.75)
    assert (second["area"], second["bbox"], second["score"]) == (3, [13, 7, 2, 2], 0.625)
    assert second["segmentation"] == [pytest.approx(second["segmentation"][0])] and len(second["segmentation"][0]) == 12
    assert np.array_equal(filled(first["segmentation"] + second["segmentation"], 9, 16), mask)
    assert not filled(first["segmentation"], 9, 16)[2:4, 4:6].any()


def test_a_square_is_its_four_corners() -> None:
    [square] = outlines(np.ones((3, 5), bool))
    assert sorted(map(tuple, square.tolist())) == [(0, 0), (0, 3), (5, 0), (5, 3)]


def test_coordinates_are_those_of_the_original() -> None:
    [region] = regions(drawn(".... .##. .... ....").astype(float), 0.5, View((4, 4)), (40, 6))
    assert (region["area"], region["bbox"]) == (30, [10, 1.5, 20, 1.5])
    assert {tuple(corner) for corner in np.reshape(region["segmentation"], (-1, 2)).tolist()} == {
        (x, y) for x in (10, 30) for y in (1.5, 3)
    }


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans()))
def test_polygons_cover_exactly_the_mask_and_do_not_overlap(mask: Mask) -> None:
    found = outlines(mask)
    assert sum(map(area_of, found)) == pytest.approx(mask.sum())
    if found:
        polygons = [polygon.ravel().tolist() for polygon in found]
        assert np.array_equal(filled(polygons, *mask.shape), mask)
    labelled = list(regions(mask.astype(float), 0.5, View(mask.shape), mask.shape[::-1]))
    assert sum(region["area"] for region in labelled) == pytest.approx(mask.sum())


def test_a_map_full_of_holes_ends() -> None:
    mask = np.ones((21, 601), bool)
    mask[1::2, 1::2] = False
    assert sum(map(area_of, outlines(mask))) == mask.sum()


def test_each_cut_goes_behind_the_first_column_of_the_next_hole() -> None:
    mask = np.ones((7, 20), bool)
    mask[1, 3:6] = mask[3, 4] = mask[5, 5] = mask[2:4, 9:12] = False
    mask[4, 11] = False  # the second and third hole are opened by cuts that the first and the second need
    spans = {(polygon[:, 0].min(), polygon[:, 0].max()) for polygon in outlines(mask)}
    assert spans == {(0, 4), (4, 6), (6, 10), (10, 20)}


def test_a_region_as_large_as_a_large_map_ends_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    distances = ndimage.zoom(rng.gamma(2, 0.1, (128, 128)), 32, order=1).astype(np.float32)  # 4096 a side
    distances[:, :8] = distances[:8] = 1  # most of it is one region, full of holes
    widths: list[int] = []
    outer = module._outer

    def noted(mask: Mask) -> list[Polygon]:
        widths.append(mask.shape[1])
        return outer(mask)

    monkeypatch.setattr(module, "_outer", noted)
    found = list(regions(distances, 0.15, View(distances.shape), (8192, 4096), (10, 20)))
    assert max(of["area"] for of in found) > 8192 * 4096 / 3 and sum(widths) < 3 * 4096 + 20 * len(found)
    assert sum(of["area"] for of in found) == 2 * (distances > 0.15).sum()
    corners = np.concatenate([np.reshape(polygon, (-1, 2)) for of in found for polygon in of["segmentation"]])
    assert corners.min(axis=0).tolist() == [10, 20] and corners.max() <= 8192 + 10
    monkeypatch.setattr(module, "PIECE", 4096 * 10)
    widths.clear()
    [whole] = regions(np.ones((4096, 100), np.float32), 0.5, View((4096, 100)), (100, 4096))
    assert widths == [10] * 10 and len(whole["segmentation"]) == 10 and whole["area"] == 409_600


@pytest.mark.parametrize(
    ("uris", "folder"),
    [
        (["/lake/a/1.png", "/lake/b/1.png"], "/lake"),
        (["/lake/a/1.png", "/lake/a/b/1.png"], "/lake/a"),
        (["/lake/ab/1.png", "/lake/ac/1.png"], "/lake"),
        (["/lake/a.png"], "/lake"),
        (["/a.png", "/b/c.png"], ""),
        (["s3://one/a/b.png", "s3://one/a/c/d.png"], "s3://one/a"),
        (["s3://one/b.png", "s3://two/d.png"], "s3:/"),
    ],
)
def test_the_folder_of_all_images_is_the_innermost(uris: list[str], folder: str) -> None:
    assert common_folder(uris) == folder


def published(folder: Path, *rows: dict[str, Any]) -> Result:
    """Publish a run whose maps have the blob 0.5 and 0.25 around it."""
    levels = np.where(drawn(BLOB), 20000, 10000).astype(np.uint16)
    folder.mkdir(exist_ok=True)
    Image.fromarray(levels).save(folder / "map.png")
    usual = {"map_uri": "map.png", "pixel_threshold": 0.375, "width": 160, "height": 90, "detail": None}
    return read_result(publish(folder, "one", [usual | of for of in rows], map_scale=0.5 / 20000))


def test_the_formats_library_reads_what_the_job_wrote(tmp_path: Path) -> None:
    names = [f"/lake/{place % 2}/{name}" for place, name in enumerate(HOSTILE_NAMES)]
    rows = [row(f"<{place % 2}>", name, 0.5, anomalous=place != 3) for place, name in enumerate(names)]
    result = published(tmp_path / "out", row("<1>", "/lake/bad", None, anomalous=None), *rows)
    done = run_script("export_run.py", tmp_path / "out", tmp_path / "defects.json")
    count = len(names) - 1
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{2 * count} regions in {len(names)} images below /lake\n"
    assert json.loads((tmp_path / "defects.json").read_text()) == coco(result)

    found = COCO(tmp_path / "defects.json")
    assert {of["name"]: of["supercategory"] for of in found.loadCats(found.getCatIds())} == {
        "<0>": "defect",
        "<1>": "defect",
    }
    assert len(found.getImgIds()) == len(names) and len(found.getAnnIds()) == 2 * count
    for image in found.loadImgs(found.getImgIds()):
        place = image["id"] - 2  # the quarantined one comes first
        assert f"/lake/{image['file_name']}" == names[place] and image["score"] == 0.5
        annotations = found.loadAnns(found.getAnnIds(imgIds=image["id"]))
        assert len(annotations) == (2 if image["anomalous"] else 0) == (0 if place == 3 else 2)
        if annotations:
            [category] = found.loadCats(annotations[0]["category_id"])
            assert category["name"] == f"<{place % 2}>"
            mask = sum(found.annToMask(annotation) for annotation in annotations)
            assert np.array_equal(mask, np.kron(drawn(BLOB), np.ones((10, 10), int)))
            assert [annotation["area"] for annotation in annotations] == [2200, 300]
            assert [annotation["score"] for annotation in annotations] == [pytest.approx(0.5)] * 2


def test_images_that_nothing_was_decided_of_have_no_regions(tmp_path: Path) -> None:
    rows = [row("a", "/a", 0.5, anomalous=None), row("a", "/b", 0.5, anomalous=True, pixel_threshold=None)]
    found = coco(published(tmp_path, *rows, row("a", "/c", 0.5, anomalous=True, pixel_threshold=0.75)))
    assert len(found["images"]) == 3 and found["annotations"] == []


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    with pytest.raises(NothingToScore, match="no image of the run in .* was scored"):
        coco(published(tmp_path / "none", row("a", "/a", None)))
    with pytest.raises(StorageError, match="gone.png: there is no such file"):
        coco(published(tmp_path / "gone", row("a", "/a", 0.5, anomalous=True) | {"map_uri": "gone.png"}))
