"""Files of maps: what is written is read by its address, and what is damaged or gone is said."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DamagedFile
from pipeline.io.storage import Location
from pipeline.store.checks import bits
from pipeline.store.maps import BLOCK_BYTES, StoredMap, images_of_a_file, map_address, read_map, write_maps


def some(count: int) -> list[StoredMap]:
    rng = np.random.default_rng(0)
    return [
        StoredMap(f"#{n}.parquet", 2 + n, 3, 28, 42, bits(np.arange(6 + 3 * n) > 1) if n else None, of)
        for n in range(count)
        for of in [rng.uniform(size=6 + 3 * n).astype(np.float32)]
    ]


def test_each_map_is_found_by_its_address(tmp_path: Path) -> None:
    folder, maps = Location.parse(str(tmp_path)), some(3)
    write_maps(folder / "a#1/b.parquet", maps)
    for row, expected in enumerate(maps):
        found = read_map(folder / map_address("a#1/b.parquet", row))
        assert found is not None and np.array_equal(found.scores, expected.scores)
        assert [vars(found)[name] for name in vars(found) if name != "patch_scores"] == [
            vars(expected)[name] for name in vars(expected) if name != "patch_scores"
        ]
        assert found.counts is None if row == 0 else found.counts is not None and found.counts.sum() == 4 + 3 * row
    assert read_map(folder / "a.png") is None and read_map(folder / "a#1.png") is None


def test_a_file_that_is_damaged_or_lacks_the_row_is_named(tmp_path: Path) -> None:
    folder = Location.parse(str(tmp_path))
    write_maps(folder / "a.parquet", some(2))
    with pytest.raises(DamagedFile, match=r"a\.parquet is damaged: it has 2 maps, and no number 2"):
        read_map(folder / "a.parquet#2")
    with pytest.raises(DamagedFile, match=r"b\.parquet is gone"):
        read_map(folder / "b.parquet#0")
    write_maps(folder / "c.parquet", [StoredMap("x", 2, 3, 4, 4, None, np.array([np.nan] * 6, np.float32))])
    with pytest.raises(DamagedFile, match="may be no numbers"):
        read_map(folder / "c.parquet#0")
    content = (tmp_path / "a.parquet").read_bytes()
    for place in range(0, len(content), 97):
        flipped = bytearray(content)
        flipped[place] ^= 16
        (tmp_path / "a.parquet").write_bytes(flipped)
        try:
            found = read_map(folder / "a.parquet#1")
        except DamagedFile:
            continue
        assert found is not None and np.array_equal(found.scores, some(2)[1].scores)


@pytest.mark.parametrize(("patches", "images"), [(1, 64), (256, 64), (1369, 64), (21_316, 46), (10**7, 1)])
def test_files_of_large_images_hold_fewer(patches: int, images: int) -> None:
    assert images_of_a_file(patches, 64) == images
    assert images == 1 or images * patches * 4 <= BLOCK_BYTES
