"""Measure: image and pixel metrics of a category where labels are known."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial, reduce
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.boxes import split_box
from pipeline.catalog.masks import loco_regions, read_masks
from pipeline.config import ScoreConfig
from pipeline.errors import CatalogError
from pipeline.geometry import LakeGeometry
from pipeline.images.files import mask_values
from pipeline.metrics.category import (
    Metric,
    PixelTruth,
    image_metrics,
    no_pixel_metrics,
    pixel_metrics,
    streamed_pixel_metrics,
    verdict_metrics,
)
from pipeline.metrics.stream import histogram
from pipeline.schema.tables import MEASURED
from pipeline.scoring.scorer import Layer, make_scorer
from pipeline.stages.maps import MAP_BLOCK
from pipeline.stages.patch_scores import PatchScoreReader
from pipeline.store.run_folder import RunFolder, read_table
from pipeline.views import View

BLOCK_PIXELS = 2e7  # of the maps that are held at a time, where they are not held all together
# Of a category's maps for exact pixel metrics, which take 12 bytes for each (60 where half of them are anomalous); the
# metrics of more are streamed
MOST_PIXELS = 2e8


@dataclass(frozen=True)
class MetricRow:
    """A row of METRICS."""

    category: str
    name: str
    value: float | None
    reason: str | None
    error: float | None


@dataclass
class MeasureCategory:
    """A worker's part: measures a category."""

    config: ScoreConfig
    layer: Layer
    geometry: LakeGeometry
    run: RunFolder
    layout: str
    _patch_scores: PatchScoreReader = field(init=False)

    def setup(self, device: str, threads: int) -> None:
        self._patch_scores = PatchScoreReader(make_scorer(self.config, self.layer), self.geometry, self.run)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of MEASURED, for category, scores and threshold of each image."""
        category = block["category"][0].as_py()
        index = read_table(self.run.index(category))
        labels = index["label"].to_pylist()
        known = np.array([label is not None for label in labels], bool)
        truth = np.array([bool(label) for label in labels], bool)[known]
        raw, final = (block[name].to_numpy()[known] for name in ("score_raw", "score_final"))
        flagged = raw > block["threshold"].to_numpy()[known]
        metrics = image_metrics(truth, raw if np.isnan(final).all() else final) | verdict_metrics(truth, flagged)
        if not np.isnan(final).all():
            metrics |= {f"raw_{name}": metric for name, metric in image_metrics(truth, raw).items()}
        empty: list[str] = []
        try:
            metrics |= self._pixel_metrics(category, index, np.flatnonzero(known), empty)
        except CatalogError as error:
            metrics |= no_pixel_metrics(str(error))
        said: dict[str, object] = {"empty_masks": len(empty), "example": next(iter(empty), None)}
        said["count"] = block.num_rows
        rows: list[dict[str, object]] = []
        for name, metric in metrics.items():
            rows.append({"category": category, "name": name, **asdict(metric), **said})
            said = {"empty_masks": 0, "count": 0}
        return MEASURED.rows(rows)

    def _pixel_metrics(
        self, category: str, index: pa.Table, known: NDArray[np.intp], empty: list[str]
    ) -> dict[str, Metric]:
        """Return the pixel metrics of images (n,) of a category; those whose masks are empty are added to `empty`."""
        rows = index.take(known).to_pylist()
        if not any(row["masks"] for row in rows):
            return no_pixel_metrics("no masks" if len(rows) else "no labels")
        if without := [row["uri"] for row in rows if row["label"] and not row["masks"]]:
            raise CatalogError(f"{len(without)} anomalous images lack a mask, such as {without[0]}")
        views = self._patch_scores.views(category, index.take(known))
        if len(set(views)) == 1 and len(rows) * views[0][0].pixels <= MOST_PIXELS:
            [alike] = self._patch_scores.alike(category, index.take(known))
            [(places, maps)] = alike.parts(MOST_PIXELS)
            truth = self._truth([rows[place] for place in places], alike.view, empty)
            return pixel_metrics(maps, truth, self.config.metrics)
        found = (
            histogram(maps, truth.masks, truth.regions)
            for start in range(0, len(known), MAP_BLOCK)
            for of in self._patch_scores.alike(category, index.take(known[start : start + MAP_BLOCK]))
            for places, maps in of.parts(BLOCK_PIXELS)
            for truth in [self._truth([rows[start + place] for place in places], of.view, empty)]
        )
        return streamed_pixel_metrics(reduce(operator.add, found), self.config.metrics)

    def _truth(self, rows: Sequence[Mapping[str, Any]], view: View, empty: list[str]) -> PixelTruth:
        """Return the masks (n, height, width) of some images of one view, by their rows of an index."""
        pixels = [(row["width"], row["height"]) for row in rows]
        read = partial(mask_values, config=self.config.input)
        views = [view.of_box(split_box(row["uri"])[1]) for row in rows]
        seen = zip(rows, views, pixels, strict=True)
        masks = np.stack([read_masks(row["masks"], of, wh, read) for row, of, wh in seen])
        empty += [row["uri"] for row, mask in zip(rows, masks, strict=True) if row["masks"] and not mask.any()]
        if self.layout != "loco":
            return PixelTruth(masks, None)
        regions = [
            region
            for image, (row, wh) in enumerate(zip(rows, pixels, strict=True))
            for region in loco_regions(image, row["masks"], view, wh, read)
        ]
        return PixelTruth(masks, regions)
