"""Plots of a run, for slides: ROC, precision and recall, PRO, histograms of scores, the worst images."""

import io
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from pipeline.catalog.masks import read_masks
from pipeline.errors import LakeScoreError, NothingToScore
from pipeline.io.storage import Location
from pipeline.metrics.category import AUPRO_LIMIT
from pipeline.metrics.stream import Histogram, histogram, overlap_curve
from pipeline.report.sheet import draw_sheet, plain
from pipeline.report.stored_map import read_map, view_of
from pipeline.result import Result

Array = NDArray[Any]
Curve = tuple[Array, Array]  # x, y

COLOURS = matplotlib.color_sequences["petroff10"]  # told apart by those who see fewer colours, too
STYLES = ("-", "--", ":", "-.")
NORMAL, UNKNOWN, DEFECT = COLOURS[0], COLOURS[3], COLOURS[1]
BINS = 40
ACROSS = 4  # histograms in a row at most
READ_AT_A_TIME = 32  # images whose maps and masks are in memory
POINTS = 2000  # of a curve that can be told apart, along each axis

log = logging.getLogger(__name__)


def plots(result: Result, worst: int) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each plot that the run has; a warning says why it lacks one."""
    drawn: dict[str, Callable[[Result], Figure]] = {
        "roc": roc,
        "precision_recall": precision_recall,
        "pro": pro,
        "histogram": histograms,
        "worst": lambda of: draw_sheet(of.folder.output, of.scores, of.run.map_scale, of.run.values, worst),
    }
    for name, draw in drawn.items():
        try:
            yield name, draw(result)
        except LakeScoreError as error:
            log.warning("no %s: %s", name, error)


def save(figure: Figure, folder: Location, name: str) -> list[Location]:
    """Write a figure as SVG and PNG; the same plot gives the same bytes. Raises `StorageError`."""
    written = []
    with matplotlib.rc_context({"svg.hashsalt": "lakescore"}):
        for kind, options in {"svg": {"metadata": {"Date": None}}, "png": {"dpi": 200}}.items():
            content = io.BytesIO()
            figure.savefig(content, format=kind, **options)  # type: ignore[arg-type]  # of either kind
            written.append(folder / f"{name}.{kind}")
            written[-1].write_bytes(content.getvalue())
    return written


def roc(result: Result) -> Figure:
    """Draw the ROC curve of each category whose labels are of both kinds; raises `NothingToScore` without any."""
    curves = {name: roc_curve(*of)[:2] for name, of in _labelled(result).items()}
    figure, axes = _curves(curves, _figures(result, "image_auroc"), "AUROC")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set(title="ROC of images", xlabel="false positive rate", ylabel="true positive rate")
    return figure


def precision_recall(result: Result) -> Figure:
    """Draw precision over recall of each category whose labels are of both kinds; raises as `roc` does."""
    curves = {name: precision_recall_curve(*of)[1::-1] for name, of in _labelled(result).items()}
    figure, axes = _curves(curves, _figures(result, "image_ap"), "AP", drawstyle="steps-post")
    axes.set(title="Precision and recall of images", xlabel="recall", ylabel="precision")
    return figure


def pro(result: Result) -> Figure:
    """Draw the per-region overlap curve of each category that has pixel metrics, up to the rate that AUPRO counts.

    Maps and masks are read again. Raises `NothingToScore` where no category has any, `StorageError` and `CatalogError`.
    """
    areas = _figures(result, "pixel_aupro")
    if not areas:
        raise NothingToScore("no category has pixel metrics, which need masks of its defects")
    curves = {name: _thinned(overlap_curve(_counted(result, name))) for name in areas}
    figure, axes = _curves(curves, areas, "AUPRO")
    axes.set(title="Per-region overlap", xlabel="false positive rate of pixels", ylabel="mean overlap of regions")
    axes.set_xlim(0, AUPRO_LIMIT)
    return figure


def histograms(result: Result) -> Figure:
    """Draw how often each category's raw scores occur, with the threshold; raises `NothingToScore` without scores."""
    rows = result.scores.filter(pc.is_valid(result.scores["score_raw"]))
    categories = sorted(set(rows["category"].to_pylist()))
    if not categories:
        raise NothingToScore("no image was scored")
    columns = min(ACROSS, math.ceil(math.sqrt(len(categories))))
    lines = -(-len(categories) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.0 * lines + 0.6), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    handles: dict[str, Any] = {}
    for axes, name in zip(grid.flat, categories, strict=False):
        _histogram(axes, rows.filter(pc.equal(rows["category"], name)))
        axes.set_title(plain(name), fontsize=10)
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    for axes in grid.flat[len(categories) :]:
        axes.set_axis_off()
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False)
    figure.supxlabel("score_raw", fontsize=10)
    figure.supylabel("images", fontsize=10)
    return figure


