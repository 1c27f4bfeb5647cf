"""Which references an image is compared with: by loops over all likenesses, whoever may not be one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.scoring import nearest_images
from pipeline.scoring.nearest_images import nearest_references

NO_PAIRS = np.empty((0, 2), np.int64)


def embeddings(seed: int, count: int) -> NDArray[np.float32]:
    found = np.random.default_rng(seed).normal(size=(count, 6))
    unit: NDArray[np.float32] = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def plain(
    images: NDArray[np.float32],
    references: NDArray[np.float32],
    own: NDArray[np.int64],
    pairs: NDArray[np.int64],
    count: int,
) -> list[list[int]]:
    found = []
    for number, image in enumerate(images):
        apart = {own[number], *(int(b) for a, b in pairs if a == number)}
        order = sorted(range(len(references)), key=lambda place: -float(image @ references[place]))
        chosen = sorted([place for place in order if place not in apart][:count])
        found.append(chosen + [-1] * (min(count, len(references)) - len(chosen)))
    return found


@given(st.integers(0, 999), st.integers(1, 9), st.integers(2, 9), st.integers(1, 12), st.integers(0, 12))
def test_the_nearest_are_those_of_plain_loops(seed: int, images: int, references: int, count: int, pairs: int) -> None:
    generator = np.random.default_rng(seed)
    excluded = np.stack([generator.integers(0, images, pairs), generator.integers(0, references, pairs)], axis=1)
    own = np.full(images, -1)
    own[: min(images, references)] = generator.permutation(references)[: min(images, references)]
    given_images, given_references = embeddings(seed, images), embeddings(seed + 1, references)
    found = nearest_references(given_images, given_references, own, excluded, count)
    assert found.dtype == np.int32
    assert found.tolist() == plain(given_images, given_references, own, excluded, count)


def test_blocks_of_images_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images, references = embeddings(0, 23), embeddings(1, 11)
    pairs = np.array([[22, 3], [7, 1], [8, 1], [0, 10]])  # in no order
    own = np.array([*range(11), *[-1] * 12])
    whole = nearest_references(images, references, own, pairs, 4)
    monkeypatch.setattr(nearest_images, "ROWS", 8)
    assert np.array_equal(nearest_references(images, references, own, pairs, 4), whole)
    assert whole.tolist() == plain(images, references, own, pairs, 4)


def test_who_has_no_reference_left_has_none() -> None:
    images = embeddings(0, 2)
    pairs = np.array([[0, 1], [1, 0]])
    assert nearest_references(images, images, np.arange(2), pairs, 3).tolist() == [[-1, -1], [-1, -1]]
    assert nearest_references(images, images, np.arange(2), NO_PAIRS, 3).tolist() == [[1, -1], [0, -1]]
