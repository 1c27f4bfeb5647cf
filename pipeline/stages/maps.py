"""Maps: patch scores become what maps are drawn from, and raw scores of images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.geometry import LakeGeometry
from pipeline.io.names import partition
from pipeline.io.storage import Location
from pipeline.schema.tables import MAPPED, with_count
from pipeline.scoring.scorer import Layer, make_scorer
from pipeline.stages.patch_scores import PatchScoreReader
from pipeline.stages.ranges import range_in
from pipeline.store.maps import StoredMap, map_address, write_maps
from pipeline.store.run_folder import RunFolder, read_table
from pipeline.tables.thresholds import PIXEL_BINS, count_pixels

MAP_BLOCK = 64  # images of one task
MAP_PIXELS = 2e7  # of the maps that are held at a time


MADE = with_count(MAPPED)


@dataclass
class WriteMaps:
    """A worker's part: writes a file of the maps of images [start, stop) of a category."""

    config: ScoreConfig
    layer: Layer
    geometry: LakeGeometry
    run: RunFolder
    _patch_scores: PatchScoreReader = field(init=False)
    _read_table: Callable[[Location], pa.Table] = field(init=False)

    def setup(self, device: str, threads: int) -> None:
        # of a category: read anew for each block, they would take more time than all else of a large lake
        self._read_table = lru_cache(maxsize=2)(read_table)
        self._patch_scores = PatchScoreReader(make_scorer(self.config, self.layer), self.geometry, self.run)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return raw scores and where the maps lie."""
        of = range_in(block)
        start, stop, category = of.start, of.stop, of.category
        index = self._read_table(self.run.index(category)).slice(start, stop - start)
        uris: list[str] = index["uri"].to_pylist()
        file = f"{self.run.maps}/{partition('category', category)}/{start:09d}.parquet"
        stored: dict[int, StoredMap] = {}
        of_threshold = self._of_threshold(category, index)
        bins = np.zeros(PIXEL_BINS, np.int64)
        raw, errors = np.empty((2, len(uris)))
        for alike in self._patch_scores.alike(category, index):
            highest = np.empty(len(alike.places), np.float32)
            counts = None if alike.counts is None else alike.view.pixels_on(alike.counts)
            done = 0
            for places, maps in alike.parts(MAP_PIXELS):
                chosen = maps[of_threshold[places]]
                bins += count_pixels(chosen if counts is None else chosen[:, counts])
                highest[done : done + len(places)] = maps.max(axis=(1, 2))
                done += len(places)
            scores = self._patch_scores.scorer.image_scores(alike.of_counted, highest)
            raw[alike.places], errors[alike.places] = scores
            stored |= {place: alike.stored(number, uris[place]) for number, place in enumerate(alike.places.tolist())}
        write_maps(self.run.output / file, (stored[place] for place in range(len(uris))))
        pixels = [bins, *[None] * (len(uris) - 1)]  # of the block, in its first row
        if self.config.references.source == "pinned":  # chosen by somebody: nothing is known of their error
            errors = np.full(len(uris), np.nan)
        return MADE.of(
            {
                "image": index["image"],
                "category": [category] * len(uris),
                "score_raw": raw,
                "stderr": pa.array(errors, pa.float64(), from_pandas=True),  # null where it is not known
                "map_uri": [map_address(file, row) for row in range(len(uris))],
                "pixels": pa.array(pixels, pa.list_(pa.int64())),
                "count": [1] * len(uris),
            }
        )

    def _of_threshold(self, category: str, index: pa.Table) -> NDArray[np.bool_]:
        """Say which images' maps the threshold on pixels is found from.

        Those of the references, as far as they are scored in this run; of this run's images where none is, or where the
        rule asks for a share of them.
        """
        inputs: NDArray[np.bool_] = index["input"].to_numpy(zero_copy_only=False)
        if self.config.decision.pixel.of(category) == "share":
            return inputs
        positions = self._read_table(self.run.references(category))["position"].to_numpy()
        return np.isin(index["position"].to_numpy(), positions) if (positions >= 0).any() else inputs
