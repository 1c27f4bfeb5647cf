"""How many bits count in a category: which files are looked at, and what they decide."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tifffile
from PIL import Image

from pipeline.catalog import build_catalog
from pipeline.config import InputConfig
from pipeline.errors import StoreUnavailable
from pipeline.io.storage import Location
from pipeline.schema.tables import CATALOG
from pipeline.stage import Here
from pipeline.stages.depths import SAMPLE, depth_of_sample, find_depths
from pipeline.values import Values
from pipeline.views import View
from tests.corpus import CORPUS, encoded, quadrants, write_files

VIEW = View((32, 32))


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ([], None),
        ([12], 12),
        ([8, 8, 8], 8),
        ([10, 12, 8], 12),
        ([8, 16], 16),
        ([8, 8, 8, 16], 8),  # a stray
        ([12] * 11 + [16], 12),
        ([16] + [12] * 15, 12),
        ([16, 16] + [12] * 14, 12),
        ([16, 16, 16] + [12] * 13, 16),  # too many for strays
        ([10] * 15 + [12], 12),  # no stray: the brightest of a sample may well take two bits more
        ([16] * 15 + [8], 16),
    ],
    ids=str,
)
def test_a_sample_decides_by_what_most_of_its_files_need(bits: list[int], expected: int | None) -> None:
    assert depth_of_sample(bits) == expected


def png(largest: int) -> bytes:
    values = quadrants((0, largest // 2, largest, 1), np.uint16)
    return encoded(Image.fromarray(values), "PNG")


def listed(lake: Path) -> tuple[pa.Table, InputConfig]:
    config = InputConfig(uri=str(lake), layout="folder")
    return build_catalog(config).table, config


def test_each_category_has_the_bits_of_its_own_files_and_none_where_none_says_it(tmp_path: Path) -> None:
    write_files(tmp_path, "ten/a.png", "ten/b.png", content=png(1000))
    write_files(tmp_path, "twelve/dark.png", content=png(70))
    write_files(tmp_path, "twelve/a.png", "twelve/b.png", content=png(4000))
    write_files(tmp_path, "all/a.png", content=png(65_535))
    write_files(tmp_path, "eight/a.png", content=CORPUS["good.png"][0])
    write_files(tmp_path, "eight/damaged.png", content=CORPUS["cut_in_the_middle.png"][0])
    table, config = listed(tmp_path)
    (tmp_path / "eight" / "a.png").unlink()
    assert find_depths(table, config, VIEW, Here()) == {"all": 16, "eight": None, "ten": 10, "twelve": 12}


def test_nothing_is_looked_at_where_there_is_nothing() -> None:
    assert find_depths(CATALOG.empty(), InputConfig(uri="lake"), VIEW, Here()) == {}


def test_the_same_files_are_looked_at_whatever_their_order_and_photographs_of_8_bits_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, *(f"part/{n}.jpg" for n in range(40)), content=CORPUS["good.jpg"][0])
    write_files(tmp_path, "part/a.tif", "part/b.png", content=png(900))
    table, config = listed(tmp_path)
    read: list[list[str]] = []
    original = Location.read_bytes

    def noted(self: Location, etag: str | None = None) -> bytes:
        read[-1].append(self.path)
        return original(self, etag)

    monkeypatch.setattr(Location, "read_bytes", noted)
    for images in (table, table.take(list(range(table.num_rows))[::-1])):
        read.append([])
        assert find_depths(images, config, VIEW, Here()) == {"part": 10}
    first, second = map(set, read)
    assert first == second and len(first) == SAMPLE
    assert {Path(path).name for path in first} >= {"a.tif", "b.png"}


def test_chosen_channels_are_what_is_looked_at(tmp_path: Path) -> None:
    values = np.dstack([quadrants((0, 60_000, 1, 2), np.uint16), quadrants((9, 900, 5, 6), np.uint16)])
    sink = io.BytesIO()
    tifffile.imwrite(sink, values, photometric="minisblack", planarconfig="contig")
    write_files(tmp_path, "part/a.tif", content=sink.getvalue())
    table, config = listed(tmp_path)
    chosen = View((32, 32), values=Values(channels=(1, 1, 1)))
    assert find_depths(table, config, chosen, Here()) == {"part": 10}
    assert find_depths(table, config, VIEW, Here()) == {"part": None}


def test_a_store_that_is_gone_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Location, etag: str | None = None) -> bytes:
        raise StoreUnavailable(f"cannot read {self}: tried for 120 s")

    write_files(tmp_path, "part/a.png", content=png(900))
    table, config = listed(tmp_path)
    monkeypatch.setattr(Location, "read_bytes", gone)
    with pytest.raises(StoreUnavailable, match="tried for 120 s"):
        find_depths(table, config, VIEW, Here())


def test_of_boxes_their_photographs_are_looked_at_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten trays of ten caps sixteen caps could all be of two trays; and a JPEG says nothing, whoever cut it."""
    lake = write_files(tmp_path, *(f"{n}.png" for n in range(10)), content=png(1000))
    write_files(tmp_path, "low.jpg", content=encoded(Image.fromarray(quadrants((1, 2, 3, 4), np.uint8)), "JPEG"))
    names = [*(f"{n}.png" for n in range(10)), "low.jpg"]
    boxes = [f"{x},0,{x + 16},16" for x in range(10)]
    lines = [f"{name},cap,{box}" for name in names for box in boxes]
    (lake / "caps.csv").write_text("\n".join(["uri,category,left,top,right,bottom", *lines]) + "\n")
    config = InputConfig(uri=str(lake / "caps.csv"))
    read: list[str] = []
    read_bytes = Location.read_bytes

    def noted(self: Location, etag: str | None = None) -> bytes:
        read.append(self.path)
        return read_bytes(self, etag)

    table = build_catalog(config).table
    monkeypatch.setattr(Location, "read_bytes", noted)
    assert find_depths(table, config, VIEW, Here()) == {"cap": 10}
    assert sorted(read) == sorted(str(lake / name) for name in names)
