"""How large a category's images usually are: which files are looked at, and what they decide."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.boxes import box_uri
from pipeline.catalog import build_catalog
from pipeline.config import InputConfig
from pipeline.errors import StoreUnavailable
from pipeline.io.storage import Location
from pipeline.schema.table import set_columns
from pipeline.stage import Here
from pipeline.stages.sizes import Size, find_sizes, usual_size
from tests.corpus import encoded, write_files


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(40, 30)], (40, 30)),
        ([(40, 30)] * 3 + [(400, 30)], (40, 30)),  # a stray
        ([(30, 40), (400, 40), (50, 40)], (50, 40)),
        ([(40, 30), (80, 60), (160, 120)], (80, 60)),  # of one aspect
        ([(60, 30), (30, 60)], (30, 60)),
    ],
    ids=str,
)
def test_the_usual_size_is_that_of_the_middle_aspect(sizes: list[Size], expected: Size) -> None:
    assert usual_size(sizes) == usual_size(sizes[::-1]) == expected


def picture(width: int, height: int, orientation: int = 1, form: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(Image.fromarray(np.full((height, width, 3), 99, np.uint8)), form, exif=exif)


def listed(lake: Path) -> tuple[pa.Table, InputConfig]:
    config = InputConfig(uri=str(lake), layout="folder")
    return build_catalog(config).table, config


def test_each_category_has_the_size_of_its_own_upright_files_and_none_where_none_can_be_read(tmp_path: Path) -> None:
    write_files(tmp_path, "wide/a.png", "wide/b.png", content=picture(90, 30))
    write_files(tmp_path, "lying/a.jpg", content=picture(90, 30, orientation=6, form="JPEG"))
    write_files(tmp_path, "mixed/good.png", content=picture(40, 50))
    write_files(tmp_path, "mixed/bad.png", "broken/bad.png", content=b"no image")
    images, config = listed(tmp_path)
    assert find_sizes(images, config, Here()) == {"wide": (90, 30), "lying": (30, 90), "mixed": (40, 50)}


def test_no_file_is_looked_at_of_an_empty_catalog(tmp_path: Path) -> None:
    write_files(tmp_path, "a/a.png", content=picture(40, 50))
    images, config = listed(tmp_path)
    assert find_sizes(images.slice(0, 0), config, Here()) == {}


def test_an_image_beyond_the_limits_says_nothing(tmp_path: Path) -> None:
    write_files(tmp_path, "a/a.png", content=picture(40, 50))
    images, config = listed(tmp_path)
    assert find_sizes(images, config.model_copy(update={"max_pixels": 1999}), Here()) == {}
    assert find_sizes(images, config.model_copy(update={"max_pixels": 2000}), Here()) == {"a": (40, 50)}


def test_a_store_that_does_not_answer_is_no_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Location, etag: str) -> bytes:
        raise StoreUnavailable(f"cannot read {self}: tried for 120 s")

    write_files(tmp_path, "a/a.png", content=picture(40, 50))
    images, config = listed(tmp_path)
    monkeypatch.setattr(Location, "read_bytes", gone)
    with pytest.raises(StoreUnavailable, match="tried for 120 s"):
        find_sizes(images, config, Here())


def test_boxes_tell_their_own_size_and_not_that_of_their_photograph(tmp_path: Path) -> None:
    write_files(tmp_path, "a/a.png", content=picture(4000, 1000))
    images, config = listed(tmp_path)
    [uri] = images["uri"].to_pylist()
    boxes = pa.array([box_uri(uri, (left, 50, left + 100, 150)) for left in (0, 200, 1000)])
    cut = set_columns(pa.concat_tables([images] * 3), {"uri": boxes})
    assert find_sizes(cut, config, Here()) == {"a": (100, 100)}
    assert find_sizes(images, config, Here()) == {"a": (4000, 1000)}
