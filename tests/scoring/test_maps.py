"""Anomaly maps against the official code's arrays and one-dimensional interpolation."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.scoring.maps import anomaly_maps
from pipeline.views import View

Array = NDArray[Any]
Golden = Callable[[str], Mapping[str, Array]]


def plain_map(patches: Array, size: int) -> Array:
    """Interpolate along rows, then along columns; the first and last patch lie on the map's edges."""

    def along(values: Array) -> Array:
        return np.interp(np.linspace(0, len(values) - 1, size), np.arange(len(values)), values)

    rows = np.array([along(row) for row in patches])
    return np.array([along(column) for column in rows.T]).T


def test_maps_and_image_scores_equal_the_official_code(golden: Golden) -> None:
    arrays = golden("musc_small.npz")
    maps = anomaly_maps(torch.from_numpy(arrays["patch_scores"]).float(), View((56, 56), (10, 10)))
    np.testing.assert_allclose(maps, arrays["maps_56"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(maps.amax(dim=(1, 2)), arrays["raw"], rtol=0, atol=1e-5)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(2, 20), st.integers(0, 999))
def test_maps_equal_a_plain_version_with_aligned_corners(height: int, width: int, size: int, seed: int) -> None:
    patches = np.random.default_rng(seed).uniform(size=(2, height, width)).astype(np.float32)
    maps = anomaly_maps(torch.from_numpy(patches).flatten(1), View((size, size), (height, width)))
    np.testing.assert_allclose(maps, [plain_map(image, size) for image in patches], rtol=0, atol=1e-5)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 20), st.integers(1, 20), st.integers(0, 999))
def test_a_pixel_counts_where_the_patch_does_that_it_lies_on(
    rows: int, columns: int, height: int, width: int, seed: int
) -> None:
    counts = np.random.default_rng(seed).uniform(size=rows * columns) < 0.5
    view = View((height, width), (rows, columns))
    expected = [counts[view.patches_at(np.array([pixel]))[0]] for pixel in range(view.pixels)]
    np.testing.assert_array_equal(view.pixels_on(counts).ravel(), expected)
