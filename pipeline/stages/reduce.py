"""Reduce: patch scores of all layers become maps and raw scores, then RsCIN and metrics for each category."""

import io
import logging
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial, reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog.masks import loco_regions, read_masks
from pipeline.config import ScoreConfig
from pipeline.engine.progress import Progress, check_rows
from pipeline.engine.tasks import run_tasks
from pipeline.engine.telemetry import count_traffic
from pipeline.errors import CatalogError
from pipeline.io.names import file_key, partition
from pipeline.metrics.category import (
    Metric,
    PixelTruth,
    image_metrics,
    no_pixel_metrics,
    pixel_metrics,
    streamed_pixel_metrics,
)
from pipeline.metrics.stream import LEVELS, TOP, histogram, to_levels
from pipeline.plan.units import Unit
from pipeline.scoring.maps import anomaly_maps
from pipeline.scoring.musc import rscin
from pipeline.stages.decode import mask_values
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_array, read_table
from pipeline.tables.references import feature_refs
from pipeline.tables.thresholds import PIXEL_BINS, count_pixels, threshold

# Distances of vectors of length 1 lie in 0..2: with one scale for every map ever written, grey levels compare
MAP_SCALE = TOP / (LEVELS - 1)
MAP_BLOCK = 64  # images of one task
# Of a category's maps for exact pixel metrics, which take 12 bytes for each (60 where half of them are anomalous); the
# metrics of more are streamed
MOST_PIXELS = 2e8

log = logging.getLogger(__name__)

