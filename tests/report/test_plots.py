"""Plots show what was measured: areas below curves, counts in bars, the line where the threshold is."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.errors import NothingToScore
from pipeline.io.storage import Location
from pipeline.metrics.category import PixelTruth, image_metrics, pixel_metrics
from pipeline.report.plots import histograms, plots, precision_recall, pro, roc, save
from pipeline.result import Result, read_result
from pipeline.store.run_folder import write_table
from tests.published import publish, row

SIDE, SCALE = 24, 2 / 65535
HOSTILE = ["_hidden", "$\\frac{", "<b>&", "line\nbreak", "größe"]


def published(folder: Path, names: list[str], masks: bool = True, labels: bool = True) -> Result:
    """Publish a run of 10 images for each category, whose images, maps and masks are there; 4 of them have defects."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    catalog, metrics = [], []
    for number, name in enumerate(names):
        truth = np.zeros((10, SIDE, SIDE), bool)
        truth[:4, 5:9, 6:12] = truth[0, 20:22, 1:3] = True
        levels = generator.integers(5000, 20000, truth.shape) + truth * generator.integers(0, 15000, truth.shape)
        maps = (levels * SCALE).astype(np.float32)
        raw = maps.max(axis=(1, 2)).astype(float)
        label = np.array([of.any() for of in truth])
        found = image_metrics(label, raw / 2) | pixel_metrics(maps, PixelTruth(truth), "exact")
        if masks and labels:
            metrics += [{"category": name, "name": key, "value": of.value, "reason": None} for key, of in found.items()]
        for image in range(10):
            uri = str(_png(folder / f"{number}-{image}.png", generator.integers(0, 255, (32, 40, 3), np.uint8)))
            mask = _png(folder / f"{number}-{image}-mask.png", (truth[image] * 255).astype(np.uint8), (40, 32))
            _png(folder / f"{number}-{image}-map.png", levels[image].astype(np.uint16))
            map_uri = f"{number}-{image}-map.png"
            more = {"map_uri": map_uri, "label": bool(label[image]) if labels else None, "threshold": 0.75}
            more |= {"width": 40, "height": 32, "scored_by": "one", "etag": Location.parse(uri).entry().etag}
            rows.append(row(name, uri, raw[image], **more))
            catalog.append({"uri": uri, "masks": [str(mask)] if label[image] and masks else []})
    rows.append(row(names[0], "bad", None))
    # What another night scored was measured then
    rows.append(row(names[0], "carried", 0.9, label=labels or None, scored_by="before", threshold=0.5))
    run = publish(folder, "one", rows, metrics, map_scale=SCALE)
    write_table(run.results / "catalog.parquet", pa.Table.from_pylist(catalog))
    return read_result(run)


def _png(path: Path, pixels: NDArray[Any], size: tuple[int, int] | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image if size is None else image.resize(size, Image.Resampling.NEAREST)).save(path)
    return path


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return published(tmp_path_factory.mktemp("run"), ["bolt", "nut"])


def lines(figure: Figure) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    return [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in figure.axes[0].get_lines()]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def measured(result: Result, category: str) -> tuple[NDArray[Any], NDArray[Any]]:
    rows = [row for row in result.scores.to_pylist() if row["category"] == category and row["scored_by"] == "one"]
    return np.array([row["label"] for row in rows]), np.array([row["score_raw"] for row in rows])


def test_roc_curves_have_the_area_that_the_legend_tells(result: Result) -> None:
    figure = roc(result)
    assert len(figure.axes[0].get_lines()) == 3  # and the diagonal
    for (x, y), text, category in zip(lines(figure), legend(figure), ("bolt", "nut"), strict=False):
        area = roc_auc_score(*measured(result, category))
        assert np.trapezoid(y, x) == pytest.approx(area) and text == f"{category}  {area:.3f}"


def test_precision_over_recall_has_the_average_precision_below_it(result: Result) -> None:
    figure = precision_recall(result)
    for (recall, precision), text, category in zip(lines(figure), legend(figure), ("bolt", "nut"), strict=True):
        assert recall[0] == 1 and recall[-1] == 0
        area = float(-(np.diff(recall) * precision[:-1]).sum())
        assert area == pytest.approx(average_precision_score(*measured(result, category)))
        assert text == f"{category}  {area:.3f}"


def test_the_pro_curve_has_the_area_of_aupro(result: Result) -> None:
    figure = pro(result)
    for (x, y), text, category in zip(lines(figure), legend(figure), ("bolt", "nut"), strict=True):
        grid = np.linspace(0, 0.3, 20_001)
        area = np.trapezoid(np.interp(grid, x, y), grid) / 0.3
        expected = result.metrics[category]["pixel_aupro"].value
        assert area == pytest.approx(expected, abs=2e-3) and text == f"{category}  {expected:.3f}"
        assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all() and len(x) < 4001


def test_bars_count_every_scored_image_and_the_line_is_the_threshold(result: Result) -> None:
    figure = histograms(result)
    assert [axes.get_title() for axes in figure.axes] == ["bolt", "nut"]
    assert legend(figure) == ["normal", "defect", "threshold"]
    for axes, total in zip(figure.axes, (11, 10), strict=True):
        bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert sum(bar.get_height() for bar in bars) == total
        assert [line.get_xdata() for line in axes.get_lines()] == [[0.75, 0.75]]


def test_images_without_labels_have_bars_and_no_curves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = published(tmp_path, ["nut"], labels=False)
    assert [name for name, _ in plots(result, 3)] == ["histogram", "worst"]
    assert caplog.messages == [
        "no roc: no category has labels of both normal and anomalous images",
        "no precision_recall: no category has labels of both normal and anomalous images",
        "no pro: no category has pixel metrics, which need masks of its defects",
    ]
    assert legend(histograms(result)) == ["no label", "threshold"]


def test_a_run_without_scores_has_no_plot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = read_result(publish(tmp_path, "one", [row("nut", "bad", None)]))
    assert list(plots(result, 3)) == [] and len(caplog.messages) == 5
    with pytest.raises(NothingToScore, match="no image was scored"):
        histograms(result)


def test_names_of_any_kind_are_drawn_as_they_are_and_both_kinds_of_file_are_whole(tmp_path: Path) -> None:
    result = published(tmp_path / "in", HOSTILE)
    place = Location.parse(str(tmp_path / "out"))
    for name, figure in plots(result, 2):
        first = [location.read_bytes() for location in save(figure, place, name)]
        assert ET.fromstring(first[0]).tag == "{http://www.w3.org/2000/svg}svg"
        picture = np.asarray(Image.open(tmp_path / "out" / f"{name}.png").convert("L"))
        assert min(picture.shape) > 400 and picture.std() > 5
        if name in (drawn := {"roc": roc, "precision_recall": precision_recall}):
            again = save(drawn[name](result), place, name)
            assert [location.read_bytes() for location in again] == first
            assert {text.split("  ")[0] for text in legend(figure)} == {
                *(" _hidden", r"\$\frac{", "<b>&", r"line\nbreak", "größe")
            }
    assert len(list((tmp_path / "out").iterdir())) == 10
