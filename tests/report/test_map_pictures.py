"""Maps as pictures: each is the map that a run has, in either form, and a list names them."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.io.storage import Location
from pipeline.metrics.stream import MAP_SCALE
from pipeline.report.map_pictures import export_maps
from pipeline.report.stored_map import read_map
from pipeline.result import read_result
from pipeline.store.maps import StoredMap, map_address, write_maps
from tests.published import publish, row


def test_pictures_hold_the_maps_of_all_images_that_have_one(tmp_path: Path) -> None:
    output, names = Location.parse(str(tmp_path / "out")), ["/a/ä.png", "/b,c.png", "/gone.png"]
    scores = np.random.default_rng(0).uniform(0, 1.5, (2, 6)).astype(np.float32)
    write_maps(output / "0.parquet", [StoredMap(names[n], 2, 3, 20, 30, None, scores[n]) for n in range(2)])
    rows = [row("nut", names[n], 0.5, map_uri=map_address("0.parquet", n), detail=None) for n in range(2)]
    rows.append(row("nut", names[2], None, map_uri=None, detail="its end is missing"))
    result = read_result(publish(tmp_path / "out", "one", rows, map_scale=MAP_SCALE))
    assert export_maps(result, Location.parse(str(tmp_path / "maps"))) == 2
    with (tmp_path / "maps/maps.csv").open(newline="") as opened:
        listed = {of["uri"]: of["map"] for of in csv.DictReader(opened)}
    assert list(listed) == names[:2]
    for of in rows[:2]:
        levels = np.asarray(Image.open(tmp_path / "maps" / listed[of["uri"]]))
        assert levels.dtype == np.uint16 and levels.shape == (20, 30)
        np.testing.assert_allclose(levels * MAP_SCALE, read_map(result, of), rtol=0, atol=1e-7)
