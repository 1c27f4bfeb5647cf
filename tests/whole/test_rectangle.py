"""A lake of wide images, encoded as rectangles: from files to page, everything lies where it is on the image."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.io.storage import Location
from pipeline.report.coco import coco
from pipeline.report.redraw import redraw
from pipeline.report.stored_map import read_map
from pipeline.result import Result, read_result
from pipeline.run import score_lake
from pipeline.sample.weights import ENCODER, sample_weights
from tests.running import flags, parse, settings, stored

WIDTH, HEIGHT = 300, 120  # pixels of an image
SIZE, GRID = (56, 140), (4, 10)
DEFECTS = {"left": (30, 30), "right": (240, 80)}  # x, y of their middles, in pixels of the image
RADIUS = 14


def wide_lake(folder: Path) -> Path:
    """Write eight images of noise that is the same in all but for a little, two of them with a defect and its mask."""
    generator = np.random.default_rng(0)
    common = generator.normal(120, 25, (HEIGHT // 10, WIDTH // 10))
    across, down = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    for n, defect in enumerate(["good"] * 6 + list(DEFECTS)):
        texture = Image.fromarray((common + generator.normal(0, 3, common.shape)).clip(0, 255).astype(np.uint8))
        image = np.asarray(texture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).convert("RGB")).copy()
        if defect != "good":
            mask = np.hypot(across - DEFECTS[defect][0], down - DEFECTS[defect][1]) < RADIUS
            image[mask] = generator.integers(0, 256, (mask.sum(), 3))
            _save(folder / "strip" / "ground_truth" / defect / f"{n}_mask.png", mask * np.uint8(255))
        _save(folder / "strip" / "test" / defect / f"{n}.png", image)
    return folder


def _save(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@dataclass(frozen=True)
class Night:
    result: Result
    scores: pd.DataFrame
    report: Path

    def row(self, defect: str) -> dict[str, Any]:
        [n] = self.scores.index[self.scores["uri"].str.contains(f"/{defect}/")]
        row: dict[str, Any] = self.scores.loc[n].to_dict() | {"n": n}
        return row


@pytest.fixture(scope="module")
def night(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Night:
    folder = tmp_path_factory.mktemp("rectangle")
    more: dict[str, Any] = {"encoder.name": ENCODER, "encoder.weights": str(sample_weights())}
    more |= {"encoder.size": list(SIZE), "report.images": 8}
    more |= {"decision.image.rule": "share", "decision.image.value": 0.25}  # the two defects
    more |= {"decision.pixel.rule": "share", "decision.pixel.value": 0.01}
    given = settings(wide_lake(folder / "lake"), folder / "out", **more)
    result = score_lake(parse(flags(given)))
    return Night(read_result(result.folder), result.scores.to_pandas(), Path(result.folder.results.path) / "report")


def test_features_and_maps_are_rectangles(night: Night) -> None:
    assert night.result.run.encoder.grid == GRID
    assert night.result.run.setting("encoder.size") == list(SIZE)
    store, refs = stored(night.result, night.scores)
    assert store.tokens(refs, store.layers[0]).shape == (8, GRID[0] * GRID[1], 384)
    for row in night.result.scores.to_pylist():
        assert read_map(night.result, row).shape == SIZE
        assert (row["width"], row["height"]) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_where_it_is(defect: str, night: Night) -> None:
    row, (x, y) = night.row(defect), DEFECTS[defect]
    normal = night.scores["uri"].str.contains("/good/")
    assert row["score_raw"] > night.scores["score_raw"][normal].max() and normal.sum() == 6
    down, across = np.unravel_index(read_map(night.result, row).argmax(), SIZE)
    # a patch is 30 pixels of the image a side
    assert [across * WIDTH / SIZE[1], down * HEIGHT / SIZE[0]] == pytest.approx([x, y], abs=30)
    content = (night.report / f"details/0/{row['n']}.js").read_text("ascii")
    [_, detail] = json.loads("[" + content[content.index("(") + 1 : content.rindex(");")] + "]")
    assert np.multiply(detail["worst"], (WIDTH, HEIGHT)).tolist() == pytest.approx([x, y], abs=30)
    [outline] = detail["truth"]
    assert np.mean(outline, axis=0).tolist() == pytest.approx([x / WIDTH, y / HEIGHT], abs=0.02)
    assert any(np.hypot(*(np.multiply(of, (WIDTH, HEIGHT)).mean(axis=0) - (x, y))) < 30 for of in detail["contour"])
    assert all(0 <= match["x"] <= 1 and 0 <= match["y"] <= 1 for match in detail["evidence"]["worst"])


def test_masks_of_rectangles_are_measured(night: Night) -> None:
    metrics = night.result.metrics["strip"]
    assert metrics["image_auroc"].value == 1
    assert (metrics["pixel_auroc"].value or 0) > 0.95


def test_regions_are_told_in_pixels_of_the_original(night: Night) -> None:
    told = coco(night.result)
    assert {(image["width"], image["height"]) for image in told["images"]} == {(WIDTH, HEIGHT)}
    ids = {image["id"]: image["file_name"] for image in told["images"]}
    for defect, middle in DEFECTS.items():
        regions = [of for of in told["annotations"] if f"{defect}/" in ids[of["image_id"]]]
        x, y, wide, high = max(regions, key=lambda of: float(of["score"]))["bbox"]
        assert [x + wide / 2, y + high / 2] == pytest.approx(middle, abs=30)


def test_a_run_of_rectangles_is_drawn_anew(night: Night, tmp_path: Path) -> None:
    redraw(night.result, Location.parse(str(tmp_path / "again")))
    for name in ("heat", "crops", "details"):
        first, again = (sorted((folder / name).rglob("*.*")) for folder in (night.report, tmp_path / "again"))
        assert [path.name for path in first] == [path.name for path in again] and first
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
