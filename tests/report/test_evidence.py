"""The extreme patches of a map."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.evidence import extreme_patches
from pipeline.scoring.maps import anomaly_maps
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