def _histogram(axes: Axes, rows: pa.Table) -> None:
    raw = rows["score_raw"].to_numpy()
    labels: list[bool | None] = rows["label"].to_pylist()
    kinds = {"normal": (False, NORMAL), "no label": (None, UNKNOWN), "defect": (True, DEFECT)}
    shown = {name: (raw[[label is kind for label in labels]], colour) for name, (kind, colour) in kinds.items()}
    shown = {name: found for name, found in shown.items() if len(found[0])}
    axes.hist(
        [values for values, _ in shown.values()],
        bins=BINS,
        range=(float(raw.min()), float(raw.max())),
        stacked=True,
        color=[colour for _, colour in shown.values()],
        label=list(shown),
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    thresholds = rows["threshold"].drop_null()
    if len(thresholds):  # carried rows may have that of another night
        most = pc.mode(thresholds)[0].as_py()["mode"]
        axes.axvline(most, color="black", linewidth=1.2, linestyle="--", label="threshold")


def _curves(curves: Mapping[str, Curve], areas: Mapping[str, float], area: str, **style: Any) -> tuple[Figure, Axes]:
    """Draw curves into the unit square, with a legend that names the area below each."""
    if not curves:
        raise NothingToScore("no category has labels of both normal and anomalous images")
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    for place, (name, (x, y)) in enumerate(curves.items()):
        line = STYLES[place // len(COLOURS) % len(STYLES)]
        label = f"{plain(name)}  {areas[name]:.3f}" if name in areas else plain(name)
        axes.plot(x, y, color=COLOURS[place % len(COLOURS)], linestyle=line, linewidth=1.8, label=label, **style)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(title=area, loc="outside right upper", fontsize=9, frameon=False)
    return figure, axes


def _labelled(result: Result) -> dict[str, tuple[Array, Array]]:
    """Return labels and scores of the images that this run measured, of categories with both kinds."""
    rows = _measured(result)
    found = {}
    for name in sorted(set(rows["category"].to_pylist())):
        of = rows.filter(pc.equal(rows["category"], name))
        labels = of["label"].to_numpy().astype(bool)
        if labels.any() and not labels.all():
            final = of["score_final"].to_numpy()
            found[name] = labels, of["score_raw"].to_numpy() if np.isnan(final).any() else final
    return found


def _measured(result: Result) -> pa.Table:
    """Return the labelled rows that this run scored: final scores of carried ones are relative to another night's."""
    scores = result.scores
    here = pc.and_(pc.is_valid(scores["label"]), pc.is_valid(scores["score_raw"]))
    if scores["scored_by"].null_count < scores.num_rows:  # else a run of before that was told: it scored all
        here = pc.and_(here, pc.equal(scores["scored_by"], result.folder.run_id))
    return scores.filter(here)


def _figures(result: Result, metric: str) -> dict[str, float]:
    """Return a metric of the categories that have it."""
    found = {name: of[metric].value for name, of in result.metrics.items() if metric in of}
    return {name: value for name, value in found.items() if value is not None}


def _counted(result: Result, category: str) -> Histogram:
    """Count the levels of a category's maps, within its masks and outside."""
    measured = _measured(result)
    rows = measured.filter(pc.equal(measured["category"], category)).to_pylist()
    listed = result.published.table("catalog")
    masks = dict(zip(listed["uri"].to_pylist(), listed["masks"].to_pylist(), strict=True))
    read = partial(_map_and_mask, result, masks)
    counted: Histogram | None = None
    with ThreadPoolExecutor() as readers:
        for start in range(0, len(rows), READ_AT_A_TIME):
            maps, truth = zip(*readers.map(read, rows[start : start + READ_AT_A_TIME]), strict=True)
            part = histogram(np.stack(maps), np.stack(truth))
            counted = part if counted is None else counted + part
    assert counted is not None  # the category has pixel metrics
    return counted


def _map_and_mask(result: Result, masks: Mapping[str, list[str]], row: dict[str, Any]) -> Curve:
    distances = read_map(result, row)
    mask = read_masks(masks[row["uri"]], view_of(distances), (row["width"], row["height"]))
    return distances, mask


def _thinned(curve: Curve) -> Curve:
    """Return the points of a curve that can be told apart, up to the first beyond the rate that counts."""
    points = np.stack(curve)[:, : np.searchsorted(curve[0], AUPRO_LIMIT) + 1]
    seen = np.append(True, (np.diff((points * POINTS).round()) != 0).any(axis=0))
    x, y = points[:, seen]
    return x, y
