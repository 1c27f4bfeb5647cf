"""Regions: where the anomalous images of a run are so, and which reference contradicts each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.errors import StorageError, StoreUnavailable
from pipeline.geometry import LakeGeometry
from pipeline.report.missed import missed
from pipeline.report.stored_map import counted_pixels, map_at
from pipeline.schema.tables import FOUND, with_count
from pipeline.scoring.regions import Region, patches_of
from pipeline.scoring.regions import find_regions as regions_of
from pipeline.scoring.scorer import Layer, make_scorer
from pipeline.stage import Runner, Stage
from pipeline.stages.differences import Differences, PatchGroup
from pipeline.stages.explain import Explainer
from pipeline.stages.score import kept_lists
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, write_array
from pipeline.tables.regions import flagged, with_regions
from pipeline.views import View

BLOCK = 256  # images of one task
MOST = 50  # regions of an image
PATCHES = 512  # that are explained at a time, for which each reference is read once

MADE = with_count(FOUND)


def find_regions(images: pa.Table, decided: pa.Table, find: Stage, runner: Runner) -> tuple[pa.Table, pa.Table]:
    """Find the regions of the images that are called anomalous; return rows of DECIDED that know, and FOUND.

    An image whose map cannot be read has none that are known, and the log says so.

    Args:
        images: of this run, with category, uri and etag.
        decided: rows of DECIDED of the same images.
        find: a `FindRegions`.
        runner: gives blocks to workers.
    """
    rows = flagged(images, decided)
    parts = [rows.filter(pc.equal(rows["category"], category)) for category in pc.unique(rows["category"])]
    blocks = [part.slice(at, BLOCK) for part in parts for at in range(0, part.num_rows, BLOCK)]
    found = FOUND.empty()
    if blocks:
        with runner.progress("regions", "images", rows.num_rows) as progress:
            found = FOUND.cast(runner(find, blocks, progress))
        found = found.sort_by([("category", "ascending"), ("image", "ascending"), ("region", "ascending")])
    known = pc.is_valid(found["region"])
    missed("regions", found.filter(pc.invert(known)))
    found = found.filter(known)
    missed("references of regions", found.filter(pc.equal(found["region"], 1)))
    return with_regions(decided, rows, found), found


@dataclass
class FindRegions:
    """A worker's part: the regions of some images of a category, by their maps and the references of a run at work."""

    config: ScoreConfig
    layer: Layer
    geometry: LakeGeometry
    store: FeatureStore
    run: RunFolder
    map_scale: float
    anomalous: NDArray[np.int64]
    _explain: Explainer = field(init=False)
    _differences: Differences = field(init=False)

    def setup(self, device: str, threads: int) -> None:
        scorer, listed = make_scorer(self.config, self.layer), kept_lists(self.store, self.run)
        self._explain = Explainer(scorer, self.store.layers, self.store.width, listed, self.anomalous)
        self._differences = Differences(self.store.layers, listed)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of FOUND, and `count`, for images of one category that follow FLAGGED."""
        rows: list[dict[str, Any]] = []
        of_images: list[tuple[int, NDArray[np.int64]]] = []
        groups: list[PatchGroup] = []
        for of in block.to_pylist():
            image = {name: of[name] for name in ("image", "category", "uri", "etag")}
            try:
                distances = map_at(self.run.output / of["map_uri"], self.map_scale)
            except StoreUnavailable:
                raise
            except StorageError as error:
                rows.append(image | {"detail": str(error), "count": 1})
                continue
            threshold = np.inf if of["pixel_threshold"] is None else of["pixel_threshold"]
            size = (of["width"], of["height"])
            view = self.geometry.of(of["category"]).on(size)
            counted = counted_pixels(distances, of["region_uri"])
            found = regions_of(distances, threshold, view.pixels / view.patches, counted)
            told = [geometry(region, view, size) for region in found]
            facts = image | {"regions": len(found), "all_share": sum(one["area_share"] for one in told)}
            of_images.append((of["image"], _peaks(found[:MOST], view)))
            groups += [PatchGroup(of["image"], *patches_of(one, distances, view)) for one in found[:MOST]]
            rows += [
                facts | one | {"region": number, "count": int(number == 1)} for number, one in enumerate(told[:MOST], 1)
            ]
        category, regions = block["category"][0].as_py(), [row for row in rows if "region" in row]
        try:
            self._add_references(category, of_images, regions)
            self._add_differences(category, groups, regions)
        except StoreUnavailable:
            raise
        except StorageError as error:  # features that somebody deletes meanwhile
            for row in regions:
                row.setdefault("detail", f"its references cannot be read: {error}")
        return MADE.rows(rows)

    def _add_references(
        self, category: str, of_images: Sequence[tuple[int, NDArray[np.int64]]], rows: Sequence[dict[str, Any]]
    ) -> None:
        """Say in the rows of regions, by images and the patches of their peaks, which reference contradicts each."""
        regions = iter(rows)
        for images, patches, counts in _together(of_images):
            for count, nearest in zip(counts, self._explain(category, images, patches, 1), strict=True):
                for [match] in nearest[:count]:
                    next(regions)["reference"] = match

    def _add_differences(self, category: str, groups: Sequence[PatchGroup], rows: Sequence[dict[str, Any]]) -> None:
        """Write how the regions differ from references, and say in their rows where."""
        if groups:
            name = f"{groups[0].image}-{groups[-1].image}.npy"
            write_array(self.run.differences(category) / name, self._differences(category, groups))
            for number, row in enumerate(rows):
                row |= {"vectors": name, "vector": number}


def _peaks(regions: Sequence[Region], view: View) -> NDArray[np.int64]:
    """Return the patch of the peak of each region of a view."""
    rows, columns = np.array([region.place for region in regions]).T
    return view.patches_at(rows * view.size[1] + columns)


def _together(
    of_images: Sequence[tuple[int, NDArray[np.int64]]],
) -> Iterator[tuple[list[int], NDArray[np.int64], list[int]]]:
    """Yield images, patches (A, K) and how many of each image's count, PATCHES at most: others stand for nothing."""
    start = 0
    while start < len(of_images):
        stop, widest = start, 0
        while stop < len(of_images):
            wider = max(widest, len(of_images[stop][1]))
            if stop > start and wider * (stop + 1 - start) > PATCHES:
                break
            stop, widest = stop + 1, wider
        part = of_images[start:stop]
        patches = np.stack([np.pad(own, (0, widest - len(own)), mode="edge") for _, own in part])
        yield [image for image, _ in part], patches, [len(own) for _, own in part]
        start = stop


def geometry(region: Region, view: View, size: tuple[int, int]) -> dict[str, float]:
    """Return what REGIONS says of where a region of a view's map lies on an image of (width, height)."""
    corner, lengths = region.corner[::-1], region.mask.shape[::-1]
    x, y, width, height = view.part_on_image(corner, lengths, size).tolist()
    area = float(region.area * view.scale(size).prod())
    [[peak_x, peak_y]] = view.shares(np.array([[region.place[1] + 0.5, region.place[0] + 0.5]])).tolist()
    return {
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "area": area,
        "area_share": area / (size[0] * size[1]),
        "peak": region.peak,
        "peak_x": peak_x,
        "peak_y": peak_y,
    }
