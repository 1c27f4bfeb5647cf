"""Families: which regions of a category's images are alike, by how they differ from references."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import FamiliesConfig
from pipeline.schema.table import records
from pipeline.schema.tables import MEMBERS, with_count
from pipeline.scoring.families import centroids, cluster, name_families
from pipeline.stage import Runner, Stage
from pipeline.store.run_folder import RunFolder, read_array
from pipeline.tables.families import Family

MADE = with_count(MEMBERS)


def find_families(found: pa.Table, find: Stage, runner: Runner) -> pa.Table:
    """Return rows of MEMBERS for rows of FOUND whose differences are known, by a `FindFamilies`."""
    known = found.filter(pc.is_valid(found["vectors"]))
    blocks = [known.filter(pc.equal(known["category"], category)) for category in pc.unique(known["category"])]
    if not blocks:
        return MEMBERS.empty()
    with runner.progress("families", "categories", len(blocks)) as progress:
        return MEMBERS.cast(runner(find, blocks, progress))


@dataclass
class FindFamilies:
    """A worker's part: the families of one category's regions.

    `known` follows FAMILIES, `said` has the names that people gave to images, by uri.
    """

    config: FamiliesConfig
    run: RunFolder
    known: pa.Table
    said: Mapping[str, str]

    def setup(self, device: str, threads: int) -> None:
        """Nothing."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of MEMBERS, and `count`, for rows of FOUND of one category."""
        category: str = block["category"][0].as_py()
        files: list[str] = block["vectors"].to_pylist()
        numbered: list[int] = block["vector"].to_pylist()
        arrays: dict[str, NDArray[np.float32]] = {
            name: read_array(self.run.differences(category) / name) for name in dict.fromkeys(files)
        }
        vectors = np.stack([arrays[name][row] for name, row in zip(files, numbered, strict=True)])
        families = cluster(vectors, self.config.count)
        known = {of.family: of for of in records(self.known, Family) if of.category == category}
        middles = {name: np.array(of.centroid, np.float32) for name, of in known.items()}
        named = name_families(centroids(vectors, families), middles, self._votes(block, families))
        names = list(dict.fromkeys(named.names))  # people may have called two the same
        numbers = np.array([names.index(named.names[family]) for family in families])
        centres = centroids(vectors, numbers)
        rows: list[dict[str, object]] = []
        for image, region, number in zip(block["image"].to_pylist(), block["region"].to_pylist(), numbers, strict=True):
            rows.append({"image": image, "region": region, "category": category, "family": names[number], "count": 0})
        rows[0]["count"] = 1
        for number, name in enumerate(names):
            members = np.flatnonzero(numbers == number)
            rows[members[0]] |= {
                "regions": len(members),
                "centroid": centres[number],
                "replaced": [old for old, new in named.replaced.items() if new == name],
            }
        return MADE.rows(rows)

    def _votes(self, block: pa.Table, families: NDArray[np.int64]) -> dict[int, list[str]]:
        """Return the names that people gave to images, by the family that has most of each image's area."""
        areas: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for uri, area, family in zip(
            block["uri"].to_pylist(), block["area"].to_pylist(), families.tolist(), strict=True
        ):
            if uri in self.said:
                areas[uri][family] += area
        votes: dict[int, list[str]] = defaultdict(list)
        for uri, of_families in areas.items():
            votes[max(of_families, key=lambda family: (of_families[family], -family))].append(self.said[uri])
        return votes
