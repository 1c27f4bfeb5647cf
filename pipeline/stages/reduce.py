"""Reduce: from patch scores to maps, scores, thresholds and metrics, in that order."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import RuleConfig, ScoreConfig
from pipeline.geometry import LakeGeometry
from pipeline.metrics.category import Metric
from pipeline.schema.table import records
from pipeline.schema.tables import REDUCED, THRESHOLDS
from pipeline.scoring.scorer import Layer
from pipeline.stage import Runner
from pipeline.stages.maps import MAP_BLOCK, WriteMaps
from pipeline.stages.measure import MeasureCategory, MetricRow
from pipeline.stages.ranges import ranges
from pipeline.stages.rescore import RescoreImages, rescore
from pipeline.stages.thresholds import FindThreshold
from pipeline.store.features import FeatureStore
from pipeline.store.maps import images_of_a_file
from pipeline.store.run_folder import RunFolder
from pipeline.tables.rows import check_rows
from pipeline.tables.thresholds import PIXEL_BINS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reduced:
    """`images` follows REDUCED, a row for each encoded image; metrics and counts of maps' values by category."""

    images: pa.Table
    metrics: dict[str, dict[str, Metric]]
    pixels: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Reduction:
    """What the stages of reducing share; `layout` says how masks are read."""

    config: ScoreConfig
    layer: Layer
    geometry: LakeGeometry
    store: FeatureStore
    run: RunFolder
    layout: str

    def __call__(self, totals: Mapping[str, int], runner: Runner) -> Reduced:
        """Write what maps are drawn from, and return scores and metrics; the units' patch scores are written.

        `totals` is the number of encoded images of each category.
        """
        count = sum(totals.values())
        if not count:
            return Reduced(REDUCED.empty(), {}, {})
        shared = self.config, self.layer, self.geometry, self.run
        with runner.progress("maps", "images", count) as progress:
            blocks = [
                block
                for category, total in totals.items()
                for block in ranges(category, total, images_of_a_file(prod(self.geometry.grid(category)), MAP_BLOCK))
            ]
            images = runner(WriteMaps(*shared), blocks, progress)
        pixels: dict[str, NDArray[np.int64]] = {category: np.zeros(PIXEL_BINS, np.int64) for category in totals}
        for row in images.filter(pc.is_valid(images["pixels"])).select(["category", "pixels"]).to_pylist():
            pixels[row["category"]] += row["pixels"]
        images = images.drop_columns("pixels").sort_by([("category", "ascending"), ("image", "ascending")])
        blocks = _by_category(images)
        raw = {block["category"][0].as_py(): block["score_raw"].to_numpy() for block in blocks}
        rescored = rescore(raw, RescoreImages(self.config, self.layer, self.store, self.run), runner)
        with runner.progress("thresholds", "images", count) as progress:
            thresholds = THRESHOLDS.cast(runner(FindThreshold(self.config, self.run), blocks, progress))
        for name, told in (("rescore", rescored), ("thresholds", thresholds)):
            check_rows(name, images["image"].to_pylist(), told["image"].to_pylist())
            images = images.join(told, "image")
        images = images.sort_by([("category", "ascending"), ("image", "ascending")])
        say_what_is_not_fitted(self.config.decision.image, images)
        with runner.progress("metrics", "images", count) as progress:
            table = runner(MeasureCategory(*shared, self.layout), _by_category(images), progress)
        say_empty_masks(table)
        metrics: dict[str, dict[str, Metric]] = {category: {} for category in totals}
        for found in records(table, MetricRow):
            metrics[found.category][found.name] = Metric(found.value, found.reason, found.error)
        return Reduced(images.select(REDUCED.names), metrics, pixels)


def say_empty_masks(measured: pa.Table) -> None:
    """Log each category in which masks of anomalous images have no anomalous pixel, of rows of MEASURED."""
    for row in measured.filter(pc.greater(measured["empty_masks"], 0)).to_pylist():
        log.warning(
            "masks of %d anomalous images of %r have no anomalous pixel in the size of maps, such as that of %s: all "
            "their pixels count as normal",
            *(row["empty_masks"], row["category"], row["example"]),
        )


def say_what_is_not_fitted(rule: RuleConfig, images: pa.Table) -> None:
    """Log each category whose threshold was to be found from labels, and was not."""
    if not rule.fitted:
        return
    other = images.filter(pc.invert(pc.starts_with(images["rule"], rule.rule)))
    for row in other.group_by(["category", "rule"], use_threads=False).aggregate([]).to_pylist():
        message = "threshold of %r by %s and not by %s, which needs normal and defective images with labels"
        log.warning(message, row["category"], row["rule"], rule.rule)


def _by_category(images: pa.Table) -> list[pa.Table]:
    """Cut a table that is sorted by category into one block for each."""
    categories = images["category"].to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.append(True, categories[1:] != categories[:-1]))
    stops = np.append(starts[1:], len(categories))
    return [images.slice(int(a), int(b - a)) for a, b in zip(starts, stops, strict=True)]
