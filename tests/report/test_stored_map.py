"""Maps are read back as the distances that they were written from."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import StorageError
from pipeline.io.storage import Location
from pipeline.metrics.stream import MAP_SCALE, to_levels
from pipeline.report.stored_map import draw_map, map_at
from pipeline.stages.patch_scores import Alike
from pipeline.views import View


def test_a_map_is_read_back_and_what_is_none_is_said(tmp_path: Path) -> None:
    place, sink = Location.parse(str(tmp_path)) / "a.png", io.BytesIO()
    Image.fromarray(np.array([[0, 65535], [1, 2]], np.uint16)).save(sink, "png")
    place.write_bytes(sink.getvalue())
    found = map_at(place, 0.5)
    assert found.dtype == np.float32 and found.tolist() == [[0, 32767.5], [0.5, 1]]
    coloured = io.BytesIO()
    Image.new("RGB", (2, 2)).save(coloured, "png")
    for content in (b"", b"no PNG", sink.getvalue()[:40], coloured.getvalue()):
        place.write_bytes(content)
        with pytest.raises(StorageError, match="a.png is damaged"):
            map_at(place, 0.5)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 30), st.integers(1, 30), st.integers(0, 999))
def test_a_map_is_drawn_as_the_run_itself_draws_it(rows: int, columns: int, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 2, (1, rows * columns)).astype(np.float32)
    counts = rng.uniform(size=rows * columns) < 0.7 if seed % 2 else None
    if counts is not None:
        counts[seed % len(counts)] = True
        scores[:, ~counts] = 0
    alike = Alike(np.array([0]), View((height, width), (rows, columns)), counts, np.stack([scores, scores]))
    [(_, [expected])] = alike.parts(1e9)
    found = draw_map(alike.stored(0, "a"))
    assert found.dtype == np.float32 and np.array_equal(found == 0, to_levels(expected) == 0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.51 * MAP_SCALE)
