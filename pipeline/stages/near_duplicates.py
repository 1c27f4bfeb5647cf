"""Near duplicates: who of a category is not compared with whom, being nearly the same photograph."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.schema.tables import COMPARED, NEAR_DUPLICATES, with_count
from pipeline.scoring.near_duplicates import find_near_duplicates
from pipeline.scoring.nearest_images import nearest_references
from pipeline.scoring.scorer import own_places, pairs_of_references
from pipeline.stage import Runner
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_table, write_array, write_table
from pipeline.tables.references import feature_refs

MADE = with_count(COMPARED)

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]


def exclude_pairs(categories: Iterable[str], stage: "FindNearDuplicates", runner: Runner) -> pa.Table:
    """Write the pairs of each category that are not compared; return rows of COMPARED for its images."""
    blocks = [pa.table({"category": [category]}) for category in categories]
    with runner.progress("compare", "categories", len(blocks)) as progress:
        if not blocks:
            return COMPARED.empty()
        return COMPARED.cast(runner(stage, blocks, progress))


@dataclass
class FindNearDuplicates:
    """A worker's part: finds the pairs of one category whose embeddings have a cosine of `cosine` or more.

    And the `nearest` references of each image and of each reference; 0: all are compared.
    """

    store: FeatureStore
    run: RunFolder
    cosine: float
    nearest: int = 0

    def setup(self, device: str, threads: int) -> None:
        """Nothing."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write the pairs, and count what each image is compared with."""
        [category] = block["category"].to_pylist()
        index, references = read_table(self.run.index(category)), read_table(self.run.references(category))
        positions = references["position"].to_numpy()
        images, others = (self.store.embeddings(feature_refs(table)) for table in (index, references))
        pairs = find_near_duplicates(images, others, positions, self.cosine)
        found = NEAR_DUPLICATES.of({"position": pairs[:, 0], "reference": pairs[:, 1]})
        write_table(self.run.near_duplicates(category), found)
        if self.nearest:
            count = self._write_nearest(category, images, others, positions, pairs)
        else:
            count = np.full(index.num_rows, references.num_rows)
            count[positions[positions >= 0]] -= 1
            count -= np.bincount(pairs[:, 0], minlength=index.num_rows)
        nothing = pa.nulls(index.num_rows, pa.string())
        done = [1] + [0] * (len(count) - 1)
        return MADE.of({"image": index["image"], "references": count, "reason": nothing, "count": done})

    def _write_nearest(
        self, category: str, images: Vectors, others: Vectors, positions: Places, pairs: Places
    ) -> Places:
        """Write the nearest references of images (N, E) and of references (R, E); return how many images have (N,)."""
        own = own_places(positions, len(images))
        found = nearest_references(images, others, own, pairs, self.nearest)
        write_array(self.run.nearest(category, "images"), found)
        among = pairs_of_references(own, pairs)
        of_references = nearest_references(others, others, np.arange(len(others)), among, self.nearest)
        write_array(self.run.nearest(category, "references"), of_references)
        counts: Places = (found >= 0).sum(axis=1)
        return counts