IMAGES = pa.schema(
    [
        ("image", pa.int64()),
        ("category", pa.string()),
        ("score_raw", pa.float64()),
        ("stderr", pa.float64()),
        ("map_uri", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("rule", pa.string()),
    ]
)
METRICS = pa.schema(
    [
        ("category", pa.string()),
        ("name", pa.string()),
        ("value", pa.float64()),
        ("reason", pa.string()),
        ("error", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Reduced:
    """`images` follows IMAGES, a row for each encoded image; metrics and counts of maps' values by category."""

    images: pa.Table
    metrics: dict[str, dict[str, Metric]]
    pixels: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Reducer:
    """What the tasks of this stage share. Their first argument is a block of one category."""

    config: ScoreConfig
    store: FeatureStore
    run: RunFolder
    layout: str
    mask_above: float

    def __call__(self, totals: Mapping[str, int]) -> Reduced:
        """Write a map for each encoded image, and return scores and metrics; the units' patch scores are written.

        `totals` is the number of encoded images of each category.
        """
        count = sum(totals.values())
        if not count:
            return Reduced(IMAGES.empty_table(), {}, {})
        with Progress("maps", "images", count) as progress:
            blocks = [
                pa.table({"category": [category], "start": [start], "stop": [min(start + MAP_BLOCK, total)]})
                for category, total in totals.items()
                for start in range(0, total, MAP_BLOCK)
            ]
            images = run_tasks(blocks, self.write_maps, progress)
        pixels: dict[str, NDArray[np.int64]] = {category: np.zeros(PIXEL_BINS, np.int64) for category in totals}
        for row in images.filter(pc.is_valid(images["pixels"])).select(["category", "pixels"]).to_pylist():
            pixels[row["category"]] += row["pixels"]
        images = images.drop_columns("pixels").sort_by([("category", "ascending"), ("image", "ascending")])
        with Progress("rescore", "images", count) as progress:
            rescored = run_tasks(_by_category(images), self.rescore, progress)
        check_rows("rescore", images["image"].to_pylist(), rescored["image"].to_pylist())
        images = images.join(rescored, "image").sort_by([("category", "ascending"), ("image", "ascending")])
        self._say_what_is_not_fitted(images)
        with Progress("metrics", "images", count) as progress:
            rows = run_tasks(_by_category(images), self.measure, progress).to_pylist()
        metrics: dict[str, dict[str, Metric]] = {category: {} for category in totals}
        for row in rows:
            metrics[row["category"]][row["name"]] = Metric(row["value"], row["reason"], row["error"])
        return Reduced(images.select(IMAGES.names), metrics, pixels)

    def write_maps(self, block: pa.Table) -> pa.Table:
        """Write the anomaly map of each image [start, stop) of a category; return raw scores and where the maps lie."""
        task = block.to_pylist()[0]
        start, stop, category = task["start"], task["stop"], task["category"]
        patch_scores, errors = self._patch_scores(category, start, stop)
        maps = anomaly_maps(torch.from_numpy(patch_scores), self.store.grid, self.config.encoder.size).numpy()
        index = read_table(self.run.index(category)).slice(start, stop - start)
        names = []
        for uri, anomaly_map in zip(index["uri"].to_pylist(), maps, strict=True):
            names.append(f"{self.run.name}/maps/{partition('category', category)}/{file_key(uri)}.png")
            png = io.BytesIO()
            levels = to_levels(anomaly_map).astype(np.uint16)
            Image.fromarray(levels).save(png, "png", compress_level=1)
            (self.run.output / names[-1]).write_bytes(png.getvalue())
        count_traffic()
        counted = count_pixels(maps[self._counted(category, index)])
        pixels = [counted, *[None] * (len(names) - 1)]  # of the block, in its first row
        at_worst = np.take_along_axis(errors, patch_scores.argmax(axis=1)[:, None], axis=1)[:, 0].tolist()
        if self.config.references.source == "pinned":  # chosen by somebody: nothing is known of their error
            at_worst = [None] * len(names)
        return pa.table(
            {
                "image": index["image"],
                "category": [category] * len(names),
                "score_raw": maps.max(axis=(1, 2)).astype(np.float64),
                "stderr": pa.array(at_worst, pa.float64()),
                "map_uri": names,
                "pixels": pa.array(pixels, pa.list_(pa.int64())),
                "count": [1] * len(names),
            }
        )

    def rescore(self, block: pa.Table) -> pa.Table:
        """Apply RsCIN to a category, and find its threshold: image and score_raw in, image, score, threshold, rule out.

        References of earlier nights take part with the raw scores that they had then.
        """
        category = block["category"][0].as_py()
        index, references = read_table(self.run.index(category)), read_table(self.run.references(category))
        own = block["score_raw"].to_numpy()
        positions, raw = references["position"].to_numpy(), references["score_raw"].to_numpy()
        earlier = positions < 0
        embeddings = self.store.embeddings(feature_refs(index) + feature_refs(references.filter(pa.array(earlier))))
        everything = torch.from_numpy(np.concatenate([own, raw[earlier]]))
        scores = (
            rscin(everything, torch.from_numpy(embeddings), self.config.method.windows).double().numpy()[: len(own)]
        )
        of_references = np.concatenate([own[positions[~earlier]], raw[earlier]])
        inputs = index["input"].to_numpy(zero_copy_only=False)
        labels = index["label"].filter(index["input"]).to_pylist()
        found = threshold(self.config.decision.image, category, of_references, own[inputs], labels)
        return pa.table(
            {
                "image": block["image"],
                "score": scores,
                "threshold": pa.array([found.value] * len(scores), pa.float64()),
                "rule": [found.rule] * len(scores),
                "count": [1] * len(scores),
            }
        )

    def _say_what_is_not_fitted(self, images: pa.Table) -> None:
        rule = self.config.decision.image
        if not rule.fitted:
            return
        other = images.filter(pc.invert(pc.starts_with(images["rule"], rule.rule)))
        for row in other.group_by(["category", "rule"], use_threads=False).aggregate([]).to_pylist():
            message = "threshold of %r by %s and not by %s, which needs normal and defective images with labels"
            log.warning(message, row["category"], row["rule"], rule.rule)

    def _counted(self, category: str, index: pa.Table) -> NDArray[np.bool_]:
        """Say which images' maps the threshold on pixels is found from.

        Those of the references, as far as they are scored in this run; of this run's images where none is, or where the
        rule asks for a share of them.
        """
        inputs: NDArray[np.bool_] = index["input"].to_numpy(zero_copy_only=False)
        if self.config.decision.pixel.of(category) == "share":
            return inputs
        positions = read_table(self.run.references(category))["position"].to_numpy()
        return np.isin(index["position"].to_numpy(), positions) if (positions >= 0).any() else inputs

    def measure(self, block: pa.Table) -> pa.Table:
        """Measure a category where labels are known: a row for each metric, with METRICS' columns."""
        category = block["category"][0].as_py()
        index = read_table(self.run.index(category))
        labels = index["label"].to_pylist()
        known = np.array([label is not None for label in labels], bool)
        truth = np.array([bool(label) for label in labels], bool)[known]
        metrics = image_metrics(truth, block["score"].to_numpy()[known])
        try:
            metrics |= self._pixel_metrics(category, index, np.flatnonzero(known))
        except CatalogError as error:
            metrics |= no_pixel_metrics(str(error))
        rows = [{"category": category, "name": name, **asdict(metric)} for name, metric in metrics.items()]
        table = pa.Table.from_pylist(rows, schema=METRICS)
        return table.append_column("count", pa.array([block.num_rows] + [0] * (len(rows) - 1)))

    def _pixel_metrics(self, category: str, index: pa.Table, known: NDArray[np.intp]) -> dict[str, Metric]:
        rows = index.take(known).to_pylist()
        if not any(row["masks"] for row in rows):
            return no_pixel_metrics("no masks" if len(rows) else "no labels")
        if without := [row["uri"] for row in rows if row["label"] and not row["masks"]]:
            raise CatalogError(f"{len(without)} anomalous images lack a mask, such as {without[0]}")
        if len(rows) * self.config.encoder.size**2 <= MOST_PIXELS:
            return pixel_metrics(*self._maps(category, index, known), self.config.metrics)
        blocks = (known[known // MAP_BLOCK == number] for number in np.unique(known // MAP_BLOCK))
        found = (self._maps(category, index, block) for block in blocks)
        histograms = (histogram(maps, truth.masks, truth.regions) for maps, truth in found)
        return streamed_pixel_metrics(reduce(operator.add, histograms), self.config.metrics)

    def _maps(self, category: str, index: pa.Table, images: NDArray[np.intp]) -> tuple[NDArray[np.float32], PixelTruth]:
        """Return the maps (n, size, size) of some images (n,) of a category, rising positions in its index."""
        size = self.config.encoder.size
        rows = index.take(images).to_pylist()
        pixels = [(row["width"], row["height"]) for row in rows]
        read = partial(mask_values, config=self.config.input)
        masks = np.stack(
            [read_masks(row["masks"], size, self.mask_above, wh, read) for row, wh in zip(rows, pixels, strict=True)]
        )
        regions = None
        if self.layout == "loco":
            regions = [
                region
                for image, (row, wh) in enumerate(zip(rows, pixels, strict=True))
                for region in loco_regions(image, row["masks"], size, wh, read)
            ]
        start = int(images[0])
        patch_scores = self._patch_scores(category, start, int(images[-1]) + 1)[0, images - start]
        maps = anomaly_maps(torch.from_numpy(patch_scores), self.store.grid, size).numpy()
        return maps, PixelTruth(masks, regions)

    def _patch_scores(self, category: str, start: int, stop: int) -> NDArray[np.float32]:
        """Average the layers' patch scores and standard errors of images [start, stop) of a category: (2, B, P).

        The layers see the same references; the mean of their errors is the error of their mean at most.
        """
        patches = self.store.grid[0] * self.store.grid[1]
        layers: dict[int, NDArray[np.float32]] = {
            layer: np.empty((2, stop - start, patches), np.float32) for layer in self.store.layers
        }
        for row in read_table(self.run.units(category)).to_pylist():
            unit = Unit(**row)
            low, high = max(start, unit.start), min(stop, unit.stop)
            if low < high:
                found = read_array(self.run.patch_scores(unit.id))
                layers[unit.layer][:, low - start : high - start] = found[:, low - unit.start : high - unit.start]
        mean: NDArray[np.float32] = np.mean(list(layers.values()), axis=0, dtype=np.float32)
        return mean


def _by_category(images: pa.Table) -> list[pa.Table]:
    """Cut a table that is sorted by category into one block for each."""
    categories = images["category"].to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.append(True, categories[1:] != categories[:-1]))
    stops = np.append(starts[1:], len(categories))
    return [images.slice(int(a), int(b - a)) for a, b in zip(starts, stops, strict=True)]
