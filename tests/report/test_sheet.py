"""The picture of a run's worst images shows what was scored."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.errors import StorageError
from pipeline.io.storage import Location
from pipeline.report.sheet import draw_sheet
from pipeline.schema.tables import SCORES
from pipeline.values import LakeValues
from tests.corpus import encoded


@pytest.fixture
def place(tmp_path: Path) -> Location:
    """A folder with an image and its map."""
    place = Location.parse(str(tmp_path))
    (place / "a.png").write_bytes(encoded(Image.new("RGB", (32, 32), "red"), "PNG"))
    (place / "map.png").write_bytes(encoded(Image.fromarray(np.zeros((8, 8), np.uint16)), "PNG"))
    return place


def scores(place: Location) -> pa.Table:
    image = place / "a.png"
    row = {"uri": image.uri, "etag": image.entry().etag, "category": "a", "status": "scored", "map_uri": "map.png"}
    return SCORES.rows([row | {"score": 0.5, "score_raw": 0.5}])


def test_an_image_that_was_replaced_since_the_run_is_not_opened(place: Location) -> None:
    rows = scores(place)
    assert len(draw_sheet(place, rows, 1.0, LakeValues(), worst=1).axes) == 2
    (place / "a.png").write_bytes(b"a bomb")
    with pytest.raises(StorageError, match="a.png: it changed"):
        draw_sheet(place, rows, 1.0, LakeValues(), worst=1)
