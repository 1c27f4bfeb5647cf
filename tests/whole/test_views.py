"""Images of one category in all sizes and shapes, and in tiles: from files to page, whoever scores them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import open_run
from pipeline.errors import ConfigError
from pipeline.geometry import tiles_along
from pipeline.io.storage import Location
from pipeline.report.redraw import redraw
from pipeline.report.stored_map import read_map
from pipeline.result import read_result
from tests.scenes import Night, run_night, scene, write, write_scene

SHAPES, SPOT = 50, (0.7, 0.35)
SHORT = {"encoder__size": "{short: 56}"}
SMALL, SIDE, AT = 8, 448, (0.53, 0.31)  # of a defect that a square of 112 pixels hides
FAINT = (145, 95, 105)


def sizes(count: int) -> list[tuple[int, int]]:
    """Return (width, height), no two alike."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(count):
        short = int(generator.integers(80, 200))
        long = int(short * generator.uniform(1, 2.5))
        found.append((short, long) if generator.random() < 0.5 else (long, short))
    return found


@pytest.fixture(scope="module")
def shapes_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("shapes") / "lake"
    for number, size in enumerate(sizes(SHAPES)):
        write_scene(lake, "nut", number, size, *([SPOT, min(size) / 7] if number == 17 else []))
    return lake


@dataclass(frozen=True)
class Shapes:
    night: Night
    output: Path


