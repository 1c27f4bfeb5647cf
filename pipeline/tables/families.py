"""Families in tables: of regions, of images by area, and all that are known for the next night."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema.table import records, set_columns
from pipeline.schema.tables import FAMILIES


@dataclass(frozen=True)
class Family:
    """A row of FAMILIES."""

    category: str
    family: str
    regions: int
    centroid: list[float]


@dataclass(frozen=True)
class _Named(Family):
    """A row of MEMBERS that says what a family is."""

    replaced: list[str] | None


def with_families(decided: pa.Table, found: pa.Table, members: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return rows of DECIDED and of FOUND with their families: of an image that of the largest area.

    Args:
        decided: of this run.
        found: rows of FOUND.
        members: rows of MEMBERS.
    """
    keys = zip(members["image"].to_pylist(), members["region"].to_pylist(), strict=True)
    of_region = dict(zip(keys, members["family"].to_pylist(), strict=True))
    regions = zip(found["image"].to_pylist(), found["region"].to_pylist(), strict=True)
    families = [of_region.get(key) for key in regions]
    areas: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for image, area, family in zip(found["image"].to_pylist(), found["area"].to_pylist(), families, strict=True):
        if family is not None:
            areas[image][family] += area
    largest = {image: max(of, key=lambda name: (of[name], name)) for image, of in areas.items()}
    of_images = [largest.get(image) for image in decided["image"].to_pylist()]
    return (
        set_columns(decided, {"family": pa.array(of_images, pa.string())}),
        set_columns(found, {"family": pa.array(families, pa.string())}),
    )


def renamed(rows: pa.Table, members: pa.Table) -> pa.Table:
    """Return rows of nights before, with `category` and `family`, by the names that people gave families since."""
    new = {
        (of.category, old): of.family
        for of in records(members.filter(pc.is_valid(members["centroid"])), _Named)
        for old in of.replaced or ()
    }
    keys = zip(rows["category"].to_pylist(), rows["family"].to_pylist(), strict=True)
    return set_columns(rows, {"family": pa.array([new.get(key, key[1]) for key in keys], pa.string())})


def known_families(members: pa.Table, earlier: pa.Table) -> pa.Table:
    """Return FAMILIES after this night: those of its regions, and those of nights before that it did not see.

    A centroid is the middle of all regions so far. A family that people gave a name is none under the old one any more.

    Args:
        members: rows of MEMBERS of this run.
        earlier: FAMILIES that the newest run before it knew.
    """
    known = {(of.category, of.family): of for of in records(earlier, Family)}
    for of in records(members.filter(pc.is_valid(members["centroid"])), _Named):
        centroid, count = np.array(of.centroid) * of.regions, of.regions
        for name in {of.family, *(of.replaced or ())}:
            before = known.pop((of.category, name), None)
            if before is not None:
                centroid, count = centroid + np.array(before.centroid) * before.regions, count + before.regions
        length = max(float(np.linalg.norm(centroid)), np.finfo(np.float32).tiny)
        known[of.category, of.family] = Family(of.category, of.family, count, (centroid / length).tolist())
    return FAMILIES.rows(known[key] for key in sorted(known))
