"""What pixel metrics cost, exact and streamed, beside the loop over 200 thresholds of public evaluation scripts.

    python -m bench.metrics

The maps are smooth noise with blobs of anomalies, in the range and with the share of anomalous pixels that real sets
have. Below two minutes, nearly all of it the loop.
"""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.measure import label, regionprops
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from bench.report import Cell, Report, interleaved, start
from pipeline.metrics.category import Metric, PixelTruth, pixel_metrics, streamed_pixel_metrics
from pipeline.metrics.stream import LEVELS, Histogram, histogram

Array = NDArray[Any]
BLOCK = 8  # images at a time, streamed
COUNTS = (64, 1024, 16384, LEVELS)


@dataclass(frozen=True)
class Sizes:
    """Maps that are timed, each case as images and pixels a side; pixels a side of those whose memory is measured."""

    cases: tuple[tuple[int, int], ...]
    memory_side: int
    memory_images: int  # and twice as many, streamed


FULL = Sizes(((83, 224), (40, 518)), memory_side=224, memory_images=64)
TOY = Sizes(((6, 24), (6, 32)), memory_side=24, memory_images=8)


def main(report: Report, sizes: Sizes) -> None:
    report.title("Pixel metrics: AUROC, F1-max, AP and AUPRO together")
    cases = {f"{images} of {side} x {side}": synthetic(images, side) for images, side in sizes.cases}
    largest = list(cases)[-1]
    seconds = {name: _seconds(*case) for name, case in cases.items()}
    faster = {name: of["loop"] / of["exact"] for name, of in seconds.items()}
    rows: list[list[Cell]] = [[name, *of.values(), faster[name]] for name, of in seconds.items()]
    columns = ["maps", "exact", "streamed", "loop of 200 (PRO alone)", "scikit-learn (the others)", "loop / exact"]
    report.table("Seconds", columns, rows)
    report.figure("exact against the loop", min(faster.values()), aim=20, unit="x")

    columns = ["way", f"images of {sizes.memory_side} x {sizes.memory_side}", "bytes a pixel", "MB"]
    report.table("Peak memory beside maps (4 bytes a pixel) and masks (1)", columns, _memory(sizes))
    maps, masks = cases[largest]
    columns = ["metric", "exact", "streamed", "difference", "bound"]
    report.table(f"Streamed, {LEVELS} levels", columns, _errors(maps, masks))
    bounds = {count: streamed_pixel_metrics(_streamed(maps, masks, count), "exact") for count in COUNTS}
    bound = max(metric.error or 0.0 for metric in bounds[LEVELS].values())
    report.figure("largest bound of a streamed metric", bound, aim=1e-3, most=True)

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        left.bar(list(seconds[largest]), list(seconds[largest].values()))
        left.set(yscale="log", ylabel="seconds", title=largest.replace(" of ", " maps of "))
        left.tick_params(axis="x", rotation=20)
        for name in bounds[LEVELS]:
            right.plot(COUNTS, [bounds[count][name].error for count in COUNTS], marker="o", label=name)
        right.set(xscale="log", yscale="log", xlabel="levels", ylabel="error bound", title="Streamed")
        right.legend()

    report.save(draw)


def synthetic(images: int, size: int) -> tuple[Array, Array]:
    """Return maps (N, S, S) in float32, of distances, and masks: two of three images have blobs of anomalies."""
    generator = np.random.default_rng(0)
    maps, masks = np.empty((images, size, size), np.float32), np.zeros((images, size, size), bool)
    for image in range(images):
        blobs = gaussian_filter(generator.normal(size=(size, size)).astype(np.float32), size / 20)
        masks[image] = (blobs > np.quantile(blobs, 0.96)) & (image % 3 > 0)
        noise = gaussian_filter(generator.normal(size=(size, size)).astype(np.float32), size / 40)
        seen = gaussian_filter(masks[image].astype(np.float32), size / 60)
        maps[image] = (0.4 + 0.05 * noise / noise.std() + 0.15 * seen).clip(0, 2)
    return maps, masks


