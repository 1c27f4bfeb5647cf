"""Trays of four caps, each photographed at once: a manifest cuts them out, and each cap is an image."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.boxes import box_uri, split_box
from pipeline.io.storage import Location
from pipeline.report.coco import coco
from pipeline.report.redraw import redraw
from pipeline.report.sheet import draw_sheet
from pipeline.report.stored_map import read_map
from pipeline.result import Result, read_result
from pipeline.run import score_lake
from pipeline.sample.weights import ENCODER, sample_weights
from tests.running import flags, parse, run_script, settings

WIDTH, HEIGHT = 420, 330  # pixels of a tray
SIDE = (180, 140)  # width and height of a cap
CORNERS = [(10, 20), (225, 20), (10, 180), (225, 180)]
TRAYS, DAMAGED, PLACE = 3, 1, 3  # of the trays one has a defect, in its last cap
DEFECT, RADIUS = (120, 50), 18  # its middle in pixels of the cap
BOXES = [(x, y, x + SIDE[0], y + SIDE[1]) for x, y in CORNERS]
BEYOND, POINT = (300, 200, 421, 330), (5, 5, 6, 6)


def trays(folder: Path, count: int = TRAYS, seed: int = 0) -> Path:
    """Write photographs of four caps, of noise that is the same in all but for a little, and the mask of one defect."""
    common = np.random.default_rng(0).normal(120, 25, (SIDE[1] // 10, SIDE[0] // 10))
    generator = np.random.default_rng(seed)
    across, down = np.meshgrid(np.arange(SIDE[0]) + 0.5, np.arange(SIDE[1]) + 0.5)
    damage = np.hypot(across - DEFECT[0], down - DEFECT[1]) < RADIUS
    folder.mkdir(parents=True, exist_ok=True)
    for tray in range(count):
        photograph = np.full((HEIGHT, WIDTH, 3), 250, np.uint8)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for place, (left, top, right, bottom) in enumerate(BOXES):
            values = (common + generator.normal(0, 3, common.shape)).clip(0, 255).astype(np.uint8)
            cap = np.asarray(Image.fromarray(values).resize(SIDE, Image.Resampling.BICUBIC).convert("RGB")).copy()
            if (tray, place) == (DAMAGED, PLACE):
                cap[damage] = generator.integers(0, 256, (damage.sum(), 3))
                mask[top:bottom, left:right][damage] = 255
                Image.fromarray(mask[top:bottom, left:right]).save(folder / "own_mask.png")
            photograph[top:bottom, left:right] = cap
        Image.fromarray(photograph).save(folder / f"{tray}.png")
        if mask.any():
            Image.fromarray(mask).save(folder / "mask.png")
    return folder


def manifest(folder: Path, more: str = "", mask: str = "mask.png") -> Path:
    """Write the manifest of the caps of all trays."""
    lines = ["uri,category,label,mask_uri,left,top,right,bottom,place"]
    for tray in sorted(folder.glob("?.png")):
        for place, box in enumerate(BOXES):
            damaged = (tray.stem, place) == (str(DAMAGED), PLACE)
            what = f"defect,{mask}" if damaged else "good,"
            lines.append(f"{tray.name},cap,{what},{','.join(map(str, box))},{place}")
    (folder / "caps.csv").write_text("\n".join(lines) + "\n" + more)
    return folder / "caps.csv"


def given(lake: Path, output: Path, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"encoder.name": ENCODER, "encoder.weights": str(sample_weights())}
    usual |= {"encoder.size": [112, 140], "report.images": 20}
    usual |= {"decision.image.rule": "share", "decision.image.value": 0.1}  # the one defect
    usual |= {"decision.pixel.rule": "share", "decision.pixel.value": 0.01}
    return settings(lake, output, **usual | more)


@dataclass(frozen=True)
class Night:
    folder: Path
    result: Result
    scores: pd.DataFrame

    @property
    def damaged(self) -> str:
        return box_uri(str(self.folder / "lake" / f"{DAMAGED}.png"), BOXES[PLACE])

    def row(self, uri: str) -> dict[str, Any]:
        [n] = self.scores.index[self.scores["uri"] == uri]
        row: dict[str, Any] = self.scores.loc[n].to_dict() | {"n": n}
        return row

    def detail(self, n: int) -> dict[str, Any]:
        content = (Path(self.result.folder.results.path) / f"report/details/0/{n}.js").read_text("ascii")
        [_, detail] = json.loads("[" + content[content.index("(") + 1 : content.rindex(");")] + "]")
        return dict(detail)


@pytest.fixture(scope="module")
def night(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Night:
    folder = tmp_path_factory.mktemp("boxes")
    lake = trays(folder / "lake")
    hostile = [f"2.png,cap,,,{','.join(map(str, box))},9" for box in (BEYOND, POINT)]
    hostile.append("gone.png,cap,,,0,0,50,50,9")
    result = score_lake(parse(flags(given(manifest(lake, "\n".join(hostile) + "\n"), folder / "out"))))
    return Night(folder, read_result(result.folder), result.scores.to_pandas())


def test_each_cap_has_a_row_and_says_where_it_lies(night: Night) -> None:
    scored = night.scores[night.scores["status"] == "scored"]
    assert len(scored) == TRAYS * 4
    for n in scored.index:
        row = night.scores.loc[n].to_dict()
        file, box = split_box(row["uri"])
        assert box == BOXES[int(row["place"])] and Path(file).is_file()
        assert tuple(row[f"box_{edge}"] for edge in ("left", "top", "right", "bottom")) == box
        assert (row["width"], row["height"]) == SIDE
        assert (row["original_width"], row["original_height"]) == (WIDTH, HEIGHT)
        assert read_map(night.result, row).shape == (112, 140)
    assert scored["etag"].nunique() == TRAYS and scored["map_uri"].nunique() == TRAYS * 4


def test_what_is_no_box_is_a_row_with_words(night: Night) -> None:
    tray = str(night.folder / "lake" / "2.png")
    rows = {uri: night.row(uri) for uri in night.scores["uri"][night.scores["status"] == "quarantined"]}
    beyond, point = (rows.pop(box_uri(tray, box)) for box in (BEYOND, POINT))
    assert beyond["reason"] == "unreadable" and "300, 200, 421, 330 reaches beyond 420 x 330" in beyond["detail"]
    assert point["reason"] == "too_small" and "1 x 1 pixels" in point["detail"]
    assert (beyond["box_right"], point["box_right"]) == (421, 6)
    [gone] = rows.values()
    assert gone["reason"] == "unreadable" and gone["uri"].endswith("gone.png#xywh=0,0,50,50")


def test_the_defect_is_found_in_its_cap(night: Night) -> None:
    row = night.row(night.damaged)
    assert night.scores["uri"][night.scores["anomalous"].fillna(False).astype(bool)].tolist() == [night.damaged]
    down, across = np.unravel_index(read_map(night.result, row).argmax(), (112, 140))
    assert [across * SIDE[0] / 140, down * SIDE[1] / 112] == pytest.approx(DEFECT, abs=25)
    assert night.result.metrics["cap"]["image_auroc"].value == 1
    assert (night.result.metrics["cap"]["pixel_auroc"].value or 0) > 0.95


def test_regions_are_in_pixels_of_the_cap_and_say_where_it_lies(night: Night) -> None:
    regions = night.result.published.regions().to_pylist()
    assert regions and {region["uri"] for region in regions} == {night.damaged}
    worst = max(regions, key=lambda region: float(region["peak"]))
    middle = [worst["x"] + worst["width"] / 2, worst["y"] + worst["height"] / 2]
    assert middle == pytest.approx(DEFECT, abs=25) and worst["area_share"] < 0.5
    assert tuple(worst[f"box_{edge}"] for edge in ("left", "top", "right", "bottom")) == BOXES[PLACE]


def test_coco_has_photographs_with_the_regions_of_their_boxes(night: Night) -> None:
    told = coco(night.result)
    assert [(of["file_name"], of["width"], of["height"]) for of in told["images"]] == [
        (f"{tray}.png", WIDTH, HEIGHT) for tray in range(TRAYS)
    ]
    assert told["info"]["image_root"] == str(night.folder / "lake")
    assert [of["anomalous"] for of in told["images"]] == [tray == DAMAGED for tray in range(TRAYS)]
    assert told["images"][DAMAGED]["score"] == night.row(night.damaged)["score_raw"]
    worst = max(told["annotations"], key=lambda of: float(of["score"]))
    assert {of["image_id"] for of in told["annotations"]} == {told["images"][DAMAGED]["id"]}
    x, y, wide, high = worst["bbox"]
    place = np.add(CORNERS[PLACE], DEFECT)
    assert [x + wide / 2, y + high / 2] == pytest.approx(place, abs=25)
    corners = np.array(worst["segmentation"][0]).reshape(-1, 2)
    assert corners.min(axis=0).tolist() == pytest.approx([x, y], abs=0.01)
    assert corners.max(axis=0).tolist() == pytest.approx([x + wide, y + high], abs=0.01)


def test_the_report_shows_the_cap(night: Night, tmp_path: Path) -> None:
    report, row = Path(night.result.folder.results.path) / "report", night.row(night.damaged)
    left, top, right, bottom = BOXES[PLACE]
    with (
        Image.open(night.folder / "lake" / f"{DAMAGED}.png") as whole,
        Image.open(report / f"images/0/{row['n']}.webp") as picture,
    ):
        assert picture.size == SIDE
        cap = np.asarray(whole.crop((left, top, right, bottom)), float)
        assert np.abs(np.asarray(picture.convert("RGB"), float) - cap)[:20].mean() < 6  # WebP loses some
    detail = night.detail(row["n"])
    assert np.multiply(detail["worst"], SIDE).tolist() == pytest.approx(DEFECT, abs=25)
    [outline] = detail["truth"]
    assert np.multiply(outline, SIDE).mean(axis=0).tolist() == pytest.approx(DEFECT, abs=4)
    matches = detail["evidence"]["worst"]
    assert matches and all(match["crop"] and "#xywh=" in match["uri"] for match in matches)
    page = "".join(path.read_text() for path in sorted(report.rglob("*.js")))
    assert f"{DAMAGED}.png#xywh={left},{top},{SIDE[0]},{SIDE[1]}" in page
    redraw(night.result, Location.parse(str(tmp_path / "again")))
    for name in ("images", "crops", "details"):
        first, again = (sorted((folder / name).rglob("*.*")) for folder in (report, tmp_path / "again"))
        assert [path.name for path in first] == [path.name for path in again] and first
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_a_sheet_shows_the_caps(night: Night) -> None:
    result = night.result
    figure = draw_sheet(result.folder.output, result.scores, result.run.map_scale, result.run.values, worst=2)
    shown = np.asarray(figure.axes[0].images[0].get_array(), float)
    left, top, right, bottom = BOXES[PLACE]
    with Image.open(night.folder / "lake" / f"{DAMAGED}.png") as whole:
        cap = whole.crop((left, top, right, bottom)).resize(shown.shape[1::-1], Image.Resampling.BICUBIC)
    assert np.array_equal(shown, np.asarray(cap, float))


def test_a_mask_may_have_the_size_of_the_box_or_of_the_photograph_and_no_other(night: Night, tmp_path: Path) -> None:
    lake = trays(tmp_path / "lake")
    Image.new("L", (WIDTH // 2, HEIGHT // 2), 255).save(lake / "half.png")
    metrics = {}
    for mask in ("mask.png", "own_mask.png", "half.png"):
        more = {"output.run_id": mask, "report.images": 0}
        result = score_lake(parse(flags(given(manifest(lake, mask=mask), tmp_path / "out", **more))))
        metrics[mask] = result.metrics["cap"]["pixel_auroc"]
    assert metrics["mask.png"].value == metrics["own_mask.png"].value
    assert metrics["mask.png"].value is not None
    assert metrics["half.png"].value is None and "half.png" in str(metrics["half.png"].reason)


def test_the_second_night_carries_caps_over_and_compares_new_ones_with_them(night: Night, tmp_path: Path) -> None:
    lake, output = trays(tmp_path / "lake"), tmp_path / "out"
    window = {"references.source": "window", "references.count": 4}
    first = score_lake(parse(flags(given(manifest(lake), output, **window | {"output.run_id": "first"}))))
    assert first.run.counts.scored == TRAYS * 4
    tray = trays(tmp_path / "new", count=1, seed=7) / "0.png"
    tray.rename(lake / "7.png")
    # one cap of a known tray in another box is a new image
    left, top, right, bottom = BOXES[0]
    moved = (left + 2, top, right + 2, bottom)
    more = f"0.png,cap,,,{','.join(map(str, moved))},9\n"
    second = score_lake(parse(flags(given(manifest(lake, more), output, **window | {"output.run_id": "second"}))))
    scores = second.scores.to_pandas().set_index("uri")
    assert second.run.counts.carried == TRAYS * 4 and second.run.counts.scored == TRAYS * 4 + 5
    new = scores[scores["scored_by"] == "second"]
    assert sorted(new.index) == sorted(
        [box_uri(str(lake / "0.png"), moved), *(box_uri(str(lake / "7.png"), box) for box in BOXES)]
    )
    assert (new["references"] >= 3).all()
    regions = read_result(second.folder).published.regions().to_pandas()
    kept = regions[regions["scored_by"] == "first"]
    assert set(kept["uri"]) == {box_uri(str(lake / f"{DAMAGED}.png"), BOXES[PLACE])}
    assert (kept["box_left"] == BOXES[PLACE][0]).all()
    before = first.scores.to_pandas().set_index("uri")
    same = ["score_raw", "box_left", "box_bottom", "width", "original_height", "map_uri"]
    pd.testing.assert_frame_equal(scores.loc[before.index, same], before[same])
    matched = {match["uri"] for row in new["evidence"] for match in row}
    assert matched and all(split_box(uri)[1] in (*BOXES, moved) for uri in matched)


def test_the_same_cap_photographed_twice_is_no_reference_of_itself(night: Night, tmp_path: Path) -> None:
    """Each box has near duplicates of its own: a photograph that was copied has four, and the others none."""
    lake = trays(tmp_path / "lake")
    (lake / "9.png").write_bytes((lake / "0.png").read_bytes())
    result = score_lake(parse(flags(given(manifest(lake), tmp_path / "out", **{"report.images": 0}))))
    scores = result.scores.to_pandas()
    copied = scores["uri"].str.contains(r"/[09]\.png#")
    assert (
        copied.sum() == 8 and set(scores["references"][copied]) == {14} and set(scores["references"][~copied]) == {15}
    )


def test_people_label_and_pin_boxes_by_their_addresses(night: Night, tmp_path: Path) -> None:
    output = night.folder / "out"
    normals = [uri for uri in night.scores["uri"][night.scores["status"] == "scored"] if uri != night.damaged]
    lines = ["uri,label", *(f'"{uri}",normal' for uri in normals), f'"{night.damaged}",defect']
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    pinned = night.folder / "lake" / "pinned.csv"
    done = run_script("pin_normals.py", output, tmp_path / "labels.csv", pinned)
    assert done.returncode == 0, done.stderr
    assert f"{TRAYS * 4 - 1} references" in done.stdout
    more: dict[str, Any] = {"references.source": "pinned", "references.pinned": str(pinned)}
    more |= {"input.labels": str(tmp_path / "labels.csv"), "output.run_id": "pinned", "report.images": 0}
    result = score_lake(parse(flags(given(night.folder / "lake" / "caps.csv", output, **more))))
    scores = result.scores.to_pandas().set_index("uri")
    assert result.run.counts.features_reused == TRAYS * 4
    assert scores.loc[night.damaged, "references"] == TRAYS * 4 - 1
    assert scores["score_raw"].idxmax() == night.damaged and bool(scores.loc[night.damaged, "label"])
