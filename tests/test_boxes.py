"""Addresses of boxes: what one function writes the other reads, and nothing else is one."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.boxes import FRAGMENT, LARGEST, PixelBox, box_uri, file_of, size_of, split_box

edges = st.tuples(st.integers(0, LARGEST - 1), st.integers(1, LARGEST)).filter(lambda of: sum(of) <= LARGEST)
NO_PARTS = [
    "/lake/a.png",
    "/lake/a.png#xywh=1,2,3",
    "/lake/a.png#xywh=1,2,3,4,5",
    "/lake/a.png#xywh=01,2,3,4",
    "/lake/a.png#xywh=1,2,0,4",
    "/lake/a.png#xywh=-1,2,3,4",
    "/lake/a.png#xywh=1,2,1000000000,4",
    f"/lake/a.png#xywh={'9' * 5000},2,3,4",
    "/lake/a.png#xywh=1,2,3,4.png",
    "/lake/a.png#xywh=1,2,3,4\n",
    "/lake/a.png#xywh=1,2,3,٤",
    "/lake/a.png#xywh=pixel:1,2,3,4",
    "/lake/a.png#XYWH=1,2,3,4",
    "/lake/#xywh=1,2,3,4/a.png",
]


def in_arrow(uri: str) -> str:
    """Return what Arrow makes of an address by the same rule."""
    [file] = pc.replace_substring_regex(pa.array([uri]), FRAGMENT, "").to_pylist()
    return str(file)


@given(st.text(), edges, edges)
def test_a_box_is_read_as_it_was_written(uri: str, across: tuple[int, int], down: tuple[int, int]) -> None:
    box: PixelBox = (across[0], down[0], sum(across), sum(down))
    image = box_uri(uri, box)
    assert split_box(image) == (uri, box) and file_of(image) == uri
    assert size_of(box) == (across[1], down[1])
    if uri.isascii():
        assert in_arrow(image) == uri


@given(st.text())
def test_a_whole_image_has_the_address_of_its_file(uri: str) -> None:
    assert box_uri(uri, None) == uri
    file, box = split_box(uri)
    assert box_uri(file, box) == uri


def test_an_address_is_a_media_fragment() -> None:
    assert box_uri("/lake/a.png", (10, 20, 310, 220)) == "/lake/a.png#xywh=10,20,300,200"
    assert split_box("/lake/a.png#xywh=1,2,3,4#xywh=0,0,1,1") == ("/lake/a.png#xywh=1,2,3,4", (0, 0, 1, 1))


@pytest.mark.parametrize("uri", NO_PARTS)
def test_any_other_name_is_a_files(uri: str) -> None:
    assert split_box(uri) == (uri, None) and file_of(uri) == in_arrow(uri) == uri


@pytest.mark.parametrize(
    "box", [(5, 0, 5, 9), (0, 9, 5, 9), (-1, 0, 5, 9), (0, -1, 5, 9), (9, 0, 5, 9), (0, 0, 10**9, 9)]
)
def test_what_holds_no_pixel_is_no_box(box: PixelBox) -> None:
    with pytest.raises(ValueError, match="no box"):
        box_uri("/lake/a.png", box)
