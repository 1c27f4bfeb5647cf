"""Boxes of photographs: an image that is a box cut out of one is called as it, with the box as a media fragment behind.

    /lake/a.png#xywh=10,20,300,200   ->   300 x 200 pixels of /lake/a.png, 10 from its left edge and 20 from its top

So such an image has one name in all tables, and is an image like any other (https://www.w3.org/TR/media-frags/#naming-space).
"""

import re

PixelBox = tuple[int, int, int, int]  # left, top, right, bottom of the upright original; the last two are outside

LARGEST = 999_999_999  # pixels from an edge: no image is so large, and sums of two fit into 32 bits
# What `box_uri` writes and nothing else: a file may be called anything
FRAGMENT = r"#xywh=(0|[1-9][0-9]{0,8}),(0|[1-9][0-9]{0,8}),([1-9][0-9]{0,8}),([1-9][0-9]{0,8})\z"
_BOX = re.compile(FRAGMENT.replace(r"\z", r"\Z"))  # Python has its own sign for the end


def box_uri(uri: str, box: PixelBox | None) -> str:
    """Return the address of a box of a photograph; None is the whole photograph. Raises `ValueError` for no box."""
    if box is None:
        return uri
    left, top, right, bottom = box
    if not (0 <= left < right <= LARGEST and 0 <= top < bottom <= LARGEST):
        raise ValueError(f"{box} is no box in pixels: left < right and top < bottom are from 0 to {LARGEST}")
    return f"{uri}#xywh={left},{top},{right - left},{bottom - top}"


def split_box(uri: str) -> tuple[str, PixelBox | None]:
    """Return the address of an image's file, and the image's box there; None for the whole file."""
    # most images are whole photographs, and there are millions
    if "#xywh=" not in uri or (found := _BOX.search(uri)) is None:
        return uri, None
    left, top, width, height = map(int, found.groups())
    return uri[: found.start()], (left, top, left + width, top + height)


def file_of(uri: str) -> str:
    """Return the address of an image's file: of a box, that of its photograph."""
    return split_box(uri)[0]


def own_size(uri: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (width, height) of an image whose file has that size: of a box, that of the box."""
    box = split_box(uri)[1]
    return size if box is None else size_of(box)


def size_of(box: PixelBox) -> tuple[int, int]:
    """Return the (width, height) of a box."""
    left, top, right, bottom = box
    return right - left, bottom - top
