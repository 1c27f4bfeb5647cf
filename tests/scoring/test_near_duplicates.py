"""Near duplicates: who is not compared with whom, whatever the order, and never so that nobody is left."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.scoring import near_duplicates
from pipeline.scoring.near_duplicates import find_near_duplicates

Vectors = NDArray[np.float32]
COSINE = 0.999
# Which group of near duplicates each image belongs to; with few of them, one is more than half of the category
GROUPS = st.integers(1, 12).flatmap(lambda most: st.lists(st.integers(0, most), min_size=1, max_size=24))


def pictures(groups: list[int], seed: int = 0) -> Vectors:
    """Return embeddings (N, 16): of one group the cosine is above 0.9999, of two groups below 0.1."""
    noise = np.random.default_rng(seed).uniform(-1e-3, 1e-3, (len(groups), 16))
    vectors = np.eye(16)[groups] + noise
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def pairs(images: Vectors, references: Vectors, positions: NDArray[np.integer]) -> set[tuple[int, int]]:
    found = find_near_duplicates(images, references, positions, COSINE)
    assert found.shape == (len(found), 2)
    as_set = {(int(image), int(reference)) for image, reference in found}
    assert len(as_set) == len(found)
    return as_set


@given(GROUPS, st.data())
def test_images_of_one_burst_are_apart_unless_most_references_are_of_it(groups: list[int], data: st.DataObject) -> None:
    chosen = sorted(data.draw(st.sets(st.integers(0, len(groups) - 1))))
    earlier = data.draw(st.lists(st.integers(0, 12), min_size=not chosen, max_size=8))
    of_references = [groups[image] for image in chosen] + earlier
    positions = np.array(chosen + [-1] * len(earlier))
    expected = set()
    for image, group in enumerate(groups):
        others = [place for place, position in enumerate(positions) if position != image]
        alike = [place for place in others if of_references[place] == group]
        if len(alike) <= len(others) / 2:
            expected |= {(image, place) for place in alike}
    references = np.concatenate([pictures(groups)[chosen], pictures(earlier, seed=1)])
    assert pairs(pictures(groups), references, positions) == expected


@given(GROUPS, st.data())
def test_no_image_is_its_own_pair_or_loses_more_than_half_of_the_others(groups: list[int], data: st.DataObject) -> None:
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(groups) - 1), min_size=1))))
    found = pairs(pictures(groups), pictures(groups)[chosen], chosen)
    assert all(chosen[reference] != image for image, reference in found)
    lost = np.bincount([image for image, _ in found], minlength=len(groups))
    assert (lost <= (len(chosen) - np.isin(np.arange(len(groups)), chosen)) / 2).all()


@given(GROUPS, st.data())
def test_permuting_the_images_permutes_the_pairs(groups: list[int], data: st.DataObject) -> None:
    vectors, everybody = pictures(groups), np.arange(len(groups))
    order = np.array(data.draw(st.permutations(range(len(groups)))))
    moved = pairs(vectors[order], vectors[order], everybody)
    assert {(int(order[a]), int(order[b])) for a, b in moved} == pairs(vectors, vectors, everybody)


@given(GROUPS)
def test_all_with_all_the_pairs_are_mutual(groups: list[int]) -> None:
    found = pairs(pictures(groups), pictures(groups), np.arange(len(groups)))
    assert found == {(reference, image) for image, reference in found}


def test_any_block_of_images_gives_the_pairs_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [0, 1, 2, 0, 3, 4, 4, 5, 6, 7, 0]
    vectors, positions = pictures(groups), np.array([-1, 3, 1, 10, 5, 6, 2, 9, 8])
    references = vectors[[0, *positions[1:]]]
    whole = find_near_duplicates(vectors, references, positions, COSINE)
    assert len(whole)
    for rows in (1, 3, 11):
        monkeypatch.setattr(near_duplicates, "ROWS", rows)
        assert np.array_equal(find_near_duplicates(vectors, references, positions, COSINE), whole)


def test_two_images_of_one_picture_keep_each_other() -> None:
    # Apart, neither would have anything to be compared with, and both would score infinity.
    assert pairs(pictures([0, 0]), pictures([0, 0]), np.arange(2)) == set()
    assert pairs(pictures([0]), pictures([0], seed=1), np.array([-1])) == set()


def test_a_cosine_of_1_takes_identical_images_only() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 768)).astype(np.float32)
    vectors[1] = vectors[0] + 0.01 * vectors[2]  # a cosine of 0.99995
    vectors[20:] = vectors[:20]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = find_near_duplicates(vectors, vectors, np.arange(40), 1.0)
    assert found.tolist() == [[image, (image + 20) % 40] for image in range(40)]
