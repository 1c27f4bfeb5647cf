"""The extreme patches of a map."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.evidence import extreme_patches
from pipeline.scoring.maps import anomaly_maps, map_arrays
from pipeline.views import View


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 999))
def test_the_peak_of_a_map_is_the_patch_with_the_highest_score(side: int, step: int, seed: int) -> None:
    scores = torch.rand((3, side * side), generator=torch.Generator().manual_seed(seed))
    view = View(((side - 1) * step + 1, (side - 1) * step + 1), (side, side))
    found = [extreme_patches(one, view) for one in anomaly_maps(scores, view).numpy()]
    assert found == [(int(of.argmax()), int(of.argmin())) for of in scores]


def test_the_extreme_patches_of_the_sizes_in_use() -> None:
    scores = torch.rand((40, 37 * 37), generator=torch.Generator().manual_seed(0))
    scores[:, 100], scores[:, 1368] = 2, -1
    view = View((518, 518), (37, 37))
    assert {extreme_patches(one, view) for one in anomaly_maps(scores, view).numpy()} == {(100, 1368)}


def test_the_most_normal_patch_is_one_that_counts() -> None:
    scores = torch.rand((20, 12), generator=torch.Generator().manual_seed(0)).numpy() + np.float32(0.1)
    counts = np.zeros((3, 4), bool)
    counts[1:, 1:] = True
    view = View((21, 31), (3, 4))
    maps, pixels = map_arrays(scores, view, counts.ravel()), view.pixels_on(counts.ravel())
    inside = np.flatnonzero(counts)
    expected = [(int(inside[of[inside].argmax()]), int(inside[of[inside].argmin()])) for of in scores]
    assert [extreme_patches(one, view, pixels) for one in maps] == expected