def loop_of_200(maps: Array, masks: Array) -> float:
    """Compute PRO as public evaluation scripts do: a loop over thresholds, images and connected regions."""
    binary = np.zeros_like(maps, bool)
    low, high = maps.min(), maps.max()
    rates, overlaps = [], []
    for threshold in np.arange(low, high, (high - low) / 200):
        binary[maps <= threshold], binary[maps > threshold] = False, True
        shares = []
        for found, mask in zip(binary, masks, strict=True):
            for region in regionprops(label(mask)):  # type: ignore[no-untyped-call]  # no types
                shares.append(found[region.coords[:, 0], region.coords[:, 1]].sum() / region.area)
        inverse = ~masks
        rates.append(np.logical_and(inverse, binary).sum() / inverse.sum())
        overlaps.append(np.mean(shares))
    rate, overlap = np.array(rates), np.array(overlaps)
    overlap, rate = overlap[rate < 0.3], rate[rate < 0.3]
    rate = (rate - rate.min()) / (rate.max() - rate.min())
    return float(np.trapezoid(overlap[::-1], rate[::-1]))


def scikit_learn(maps: Array, masks: Array) -> tuple[float, float, float]:
    """Compute AUROC, F1-max and AP as the same scripts do."""
    labels, scores = masks.ravel(), maps.ravel()
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(roc_auc_score(labels, scores)), float(f1.max()), float(average_precision_score(labels, scores))


def _exact(maps: Array, masks: Array) -> dict[str, Metric]:
    return pixel_metrics(maps, PixelTruth(masks), "exact")


def _streamed(maps: Array, masks: Array, levels: int = LEVELS) -> Histogram:
    starts = range(0, len(maps), BLOCK)
    return reduce(add, (histogram(maps[i : i + BLOCK], masks[i : i + BLOCK], None, levels) for i in starts))


def _seconds(maps: Array, masks: Array) -> dict[str, float]:
    """Return seconds of each way: the loop, which takes nearly all the time, is run once."""
    quick: dict[str, Callable[[], Any]] = {
        "exact": lambda: _exact(maps, masks),
        "streamed": lambda: streamed_pixel_metrics(_streamed(maps, masks), "exact"),
    }
    slow: dict[str, Callable[[], Any]] = {
        "loop": lambda: loop_of_200(maps, masks),
        "scikit-learn": lambda: scikit_learn(maps, masks),
    }
    return interleaved(quick) | interleaved(slow, rounds=1)


def _memory(sizes: Sizes) -> list[list[Cell]]:
    """Return the peak of each way; of streaming for two numbers of images, as it should not grow."""
    measured: list[tuple[str, int, Callable[[Array, Array], Any]]] = [
        ("scikit-learn", sizes.memory_images, scikit_learn),
        ("exact", sizes.memory_images, _exact),
        (f"streamed, blocks of {BLOCK}", sizes.memory_images, _streamed),
        (f"streamed, blocks of {BLOCK}", 2 * sizes.memory_images, _streamed),
    ]
    rows: list[list[Cell]] = []
    for name, images, way in measured:
        maps, masks = synthetic(images, sizes.memory_side)
        peak = _peak(way, maps, masks)
        rows.append([name, images, peak / maps.size, peak / 1e6])
    return rows


def _peak(way: Callable[[Array, Array], Any], maps: Array, masks: Array) -> int:
    tracemalloc.start()
    way(maps, masks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def _errors(maps: Array, masks: Array) -> list[list[Cell]]:
    exact, streamed = _exact(maps, masks), streamed_pixel_metrics(_streamed(maps, masks), "exact")
    rows: list[list[Cell]] = []
    for name, metric in streamed.items():
        value, known = metric.value, exact[name].value
        assert value is not None and known is not None and metric.error is not None
        rows.append([name, known, value, abs(value - known), metric.error])
    return rows


if __name__ == "__main__":
    start(main, FULL, TOY)
