"""Re-scoring against the official code's arrays and a plain dense version written from the paper."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.scoring.musc.rscin import rscin

Array = NDArray[Any]
Golden = Callable[[str], Mapping[str, Array]]


def random_images(seed: int, images: int) -> tuple[Array, Array]:
    """Return raw scores and embeddings; all alike to a degree, as a real encoder's, so that no row sums to 0."""
    generator = np.random.default_rng(seed)
    embeddings = np.abs(generator.normal(size=(images, 32)))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return generator.uniform(size=images).astype(np.float32), embeddings.astype(np.float32)


def rescored(raw: Array, embeddings: Array, windows: Sequence[int]) -> Array:
    scores: Array = rscin(torch.from_numpy(raw), torch.from_numpy(embeddings), windows).numpy()
    return scores


def plain_rscin(raw: Array, embeddings: Array, windows: Sequence[int]) -> Array:
    """MuSc, section 3.4: dense and in fp64."""
    spread = raw.max() - raw.min()
    scaled = (raw.astype(np.float64) - raw.min()) / spread if spread else np.zeros(len(raw))
    similarity = embeddings.astype(np.float64) @ embeddings.astype(np.float64).T
    results = []
    for window in windows:
        kept = np.zeros_like(similarity)
        for i, row in enumerate(similarity):
            best = np.argsort(-row)[:window]
            kept[i, best] = row[best]
        results.append(kept / kept.sum(axis=1, keepdims=True) @ scaled)
    mean: Array = np.mean(results, axis=0)
    return mean


@pytest.mark.parametrize("name", ["bottle", "cable"])
@pytest.mark.parametrize("windows", [(1, 2, 3), (1, 8, 9)])
def test_scores_equal_the_official_code(golden: Golden, name: str, windows: tuple[int, ...]) -> None:
    arrays = golden("rscin.npz")
    scores = rescored(arrays[f"{name}_raw"], arrays[f"{name}_embeddings"], windows)
    np.testing.assert_allclose(scores, arrays[f"{name}_k{'_'.join(map(str, windows))}"], rtol=0, atol=1e-5)


@given(st.integers(1, 12), st.lists(st.integers(1, 15), min_size=1, max_size=3), st.integers(0, 999))
def test_scores_equal_a_plain_version_also_for_windows_wider_than_the_category(
    images: int, windows: list[int], seed: int
) -> None:
    raw, embeddings = random_images(seed, images)
    expected = plain_rscin(raw, embeddings, windows)
    np.testing.assert_allclose(rescored(raw, embeddings, windows), expected, rtol=0, atol=1e-5)


@given(st.data())
def test_permuting_the_images_permutes_the_scores(data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(data.draw(st.integers(2, 12)))))
    raw, embeddings = random_images(data.draw(st.integers(0, 999)), len(order))
    expected = rescored(raw, embeddings, [1, 2, 3])[order]
    np.testing.assert_allclose(rescored(raw[order], embeddings[order], [1, 2, 3]), expected, rtol=0, atol=1e-6)


@given(st.integers(2, 12), st.floats(0.01, 100), st.floats(-10, 10), st.integers(0, 999))
def test_the_scale_and_offset_of_the_raw_scores_do_not_matter(
    images: int, scale: float, offset: float, seed: int
) -> None:
    raw, embeddings = random_images(seed, images)
    moved = raw.astype(np.float64) * scale + offset
    expected = rescored(raw, embeddings, [1, 2, 3])
    np.testing.assert_allclose(rescored(moved, embeddings, [1, 2, 3]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("images", [1, 2, 7])
def test_equal_raw_scores_give_zeros_not_nan(images: int) -> None:
    _, embeddings = random_images(0, images)
    assert rescored(np.full(images, 0.7, np.float32), embeddings, [1, 2, 3]).tolist() == [0.0] * images


def test_a_window_of_zero_returns_the_raw_scores() -> None:
    raw, embeddings = random_images(0, 6)
    assert rescored(raw, embeddings, (0,)).tolist() == raw.tolist()


def test_a_window_of_one_is_the_scaled_score_itself() -> None:
    raw, embeddings = random_images(0, 6)
    expected = (raw - raw.min()) / (raw.max() - raw.min())
    np.testing.assert_allclose(rescored(raw, embeddings, [1]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_the_number_of_rows_taken_at_a_time_does_not_matter(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, embeddings = random_images(0, 10)
    expected = plain_rscin(raw, embeddings, [1, 2, 3])
    # The package's attribute of this name is the function, so an import statement would not give the module.
    monkeypatch.setattr(importlib.import_module("pipeline.scoring.musc.rscin"), "ROWS", rows)
    np.testing.assert_allclose(rescored(raw, embeddings, [1, 2, 3]), expected, rtol=0, atol=1e-5)
