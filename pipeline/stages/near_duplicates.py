"""Near duplicates: who of a category is not compared with whom, being nearly the same photograph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.plan.units import Members
from pipeline.schema.tables import COMPARED, NEAR_DUPLICATES, with_count
from pipeline.scoring.near_duplicates import find_near_duplicates
from pipeline.scoring.nearest_images import nearest_references
from pipeline.scoring.scorer import own_places
from pipeline.stage import Runner
from pipeline.stages.ranges import range_in, ranges
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_array, read_table, write_array, write_table
from pipeline.tables.references import feature_refs

ROWS = 4096  # images of one task, which holds their embeddings and those of the references

MADE = with_count(COMPARED)

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]


def exclude_pairs(members: Mapping[str, Members], stage: "FindNearDuplicates", runner: Runner) -> pa.Table:
    """Write the pairs of each category that are not compared; return rows of COMPARED for its images."""
    totals = {category: of.total for category, of in members.items()}
    with runner.progress("compare", "images", sum(totals.values())) as progress:
        if not totals:
            return COMPARED.empty()
        blocks = [block for category, total in totals.items() for block in ranges(category, total, ROWS)]
        return COMPARED.cast(runner(stage, blocks, progress))


def read_pairs(run: RunFolder, category: str, total: int) -> Places:
    """Return the pairs (K, 2), position and reference, of a category of so many images, that are not compared."""
    tables = [read_table(run.near_duplicates(category, start)) for start in range(0, total, ROWS)]
    pairs = pa.concat_tables([NEAR_DUPLICATES.empty(), *tables])
    return np.stack([pairs["position"].to_numpy(), pairs["reference"].to_numpy()], axis=1)


def read_nearest(run: RunFolder, category: str, total: int) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
    """Return the nearest references of a category's images (N, K) and references (R, K); None: all are compared."""
    of_references = run.nearest_of_references(category)
    if not of_references.exists():
        return None
    parts = [read_array(run.nearest(category, start)) for start in range(0, total, ROWS)]
    return np.concatenate(parts), read_array(of_references)


@dataclass
class FindNearDuplicates:
    """A worker's part: finds the pairs of images [start, stop) of a category whose embeddings have a `cosine` or more.

    And the `nearest` references of each image and of each reference; 0: all are compared.
    """

    store: FeatureStore
    run: RunFolder
    cosine: float
    nearest: int = 0
    _known: Callable[[str], "_Known"] = field(init=False)

    def setup(self, device: str, threads: int) -> None:
        self._known = lru_cache(maxsize=1)(self._read)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write the pairs, and count what each image is compared with."""
        of = range_in(block)
        known = self._known(of.category)
        index = known.index.slice(of.start, of.stop - of.start)
        images, positions = self.store.embeddings(feature_refs(index)), known.positions - of.start
        pairs = find_near_duplicates(images, known.embeddings, positions, self.cosine)
        found = NEAR_DUPLICATES.of({"position": pairs[:, 0] + of.start, "reference": pairs[:, 1]})
        write_table(self.run.near_duplicates(of.category, of.start), found)
        own = known.own[of.start : of.stop]
        if self.nearest:
            nearest = nearest_references(images, known.embeddings, own, pairs, self.nearest)
            write_array(self.run.nearest(of.category, of.start), nearest)
            if of.start == 0:
                self._write_nearest_of_references(of.category, known)
            count = (nearest >= 0).sum(axis=1)
        else:
            count = len(known.positions) - (own >= 0) - np.bincount(pairs[:, 0], minlength=len(own))
        nothing = pa.nulls(len(own), pa.string())
        return MADE.of({"image": index["image"], "references": count, "reason": nothing, "count": [1] * len(own)})

    def _write_nearest_of_references(self, category: str, known: "_Known") -> None:
        """Write the nearest references of those that are references themselves."""
        vectors, places = known.embeddings, np.arange(len(known.embeddings))
        pairs = find_near_duplicates(vectors, vectors, places, self.cosine)
        pairs = pairs[known.positions[pairs[:, 0]] >= 0]  # those of earlier nights were looked at then
        found = nearest_references(vectors, vectors, places, pairs, self.nearest)
        write_array(self.run.nearest_of_references(category), found)

    def _read(self, category: str) -> "_Known":
        index, references = read_table(self.run.index(category)), read_table(self.run.references(category))
        positions = references["position"].to_numpy()
        embeddings = self.store.embeddings(feature_refs(references))
        return _Known(index, positions, own_places(positions, index.num_rows), embeddings)


@dataclass(frozen=True)
class _Known:
    """What a worker keeps of a category: its index, and of its references `positions` (R,) and embeddings (R, E).

    `own` has the place of each image among the references (N,), -1 where it is none of them.
    """

    index: pa.Table
    positions: Places
    own: Places
    embeddings: Vectors
