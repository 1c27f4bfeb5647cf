"""Regions of a run at work: from maps and tokens to rows that say where, how much, and what contradicts it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import StoreUnavailable
from pipeline.io.storage import Location
from pipeline.metrics.stream import MAP_SCALE
from pipeline.schema.tables import DECIDED, FLAGGED, FOUND, INDEX
from pipeline.scoring.regions import Region
from pipeline.stage import Here
from pipeline.stages.regions import MADE, FindRegions, find_regions, geometry
from pipeline.views import View
from tests.stages.test_evidence import CATEGORY, SIDE, Night, random_tokens

WIDE = 18  # pixels a side, more than a speck of these large patches
SQUARES = [(20, 30, 0.9), (70, 80, 0.6)]  # row, column, distance of squares


def drawn(night: Night, n: int, squares: list[tuple[int, int, float]]) -> None:
    """Write the map of an image: squares on 0.25."""
    distances = np.full((SIDE, SIDE), 0.25)
    for row, column, distance in squares:
        distances[row : row + WIDE, column : column + WIDE] = distance
    png = io.BytesIO()
    Image.fromarray((distances / MAP_SCALE).round().astype(np.uint16)).save(png, "png")
    (night.run.output / f"maps/{n}.png").write_bytes(png.getvalue())


def finder(night: Night, anomalous: Sequence[int] = ()) -> FindRegions:
    find = FindRegions(
        night.find.config,
        night.find.layer,
        night.find.geometry,
        night.store,
        night.run,
        MAP_SCALE,
        np.array(anomalous, np.int64),
    )
    find.setup("cpu", 1)
    return find


def rows(*images: int, **more: Any) -> pa.Table:
    usual = {"category": CATEGORY, "etag": "e", "pixel_threshold": 0.5, "width": 224, "height": 56} | more
    own = [{"image": 100 + n, "uri": f"{n}.png", "map_uri": f"maps/{n}.png"} for n in images]
    return FLAGGED.rows([usual | of for of in own])


def test_a_region_says_where_it_is_in_the_original_and_what_contradicts_it(tmp_path: Path) -> None:
    tokens = random_tokens()
    tokens[9] = np.roll(tokens[4], 5, axis=1)  # the same picture, its patches elsewhere
    night = Night(tmp_path, tokens)
    drawn(night, 4, SQUARES)
    table = finder(night)(rows(4))
    assert table.schema == MADE.arrow and table["count"].to_pylist() == [1, 0]
    worst, other = table.to_pylist()
    assert (worst["x"], worst["y"], worst["width"], worst["height"]) == (60, 10, 36, 9)
    assert (other["x"], other["y"]) == (160, 35) and [worst["region"], other["region"]] == [1, 2]
    assert worst["area"] == pytest.approx(324) and worst["area_share"] == pytest.approx(324 / (224 * 56))
    assert worst["peak"] == pytest.approx(0.9, abs=MAP_SCALE) and other["peak"] == pytest.approx(0.6, abs=MAP_SCALE)
    assert 60 <= worst["peak_x"] * 224 < 96 and 10 <= worst["peak_y"] * 56 < 19
    assert worst["regions"] == 2 and worst["all_share"] == pytest.approx(2 * 324 / (224 * 56))
    for row in (worst, other):
        assert (row["reference"]["uri"], row["reference"]["etag"]) == ("9.png", "9.png")
        assert row["reference"]["distance"] == pytest.approx(night_distance(row), abs=1e-6) and row["detail"] is None


def test_an_anomalous_reference_contradicts_nothing_while_there_are_others(tmp_path: Path) -> None:
    tokens = random_tokens()
    tokens[9] = np.roll(tokens[4], 5, axis=1)
    night = Night(tmp_path, tokens)
    drawn(night, 4, SQUARES)
    assert {row["reference"]["uri"] for row in finder(night, [104, 109])(rows(4)).to_pylist()} != {"9.png"}
    everybody = range(100, 100 + len(tokens))
    assert {row["reference"]["uri"] for row in finder(night, everybody)(rows(4)).to_pylist()} == {"9.png"}


def night_distance(row: dict[str, Any]) -> float:
    found: float = row["reference"]["distance"]
    assert 0 <= found < 1.5
    return found


def test_images_with_many_and_few_regions_are_explained_each_by_its_own_patches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Night(tmp_path, random_tokens())
    many = [(row, column, 0.8) for row in range(0, 96, 24) for column in range(0, 96, 24)]
    for n, squares in {2: SQUARES, 3: many, 5: SQUARES[:1], 7: []}.items():
        drawn(night, n, squares)

    def found(*images: int) -> pa.Table:
        return finder(night)(rows(*images)).drop_columns(["vectors", "vector"])  # where they lie depends on the block

    together = found(2, 3, 5, 7)
    alone = pa.concat_tables([found(n) for n in (2, 3, 5, 7)])
    assert together.equals(alone) and together["image"].to_pylist() == [102] * 2 + [103] * 16 + [105, 107]
    monkeypatch.setattr("pipeline.stages.regions.PATCHES", 17)
    assert found(2, 3, 5, 7).equals(together)
    monkeypatch.setattr("pipeline.stages.regions.MOST", 3)
    few = finder(night)(rows(2, 3, 5, 7))
    assert few["image"].to_pylist() == [102] * 2 + [103] * 3 + [105, 107]
    assert few.filter(pa.compute.equal(few["image"], 103))["regions"].to_pylist() == [16] * 3  # what is left out counts


def test_a_map_that_cannot_be_read_costs_its_own_image_only(tmp_path: Path) -> None:
    night = Night(tmp_path, random_tokens())
    drawn(night, 4, SQUARES)
    (night.run.output / "maps/5.png").write_bytes(b"no map")
    broken, first, second = finder(night)(rows(5, 4)).to_pylist()
    assert broken["region"] is None and "damaged" in broken["detail"] and broken["count"] == 1
    assert first["region"] == 1 and second["region"] == 2 and first["reference"] is not None


def test_features_that_are_gone_cost_the_references_only(tmp_path: Path) -> None:
    night = Night(tmp_path, random_tokens())
    drawn(night, 4, SQUARES)
    for part in tmp_path.rglob("features/**/*.parquet"):
        part.unlink()
    for row in finder(night)(rows(4)).to_pylist():
        assert row["reference"] is None and row["area"] > 0 and "references cannot be read" in row["detail"]


def test_a_store_that_does_not_answer_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(tmp_path, random_tokens())

    def silent(_: Location) -> bytes:
        raise StoreUnavailable("it does not answer")

    monkeypatch.setattr(Location, "read_bytes", silent)
    with pytest.raises(StoreUnavailable):
        finder(night)(rows(2))


def test_a_category_without_a_pixel_threshold_has_the_regions_of_its_highest_values(tmp_path: Path) -> None:
    night = Night(tmp_path, random_tokens())
    drawn(night, 4, SQUARES)
    [row] = finder(night)(rows(4, pixel_threshold=None)).to_pylist()
    assert row["peak"] == pytest.approx(0.9, abs=MAP_SCALE) and row["area"] == pytest.approx(324)


def test_all_anomalous_images_are_looked_at_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.stages.regions.BLOCK", 1)
    night = Night(tmp_path, random_tokens())
    drawn(night, 4, SQUARES)
    usual: dict[str, Any] = {"status": "scored", "pixel_threshold": 0.5, "width": 224, "height": 56}
    own = [{"image": 100 + n, "map_uri": f"maps/{n}.png", "anomalous": n != 3} for n in (3, 4, 6)]
    decided = DECIDED.rows([usual | of for of in own])
    images = INDEX.rows([{"image": 100 + n, "category": CATEGORY, "uri": f"{n}.png", "etag": "e"} for n in (3, 4, 6)])
    told, found = find_regions(images, decided, finder(night), Here())
    assert told["regions"].to_pylist() == [0, 2, None] and found.schema == FOUND.arrow
    assert found["uri"].to_pylist() == ["4.png", "4.png"] and "no regions of '6.png'" in caplog.text
    none, nothing = find_regions(images, decided.slice(0, 1), finder(night), Here())
    assert none["regions"].to_pylist() == [0] and nothing.num_rows == 0


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_a_region_of_a_turned_part_of_an_image_lies_where_its_pixels_do(turned: int) -> None:
    view = View((40, 40), (4, 4), (0.5, 0.0, 1.0, 1.0), turned)
    mask: NDArray[np.bool_] = np.ones((4, 2), bool)
    told = geometry(Region((0, 0), mask, 0.5, (0, 0)), view, (80, 40))
    x, y = view.on_image(np.array([[0.5, 0.5]]), (80, 40))[0]
    assert told["x"] <= x <= told["x"] + told["width"] and told["y"] <= y <= told["y"] + told["height"]
    assert (told["peak_x"] * 80, told["peak_y"] * 40) == pytest.approx((x, y))
    assert told["width"] * told["height"] == pytest.approx(told["area"]) == pytest.approx(8)
    assert (told["width"], told["height"]) == ((2, 4) if turned in (0, 180) else (4, 2))


def test_a_region_of_an_image_with_a_mask_is_that_of_what_counts(tmp_path: Path) -> None:
    night = Night(tmp_path, random_tokens())
    distances = np.zeros((SIDE, SIDE))
    distances[:52, :52] = 0.5  # what counts
    distances[20 : 20 + WIDE, 30 : 30 + WIDE] = 0.9
    png = io.BytesIO()
    Image.fromarray((distances / MAP_SCALE).round().astype(np.uint16)).save(png, "png")
    (night.run.output / "maps/4.png").write_bytes(png.getvalue())
    [masked] = finder(night)(rows(4, pixel_threshold=None, region_uri="m.png")).to_pylist()
    [everywhere] = finder(night)(rows(4, pixel_threshold=None)).to_pylist()
    assert (masked["x"], masked["y"], masked["width"], masked["height"]) == (60, 10, 36, 9)
    assert (everywhere["width"], everywhere["height"]) == (104, 26)
