"""Where to look: a mask decides what is seen of images, night after night, and says so in rows."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import CatalogError
from pipeline.report.stored_map import read_map
from tests.scenes import Night, run_night, scene, write

pytestmark = pytest.mark.usefixtures("ray_here")
SIZE, LEFT, RIGHT = (112, 112), (0.2, 0.5), (0.8, 0.5)


def images(folder: Path, count: int = 8, start: int = 0, spots: dict[int, tuple[float, float]] | None = None) -> Path:
    """Write images of one category, some with a spot."""
    for number in range(start, start + count):
        pixels, _ = scene(number, SIZE, (spots or {}).get(number), 9)
        write(folder / "nut" / f"{number}.png", pixels)
    return folder


def mask(path: Path, until: float = 0.5) -> Path:
    """Write a mask that is white left of a share of its width."""
    values = np.zeros((56, 56), np.uint8)
    values[:, : round(56 * until)] = 255
    return write(path, values)


def rows(night: Night) -> dict[str, dict[str, Any]]:
    return {row["uri"].rpartition("/")[2]: row for row in night.result.scores.to_pylist()}


def flag(path: Path) -> str:
    return f"--input.region={{nut: {path}}}"


def test_a_defect_outside_is_not_found_and_one_inside_is(tmp_path: Path) -> None:
    lake = images(tmp_path / "lake", spots={2: LEFT, 3: RIGHT})
    where = mask(lake / "nut" / "where.png")  # in the lake: no image
    everywhere = rows(run_night(images(tmp_path / "other", spots={2: LEFT, 3: RIGHT}), tmp_path / "out1"))
    assert sorted(everywhere, key=lambda name: float(everywhere[name]["score_raw"]))[-2:] in (
        ["2.png", "3.png"],
        ["3.png", "2.png"],
    )
    night = run_night(lake, tmp_path / "out", more=[flag(where)], report__images=8)
    found = rows(night)
    assert sorted(found) == [f"{n}.png" for n in range(8)]
    normal = max(float(of["score_raw"]) for name, of in found.items() if name not in ("2.png", "3.png"))
    assert found["2.png"]["score_raw"] > 2 * normal and found["3.png"]["score_raw"] < 1.5 * normal
    for row in found.values():
        assert row["region_uri"] == str(where) and row["region_etag"]
        values = read_map(night.result, row)
        assert not values[:, 63:].any() and values[:, :49].any()


def test_a_manifest_has_a_mask_for_an_image_of_its_own(tmp_path: Path) -> None:
    images(tmp_path, spots={2: LEFT, 3: LEFT})
    mask(tmp_path / "own.png", 1.0)
    values = np.zeros((56, 56), np.uint8)
    values[:, 28:] = 255
    usual = write(tmp_path / "usual.png", values)
    with (tmp_path / "lake.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["uri", "category", "region_uri"]]
            + [[f"nut/{n}.png", "nut", "own.png" if n == 2 else ""] for n in range(8)]
        )
    found = rows(run_night(tmp_path / "lake.csv", tmp_path / "out", more=[flag(usual)]))
    assert {name: Path(row["region_uri"]).name for name, row in found.items()} == {
        f"{n}.png": "own.png" if n == 2 else "usual.png" for n in range(8)
    }
    normal = max(float(of["score_raw"]) for name, of in found.items() if name != "2.png")
    assert found["2.png"]["score_raw"] > 2 * normal


def test_a_changed_mask_is_seen_the_next_night(tmp_path: Path) -> None:
    lake = images(tmp_path / "lake", spots={3: RIGHT})
    where, window = mask(tmp_path / "where.png"), {"references__source": "window"}
    first = run_night(lake, tmp_path / "out", "one", [flag(where)], **window)
    again = run_night(lake, tmp_path / "out", "two", [flag(where)], **window)
    assert again.result.run.counts.carried == 8 and again.result.run.counts.features_reused == 0
    mask(where, 1.0)
    changed = run_night(lake, tmp_path / "out", "three", [flag(where)], **window)
    assert changed.result.run.counts.carried == 0 and changed.result.run.counts.features_reused == 0
    assert first.worst("nut") != "3.png" or first.scores["score_raw"].max() < 0.5 * changed.scores["score_raw"].max()
    assert changed.worst("nut") == "3.png" and (changed.scores["scored_by"] == "three").all()
    assert set(changed.scores["region_etag"]).isdisjoint(first.scores["region_etag"])


def test_the_second_night_is_compared_with_the_first_where_both_were_looked_at(tmp_path: Path) -> None:
    where, window = mask(tmp_path / "where.png"), {"references__source": "window", "references__count": 8}
    lake = images(tmp_path / "lake")
    run_night(lake, tmp_path / "out", "one", [flag(where)], **window)
    images(lake, 2, start=8, spots={9: LEFT})
    night = run_night(lake, tmp_path / "out", "two", [flag(where)], **window)
    found = rows(night)
    assert night.result.run.counts.carried == 8
    assert {name for name, row in found.items() if row["scored_by"] == "two"} == {"8.png", "9.png"}
    assert found["8.png"]["references"] == found["9.png"]["references"] == 8  # the first night's
    assert found["9.png"]["score_raw"] > 2 * found["8.png"]["score_raw"]


def test_the_second_night_of_areas_takes_the_first_ones_references(tmp_path: Path) -> None:
    more: dict[str, Any] = {"encoder__size": "{area: 56}", "references__source": "window", "references__count": 8}
    for number in range(8):
        write(tmp_path / "lake/nut" / f"{number}.png", scene(number, (200, 100))[0])
    first = run_night(tmp_path / "lake", tmp_path / "out", "one", **more)
    assert {read_map(first.result, row).shape for row in first.result.scores.to_pylist()} == {(28, 56)}
    for number in range(8, 18):  # of another shape: the category is seen as on the first night
        write(tmp_path / "lake/nut" / f"{number}.png", scene(number, (100, 100))[0])
    night = run_night(tmp_path / "lake", tmp_path / "out", "two", **more)
    assert night.result.run.counts.carried == 8
    found = night.scores[night.scores["scored_by"] == "two"]
    assert len(found) == 10 and (found["references"] == 8).all()
    assert {read_map(night.result, row).shape for row in night.result.scores.to_pylist()} == {(28, 56)}


def test_a_mask_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"the mask of where to look cannot be read: .*absent\.png"):
        run_night(images(tmp_path / "lake"), tmp_path / "out", more=[flag(tmp_path / "absent.png")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "reason", "words"),
    [
        (np.zeros((56, 56), np.uint8), "too_small", "covers half of no patch"),
        (
            np.full((56, 112), 255, np.uint8),
            "unreadable",
            "has 112 x 56 pixels, the image 112 x 112: their aspects differ",
        ),
    ],
    ids=["black", "aspect"],
)
def test_a_mask_that_cannot_be_used_costs_the_images_in_words(
    values: Any, reason: str, words: str, tmp_path: Path
) -> None:
    where = write(tmp_path / "where.png", values)
    night = run_night(images(tmp_path / "lake", 3), tmp_path / "out", more=[flag(where)])
    assert night.scores["reason"].tolist() == [reason] * 3
    assert all(words in detail and "where.png" in detail for detail in night.scores["detail"])
