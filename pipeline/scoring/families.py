"""Families: defects that differ alike from what is usual, and their names from night to night."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]  # (N, D), of length 1
Numbers = NDArray[np.int64]

FEWEST = 4  # regions that more than one family is looked for in
MOST = 2000  # regions that are clustered; others go to the nearest family
LARGEST = 20  # families that are found at most
TIGHT = 0.8  # mean cosine with their middle from which regions are one family
SAME = 0.5  # cosine of centroids from which a family is one that is known


def cluster(vectors: Vectors, count: int | None = None) -> Numbers:
    """Return the family (N,) of each region, numbered from 0, the largest first.

    By Ward's criterion. The number of families, where it is not given, is that which stays for the longest range of
    the tree's heights, times the number: ranges become shorter the more families there are. Fewer than FEWEST regions,
    or those that are all alike, are one family then.

    Args:
        vectors: of regions, what `difference_vectors` returns.
        count: families, as far as there are regions for them.
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # what imports this needs it seldom

    total = len(vectors)
    middle = centroids(vectors, np.zeros(total, np.int64))
    alike = total < FEWEST or (vectors @ middle.T).mean() >= TIGHT
    if total == 1 or (count is None and alike):
        return np.zeros(total, np.int64)
    chosen = np.unique(np.linspace(0, total - 1, MOST).round().astype(np.int64))
    tree = linkage(vectors[chosen].astype(np.float64), "ward")
    found = fcluster(tree, count or _stable_number(tree[::-1, 2]), "maxclust") - 1
    labels = np.full(total, -1)
    labels[chosen] = found
    centres = centroids(vectors[labels >= 0], labels[labels >= 0])
    labels = np.where(labels < 0, (vectors @ centres.T).argmax(axis=1), labels)
    _, first, numbers, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    renumbered: Numbers = np.argsort(order)[numbers]
    return renumbered


def _stable_number(heights: NDArray[np.float64]) -> int:
    """Return the number of families by the heights of a tree, the highest first: the first is where two become one."""
    highest = heights[: max(2, min(LARGEST, (len(heights) + 1) // 2))]
    numbers = np.arange(2, len(highest) + 1)
    return int(numbers[((highest[:-1] - highest[1:]) * numbers).argmax()])


def centroids(vectors: Vectors, families: Numbers) -> Vectors:
    """Return the middle (F, D) of each family of vectors (N, D), of length 1."""
    sums = np.zeros((int(families.max(initial=-1)) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, families, vectors)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    found: Vectors = sums / np.maximum(lengths, np.finfo(np.float32).tiny)
    return found


@dataclass(frozen=True)
class Names:
    """The name of each family, and known names that people gave another one for."""

    names: list[str]
    replaced: dict[str, str]


def name_families(centres: Vectors, known: Mapping[str, Vectors], said: Mapping[int, Sequence[str]]) -> Names:
    """Name families.

    A family has the name that people gave to most of its images that they gave any. Others take the name of the known
    family whose centroid is nearest, pairs of the highest cosine first, from SAME on, or else the next of family-1,
    family-2, ... behind those that there were.

    Args:
        centres: (F, D).
        known: centroids (D,) of the families of nights before, by name.
        said: names that people gave to images, of some families.
    """
    names = {family: min(given, key=lambda name: (-given.count(name), name)) for family, given in said.items()}
    taken, replaced = set(names.values()), dict[str, str]()
    settled = set[int]()
    for _, family, name in _near(centres, known):
        if family not in settled and (name not in taken | replaced.keys() or names.get(family) == name):
            settled.add(family)
            if names.setdefault(family, name) != name:
                replaced[name] = names[family]
            taken.add(names[family])
    numbers = [int(found[1]) for name in taken | known.keys() if (found := re.fullmatch(r"family-(\d{1,9})", name))]
    free = (f"family-{number}" for number in itertools.count(max([len(known), *numbers]) + 1))
    return Names([names[family] if family in names else next(free) for family in range(len(centres))], replaced)


def _near(centres: Vectors, known: Mapping[str, Vectors]) -> list[tuple[float, int, str]]:
    """Return minus the cosine, family and name of each pair that may be one family, the nearest first."""
    if not known or not len(centres):
        return []
    cosines = centres @ np.stack(list(known.values())).T
    found = [
        (-float(cosines[family, place]), int(family), list(known)[place])
        for family, place in np.argwhere(cosines >= SAME)
    ]
    return sorted(found)
