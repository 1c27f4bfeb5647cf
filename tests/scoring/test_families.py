"""Families: found whatever the order, one where there are few, and called alike from night to night."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.scoring.families import FEWEST, centroids, cluster, name_families

WIDTH = 24


def alike(*sizes: int, seed: int = 0, spread: float = 0.1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return vectors of families of some sizes around axes, and their families."""
    rng = np.random.default_rng(seed)
    families = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.eye(WIDTH)[families] + spread * rng.normal(size=(len(families), WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), families


@pytest.mark.parametrize("count", [None, 3])
def test_families_are_found_the_largest_first(count: int | None) -> None:
    vectors, families = alike(9, 6, 4)
    assert cluster(vectors, count).tolist() == families.tolist()


@pytest.mark.parametrize("count", [None, 2, 3])
def test_the_order_of_regions_makes_no_difference(count: int | None) -> None:
    vectors, _ = alike(9, 6, 4, spread=0.2)
    order = np.random.default_rng(1).permutation(len(vectors))
    assert np.array_equal(cluster(vectors, count)[order], cluster(vectors[order], count))
    assert np.array_equal(cluster(vectors, count), cluster(vectors, count))


def test_few_regions_and_regions_all_alike_are_one_family() -> None:
    vectors, _ = alike(1, 1, 1)
    assert len(vectors) < FEWEST and cluster(vectors).tolist() == [0, 0, 0]
    assert set(cluster(np.repeat(vectors[:1], 10, axis=0))) == {0}
    assert cluster(vectors[:0]).tolist() == [] and cluster(vectors, 1).tolist() == [0, 0, 0]


def test_there_are_no_more_families_than_regions() -> None:
    vectors, _ = alike(3, 2)
    assert sorted(cluster(vectors, 50)) == [0, 1, 2, 3, 4]


def test_of_many_regions_some_are_clustered_and_the_others_join_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.scoring.families.MOST", 30)
    vectors, families = alike(60, 40, 20)
    for count in (None, 3):
        assert cluster(vectors, count).tolist() == families.tolist()


def middles(*sizes: int, seed: int = 0) -> NDArray[np.float32]:
    return centroids(*alike(*sizes, seed=seed))


def test_a_middle_has_length_1() -> None:
    assert np.linalg.norm(middles(3, 4), axis=1) == pytest.approx([1, 1])
    assert centroids(np.zeros((2, WIDTH), np.float32), np.array([0, 0])).tolist() == [[0] * WIDTH]


def test_a_family_has_the_name_of_the_night_before_whatever_its_number() -> None:
    first = middles(5, 4, 3)
    named = name_families(first, {}, {})
    assert named.names == ["family-1", "family-2", "family-3"] and named.replaced == {}
    known = dict(zip(named.names, first, strict=True))
    second = middles(5, 4, 3, 2, seed=1)[[3, 2, 0]]  # one is new, one did not come
    assert name_families(second, known, {}).names == ["family-4", "family-3", "family-1"]


def test_two_families_of_one_night_are_not_called_alike_by_themselves() -> None:
    known = {"dent": middles(5)[0]}
    near = np.stack([known["dent"], middles(5, seed=1)[0]])
    assert name_families(near, known, {}).names == ["dent", "family-2"]


def test_people_rename_a_family_once() -> None:
    first = middles(5, 4)
    known = dict(zip(["family-1", "family-2"], first, strict=True))
    named = name_families(first[::-1], known, {1: ["crack", "dent", "crack"]})
    assert (named.names, named.replaced) == (["family-2", "crack"], {"family-1": "crack"})
    later = {"crack": known["family-1"], "family-2": known["family-2"]}
    assert name_families(first, later, {}).names == ["crack", "family-2"]
    said_again = name_families(first[:1], later, {0: ["crack"]})
    assert (said_again.names, said_again.replaced) == (["crack"], {})


def test_people_may_call_two_families_the_same() -> None:
    assert name_families(middles(5, 4), {}, {0: ["crack"], 1: ["crack"]}).names == ["crack", "crack"]