@pytest.fixture(scope="module")
def shapes(ray_here: None, shapes_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    output = tmp_path_factory.mktemp("shapes-out")
    return Shapes(run_night(shapes_lake, output, **SHORT, report__images=SHAPES), output)


def test_images_of_all_shapes_are_scored_and_the_defect_is_the_first(shapes: Shapes) -> None:
    scores = shapes.night.scores
    assert len(scores) == SHAPES and (scores["status"] == "scored").all()
    assert scores[["width", "height"]].apply(tuple, axis=1).tolist() == sizes_by_uri(scores)
    assert shapes.night.worst("nut") == "017.png"
    metrics = shapes.night.result.metrics["nut"]
    assert metrics["image_auroc"].value == 1 and (metrics["pixel_auroc"].value or 0) > 0.9


def sizes_by_uri(scores: Any) -> list[tuple[int, int]]:
    of = sizes(SHAPES)
    return [of[int(uri[-7:-4])] for uri in scores["uri"]]


def test_each_map_has_the_aspect_of_its_image(shapes: Shapes) -> None:
    seen = set()
    for row in shapes.night.result.scores.to_pylist():
        height, width = read_map(shapes.night.result, row).shape
        assert min(height, width) == 56 and height % 14 == width % 14 == 0
        assert abs(width / height - row["width"] / row["height"]) <= 7.01 / 56 * max(1, width / height)
        seen.add((height, width))
    assert len(seen) > 8


def test_the_region_lies_where_the_defect_is(shapes: Shapes) -> None:
    row = next(row for row in shapes.night.result.scores.to_pylist() if row["uri"].endswith("017.png"))
    size = (row["width"], row["height"])
    found = read_map(shapes.night.result, row)
    down, across = np.unravel_index(found.argmax(), found.shape)
    worst = np.divide([across, down], found.shape[::-1]) * size
    patch = 14 * min(size) / 56
    assert worst == pytest.approx(np.multiply(SPOT, size), abs=1.5 * patch)
    regions = [of for of in open_run(str(shapes.output), "test").regions.to_pylist() if of["uri"] == row["uri"]]
    best = max(regions, key=lambda of: float(of["peak"]))
    middle = [best["x"] + best["width"] / 2, best["y"] + best["height"] / 2]
    assert middle == pytest.approx(np.multiply(SPOT, size), abs=2 * patch)


def test_the_report_of_all_shapes_is_drawn_anew_alike(shapes: Shapes, tmp_path: Path) -> None:
    result = read_result(shapes.night.result.folder)
    redraw(result, Location.parse(str(tmp_path / "again")))
    report = Path(result.folder.results.path) / "report"
    for name in ("heat", "crops", "details"):
        first, again = (sorted((folder / name).rglob("*.*")) for folder in (report, tmp_path / "again"))
        assert [path.name for path in first] == [path.name for path in again] and first
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


@pytest.mark.parametrize("preset", ["paper", "subspace"])
def test_other_presets_find_the_defect_among_all_shapes(
    preset: str, ray_here: None, shapes_lake: Path, tmp_path: Path
) -> None:
    night = run_night(shapes_lake, tmp_path, **SHORT, method__preset=preset)
    assert (night.scores["status"] == "scored").all() and night.worst("nut") == "017.png"


# tiles


@pytest.fixture(scope="module")
def large_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images, one with a defect of a few pixels; the texture is as fine as that of a view at scale 1."""
    lake = tmp_path_factory.mktemp("large") / "lake"
    for number in range(12):
        write_scene(
            lake, "nut", number, (SIDE, SIDE), *([AT, SMALL / 2] if number == 5 else []), cells=112, colour=FAINT
        )
    return lake


TILES: dict[str, Any] = {"tiles__scale": 1, "tiles__size": 112, "tiles__overlap": 28}


@pytest.fixture(scope="module")
def tiled(ray_here: None, large_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    return run_night(large_lake, tmp_path_factory.mktemp("tiles-out"), **TILES, report__images=4)


def test_tiles_find_what_a_square_hides(tiled: Night, ray_here: None, large_lake: Path, tmp_path: Path) -> None:
    assert tiled.worst("nut") == "005.png"
    row = next(row for row in tiled.result.scores.to_pylist() if row["uri"].endswith("005.png"))
    found = read_map(tiled.result, row)
    assert found.shape == (SIDE, SIDE)
    down, across = np.unravel_index(found.argmax(), found.shape)
    assert [across, down] == pytest.approx(np.multiply(AT, SIDE), abs=21)
    metrics = tiled.result.metrics["nut"]
    assert metrics["image_auroc"].value == 1 and (metrics["pixel_auroc"].value or 0) > 0.95
    square = run_night(large_lake, tmp_path)
    good = square.scores["uri"].str.contains("/good/")
    defect, others = (square.scores.loc[of, "score_raw"].to_numpy() for of in (~good, good))
    assert (others > defect).sum() >= 1  # it is not the first


def test_borders_of_tiles_show_no_seam(tiled: Night) -> None:
    """Of normal images, patches beside a border of tiles score as the others do."""
    of = [row for row in tiled.result.scores.to_pylist() if "/good/" in row["uri"]]
    maps = np.mean([read_map(tiled.result, row) for row in of], axis=0)  # (H, W)
    borders = [tile.high for tile in tiles_along(32, 8, 2)[:-1]]
    columns = maps.reshape(SIDE, 32, 14).mean(axis=(0, 2))
    at = sorted({place for border in borders for place in (border - 1, border)})
    others = [place for place in range(2, 30) if place not in at]
    spread = columns[others].std()
    assert abs(columns[at].mean() - columns[others].mean()) < spread


def test_only_the_category_whose_defects_are_too_small_is_tiled(ray_here: None, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    for number in range(6):
        write_scene(lake, "large", number, (SIDE, SIDE), *([AT, 10] if number == 2 else []), cells=112)
        write_scene(lake, "small", number, (112, 112), *([AT, 12] if number == 2 else []))
    plain = run_night(lake, tmp_path / "out", "plain")
    night = run_night(lake, tmp_path / "out", "auto", input__smallest_defect=21, tiles__overlap=28)
    assert night.result.run.counts.features_reused == 6  # of the category that needs none
    assert list(night.result.run.views) == ["large"] and night.result.run.views["large"].tile == 112
    shapes = {row["category"]: read_map(night.result, row).shape for row in night.result.scores.to_pylist()}
    assert shapes == {"large": (SIDE, SIDE), "small": (112, 112)}
    assert night.worst("large") == "002.png"
    same = plain.of("small")["score_raw"].to_numpy()
    assert np.array_equal(night.of("small")["score_raw"].to_numpy(), same)


# what does not fit


def few(folder: Path, *odd: tuple[int, int], count: int = 5) -> Path:
    for number in range(count):
        write(folder / "nut" / f"{number}.png", scene(number, (100, 80))[0])
    for number, (width, height) in enumerate(odd):
        pixels: NDArray[np.uint8] = np.full((height, width, 3), 110, np.uint8)
        write(folder / "nut" / f"odd{number}.png", pixels)
    return folder


@pytest.mark.parametrize("odd", [(16, 20_000), (20_000, 16), (16, 4_000), (4_000, 16)], ids=str)
def test_one_image_of_an_absurd_shape_costs_its_own_row(odd: tuple[int, int], ray_here: None, tmp_path: Path) -> None:
    night = run_night(few(tmp_path / "lake", odd), tmp_path / "out", **SHORT)
    rows = {row["uri"].rpartition("/")[2]: row for row in night.result.scores.to_pylist()}
    assert len(rows) == 6
    assert all(row["status"] == "scored" for name, row in rows.items() if name != "odd0.png")
    assert rows["odd0.png"]["status"] == "quarantined" and rows["odd0.png"]["reason"] == "too_large"


def test_a_lake_of_absurd_shapes_alone_ends_in_words(ray_here: None, tmp_path: Path) -> None:
    night = run_night(few(tmp_path / "lake", (16, 20_000), (20_000, 16), count=0), tmp_path / "out", **SHORT)
    assert night.scores["reason"].tolist() == ["too_large"] * 2


def test_a_scale_at_which_an_image_has_no_end_ends_in_words(ray_here: None, tmp_path: Path) -> None:
    lake = few(tmp_path / "lake", (5000, 40))
    night = run_night(lake, tmp_path / "out", tiles__scale=16, tiles__size=112, tiles__overlap=0)
    rows = {row["uri"].rpartition("/")[2]: row for row in night.result.scores.to_pylist()}
    assert rows["odd0.png"]["reason"] == "too_large"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tiles__size": 100}, "tiles.size 100 must be a multiple of the encoder's patch, 14"),
        ({"tiles__size": 112, "tiles__overlap": 112}, "more than tiles.overlap 112"),
        ({"tiles__overlap": 200}, "more than tiles.overlap 200"),
    ],
    ids=str,
)
def test_tiles_that_do_not_fit_are_refused(wrong: dict[str, Any], words: str, ray_here: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        run_night(few(tmp_path / "lake"), tmp_path / "out", tiles__scale=1, **wrong)
    assert not (tmp_path / "out" / "runs").exists()
