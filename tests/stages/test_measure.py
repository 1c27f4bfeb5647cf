"""How a worker measures a category: exactly where its maps fit, otherwise in blocks, with the same figures."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.config import EncoderConfig, InputConfig, MethodConfig, OutputConfig, ScoreConfig
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.io.storage import Location
from pipeline.metrics.category import (
    IMAGE,
    PIXEL,
    SPRO,
    VERDICT,
    Metric,
    PixelTruth,
    image_metrics,
    pixel_metrics,
    verdict_metrics,
)
from pipeline.metrics.overlap import Region
from pipeline.metrics.stream import MAP_SCALE
from pipeline.plan.units import Unit
from pipeline.report.stored_map import map_at
from pipeline.schema.table import set_columns
from pipeline.schema.tables import UNITS
from pipeline.scoring.scorer import Layer
from pipeline.stages import measure
from pipeline.stages.maps import WriteMaps
from pipeline.stages.measure import MeasureCategory
from pipeline.stages.patch_scores import Alike, PatchScoreReader
from pipeline.store.run_folder import RunFolder, read_table, write_array, write_table
from tests.metrics.test_curves import plain_metrics
from tests.metrics.test_overlap import slow_aupro

IMAGES, GRID, SIZE, WIDE = 11, 4, 28, 42
LAYER = Layer((GRID, GRID), 8, 4)
UNLABELLED = (0, 1, 2, 7)  # of blocks of three images, the first is unlabelled as a whole


def category(
    folder: Path, layout: str, preset: Literal["paper", "lakescore"] = "paper", wide: Sequence[int] = ()
) -> MeasureCategory:
    """Write what the stages before leave of a category `box`: an index, masks, patch scores in two units a layer.

    Some images may be wide, WIDE pixels.
    """
    generator = np.random.default_rng(0)
    rows = []
    columns = WIDE // (SIZE // GRID) if wide else GRID
    patches = generator.uniform(0.2, 0.9, (IMAGES, GRID * columns)).astype(np.float32)
    (folder / "box").mkdir()
    defects = [{"pixel_value": 255, "saturation_threshold": 20, "relative_saturation": False}]
    (folder / "box" / "defects_config.json").write_text(json.dumps(defects))
    for image in range(IMAGES):
        masks, width = [], WIDE if image in wide else SIZE
        if image % 2:
            mask = np.zeros((SIZE, width), np.uint8)
            top, left = generator.integers(0, SIZE - 8, 2)
            mask[top : top + 8, left : left + 6] = 255
            path = folder / "box" / "ground_truth" / "bent" / f"{image:03d}" / "000.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(mask).save(path)
            masks = [str(path)]
            patches[image, top // 7 * columns + left // 7] += 0.5
        label = None if image in UNLABELLED else bool(image % 2)
        facts: dict[str, Any] = {"position": image, "input": True}
        facts |= {"image": image, "uri": f"{image}.png", "label": label, "masks": masks}
        rows.append(facts | {"width": width, "height": SIZE, "file": "f", "row": image, "counted": None})

    run = RunFolder(Location.parse(str(folder / "out")), "test")
    write_table(run.index("box"), pa.Table.from_pylist(rows))
    write_table(run.references("box"), pa.table({"position": list(range(IMAGES))}))
    whole = Unit("box", (2,), 0, IMAGES, IMAGES, IMAGES, IMAGES, GRID, columns, IMAGES, "m")
    spans = [(layer, start, stop) for layer in (2, 5) for start, stop in ((0, 5), (5, IMAGES))]
    units = [replace(whole, layers=(layer,), start=start, stop=stop) for layer, start, stop in spans]
    write_table(run.units("box", 0), UNITS.rows(units))
    for unit in units:
        scores = patches[unit.start : unit.stop] + np.float32(unit.layers[0] / 100)
        write_array(
            run.unit_results(0) / f"{unit.id}.npy", np.stack([scores, np.zeros_like(scores)])
        )  # and standard errors
    config = ScoreConfig(
        input=InputConfig(uri=str(folder)),
        output=OutputConfig(uri=str(folder / "out")),
        encoder=EncoderConfig(size=SIZE),
        method=MethodConfig(preset=preset),
    )
    patch = SIZE // GRID
    usual = Geometry(patch, short=SIZE) if wide else Geometry(patch, (SIZE, SIZE))
    stage = MeasureCategory(config, LAYER, LakeGeometry(usual), run, layout)
    stage.setup("cpu", 1)
    return stage


def scored(final: bool = True) -> pa.Table:
    """Return what the stage before leaves: final scores that rise, and raw ones that fall, above 0.5 flagged."""
    rising = np.linspace(0, 1, IMAGES)
    unknown = np.full(IMAGES, np.nan)
    columns = {"score_final": rising if final else unknown, "score_raw": rising[::-1], "threshold": [0.5] * IMAGES}
    return pa.table({"category": ["box"] * IMAGES, **columns})


RAW = tuple(f"raw_{name}" for name in IMAGE)


def measured(stage: MeasureCategory) -> dict[str, Metric]:
    table = stage(scored())
    assert table["count"].to_pylist() == [IMAGES] + [0] * (table.num_rows - 1)
    assert set(table["category"].to_pylist()) == {"box"}
    return {row["name"]: Metric(row["value"], row["reason"], row["error"]) for row in table.to_pylist()}


def written_maps(stage: MeasureCategory) -> list[NDArray[Any]]:
    """Write all maps and read them back."""
    write = WriteMaps(stage.config, stage.layer, stage.geometry, stage.run)
    write.setup("cpu", 1)
    names = write(pa.table({"category": ["box"], "start": [0], "stop": [IMAGES]}))["map_uri"].to_pylist()
    levels = [(map_at(stage.run.output / name, MAP_SCALE) / MAP_SCALE).round() for name in names]
    return [of.astype(np.float64) * MAP_SCALE for of in levels]


def labelled(maps: NDArray[Any], stage: MeasureCategory) -> tuple[NDArray[Any], PixelTruth]:
    known = np.array([image for image in range(IMAGES) if image not in UNLABELLED])
    rows = read_table(stage.run.index("box")).take(known).to_pylist()
    return maps[known], stage._truth(rows, stage.geometry.of("box").on((SIZE, SIZE)), [])


@pytest.mark.parametrize("layout", ["mvtec", "loco"])
def test_a_category_that_does_not_fit_is_streamed_within_the_bound(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = category(tmp_path, layout)
    exact = measured(stage)
    monkeypatch.setattr(measure, "MOST_PIXELS", (IMAGES - len(UNLABELLED)) * SIZE * SIZE)
    assert measured(stage) == exact
    monkeypatch.setattr(measure, "MOST_PIXELS", (IMAGES - len(UNLABELLED)) * SIZE * SIZE - 1)
    monkeypatch.setattr(measure, "BLOCK_PIXELS", 3 * SIZE * SIZE)
    streamed = measured(stage)

    own = [*IMAGE, *VERDICT, *RAW]
    assert list(streamed) == list(exact) == [*own, *PIXEL, *([SPRO] if layout == "loco" else [])]
    assert all(streamed[name] == exact[name] for name in own)
    for name in list(streamed)[len(own) :]:
        value, known, error = streamed[name].value, exact[name].value, streamed[name].error
        assert value is not None and known is not None and error is not None and exact[name].error is None
        assert abs(value - known) <= error + 1e-12 and error < 0.02, name


@pytest.mark.parametrize("layout", ["mvtec", "loco"])
def test_streamed_metrics_are_those_of_the_maps_as_written(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = category(tmp_path, layout)
    expected = pixel_metrics(*labelled(np.stack(written_maps(stage)), stage), "exact")
    monkeypatch.setattr(measure, "MOST_PIXELS", 0)
    streamed = measured(stage)
    for name, metric in expected.items():
        assert streamed[name].value == pytest.approx(metric.value, abs=1e-12), name


def test_images_of_two_views_have_the_metrics_of_all_their_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = category(tmp_path, "mvtec", wide=[3, 6, 9])
    most: list[int] = []
    alike = PatchScoreReader.alike

    def noted(self: PatchScoreReader, name: str, index: pa.Table) -> Iterator[Alike]:
        most.append(index.num_rows)
        return alike(self, name, index)

    monkeypatch.setattr(PatchScoreReader, "alike", noted)
    monkeypatch.setattr(measure, "MAP_BLOCK", 3)
    streamed = measured(stage)
    assert most == [3, 3, 1]  # of those whose labels are known

    rows = read_table(stage.run.index("box"))
    unrounded: dict[int, NDArray[Any]] = {}
    for of in alike(stage._patch_scores, "box", rows):
        for places, maps in of.parts(measure.MOST_PIXELS):
            unrounded |= dict(zip(places.tolist(), maps, strict=True))
    as_written = plain_pixels(written_maps(stage), rows.to_pylist())
    assert [streamed[name].value for name in PIXEL] == pytest.approx(as_written, abs=1e-9)
    exact = plain_pixels([unrounded[image] for image in range(IMAGES)], rows.to_pylist())
    for name, value in zip(PIXEL, exact, strict=True):
        figure, error = streamed[name].value, streamed[name].error
        assert figure is not None and error is not None and abs(figure - value) <= error + 1e-9 and error < 0.02, name


def plain_pixels(maps: Sequence[NDArray[Any]], rows: Sequence[dict[str, Any]]) -> list[float]:
    """Return the figures of PIXEL of maps of any sizes, all pixels of labelled images in one row."""
    scores, labels, regions, start = [], [], [], 0
    for row, found in zip(rows, maps, strict=True):
        assert found.shape == (row["height"], row["width"])
        if row["label"] is None:
            continue
        label = np.zeros(found.shape, bool)
        for path in row["masks"]:  # of one defect
            label = np.asarray(Image.open(path)) > 127
            regions.append(Region(0, start + np.flatnonzero(label), int(label.sum())))
        scores.append(found.ravel())
        labels.append(label.ravel())
        start += found.size
    every, anomalous = np.concatenate(scores), np.concatenate(labels)
    return [*plain_metrics(anomalous, every), slow_aupro(every[None, None], anomalous[None, None], 0.3, regions)]


def test_a_mask_that_lies_costs_a_streamed_category_its_pixel_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = category(tmp_path, "mvtec")
    mask = tmp_path / "box" / "ground_truth" / "bent" / "009" / "000.png"
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(mask)
    monkeypatch.setattr(measure, "MOST_PIXELS", 0)
    metrics = measured(stage)
    assert all(metrics[name].value is None and str(mask) in str(metrics[name].reason) for name in PIXEL)
    assert all(metrics[name].value is not None for name in IMAGE)


@pytest.mark.parametrize("limit", [measure.MOST_PIXELS, 0])
def test_masks_without_an_anomalous_pixel_are_counted(
    limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = category(tmp_path, "mvtec")
    monkeypatch.setattr(measure, "MOST_PIXELS", limit)
    for image in ("003", "009"):
        empty = tmp_path / "box" / "ground_truth" / "bent" / image / "000.png"
        Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(empty)
    rows = stage(scored()).to_pylist()
    assert [(row["empty_masks"], row["example"]) for row in rows] == [(2, "3.png")] + [(0, None)] * (len(rows) - 1)


def test_final_scores_are_measured_where_there_are_any_and_raw_ones_else(tmp_path: Path) -> None:
    stage = category(tmp_path, "mvtec")
    known = np.array([image for image in range(IMAGES) if image not in UNLABELLED])
    truth, rising = known % 2 == 1, np.linspace(0, 1, IMAGES)[known]
    final, raw = image_metrics(truth, rising), image_metrics(truth, np.linspace(1, 0, IMAGES)[known])
    both = measured(stage)
    assert {name: both[name] for name in IMAGE} == final != raw
    assert {name: both[f"raw_{name}"] for name in IMAGE} == raw
    table = stage(scored(final=False)).to_pylist()
    alone = {row["name"]: Metric(row["value"], row["reason"], row["error"]) for row in table}
    assert {name: alone[name] for name in IMAGE} == raw and not set(RAW) & set(alone)


def test_verdicts_are_of_raw_scores_and_their_threshold(tmp_path: Path) -> None:
    found = measured(category(tmp_path, "mvtec"))
    known = np.array([image for image in range(IMAGES) if image not in UNLABELLED])
    flagged = np.linspace(1, 0, IMAGES)[known] > 0.5
    assert {name: found[name] for name in VERDICT} == verdict_metrics(known % 2 == 1, flagged)


def test_without_a_threshold_nothing_is_flagged(tmp_path: Path) -> None:
    stage = category(tmp_path, "mvtec")
    table = set_columns(scored(), {"threshold": pa.nulls(IMAGES, pa.float64())})
    found = {row["name"]: row["value"] for row in stage(table).to_pylist()}
    assert (found["verdict_recall"], found["verdict_false_alarms"]) == (0, 0)
