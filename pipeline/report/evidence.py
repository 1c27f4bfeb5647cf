"""Evidence: the worst and the most normal patch of images, and the reference patches that come nearest to them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import StorageError, StoreUnavailable
from pipeline.geometry import LakeGeometry
from pipeline.io.storage import Location
from pipeline.report.missed import missed
from pipeline.report.stored_map import counted_pixels, map_at
from pipeline.schema.tables import PATCHES, with_count
from pipeline.stage import Runner, Stage
from pipeline.views import View

BLOCK = 256  # images of one task, for which each reference is read once

MADE = with_count(PATCHES)


def explain(
    rows: pa.Table,
    scored_now: NDArray[np.bool_],
    find_patches: Stage,
    runner: Runner,
    find_evidence: Stage | None = None,
) -> pa.Table:
    """Return a row of PATCHES for each image of a table with image, category, uri, map_uri, width and height.

    What cannot be read costs its own image its evidence, and the log says so.

    Args:
        rows: images of a run.
        scored_now: (N,) whether they are scored in this run.
        find_patches: finds the patches alone: `FindPatches`.
        runner: gives blocks to workers.
        find_evidence: finds the evidence too, for images of one category that are scored in this run: a `FindEvidence`.
    """
    if find_evidence is None:
        scored_now = np.zeros_like(scored_now)
    mine, others = rows.filter(pa.array(scored_now)), rows.filter(pa.array(~scored_now))
    parts = [mine.filter(pc.equal(mine["category"], category)) for category in pc.unique(mine["category"])]
    blocks = [part.slice(at, BLOCK) for part in parts for at in range(0, part.num_rows, BLOCK)]
    found = [PATCHES.empty()]
    with runner.progress("evidence", "images", rows.num_rows) as progress:
        if find_evidence is not None and blocks:
            found.append(runner(find_evidence, blocks, progress))
        if others.num_rows:
            parts = [others.slice(at, BLOCK) for at in range(0, others.num_rows, BLOCK)]
            found.append(runner(find_patches, parts, progress))
    table = pa.concat_tables([PATCHES.cast(part) for part in found]).sort_by("image")
    mapped = pc.is_valid(table["worst"])
    missed("picture", table.filter(pc.invert(mapped)))
    missed("evidence", table.filter(mapped))
    return table


@dataclass
class FindPatches:
    """A worker's part: the worst and the most normal patch of images, by their maps below `output`."""

    output: Location
    map_scale: float
    geometry: LakeGeometry

    def setup(self, device: str, threads: int) -> None:
        """Nothing."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of PATCHES, and `count`, for images of a run with image, category, uri, map_uri and size."""
        rows = []
        for of in block.select(["image", "category", "uri", "map_uri", "width", "height", "region_uri"]).to_pylist():
            row = {"image": of["image"], "uri": of["uri"], "count": 1}
            try:
                distances = map_at(self.output / of["map_uri"], self.map_scale)
            except StoreUnavailable:
                raise
            except StorageError as error:  # of an earlier run that somebody deletes
                row["detail"] = str(error)
            else:
                view = self.geometry.of(of["category"]).on((of["width"], of["height"]))
                counted = counted_pixels(distances, of["region_uri"])
                row["worst"], row["normal"] = extreme_patches(distances, view, counted)
            rows.append(row)
        return MADE.rows(rows)


def extreme_patches(
    distances: NDArray[np.floating], view: View, counted: NDArray[np.bool_] | None = None
) -> tuple[int, int]:
    """Return the patches at the largest value of a view's anomaly map (height, width), and at its smallest one.

    The first is the patch that gives the image its score: values between patches are never larger than both of them.
    Of its pixels only those `counted` (height, width) are looked at; None: all.
    """
    lowest = distances if counted is None else np.where(counted, distances, np.inf)
    pixels = np.array([distances.argmax(), lowest.argmin()])
    worst, normal = view.at(distances.shape).patches_at(pixels).tolist()
    return worst, normal
