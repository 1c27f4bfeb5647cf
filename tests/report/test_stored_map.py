"""Maps are read back as the distances that they were written from."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import StorageError
from pipeline.io.storage import Location
from pipeline.report.stored_map import map_at


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
