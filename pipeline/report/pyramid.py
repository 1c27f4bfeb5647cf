"""Tiles of a large image at all its pixels, and at halves of them: what a person sees who looks closer."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from pipeline.images import Pixels
from pipeline.report import pictures

LARGE = 4000  # pixels of the longer side: up to so many the picture shows enough
TILE = 1024  # pixels a side: so many large ones are few files, and some fill a screen


def levels(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the (width, height) of an image in tiles, each half of the one before; none of an image that needs none.

    The first is the image's own, and all are larger than its picture.
    """
    found = list[tuple[int, int]]()
    while max(size) > (pictures.PICTURE if found else LARGE):
        found.append(size)
        size = (size[0] + 1) // 2, (size[1] + 1) // 2
    return found


class Pyramid:
    """Makes the tiles of an image of (width, height) that comes in strips, and holds little more than a strip.

    pyramid = Pyramid((4200, 1200))
    for name, content in pyramid.add(pixels[:1024]): ...
    for name, content in pyramid.add(pixels[1024:]): ...
    """

    def __init__(self, size: tuple[int, int]) -> None:
        sizes = levels(size)
        self._left = [-(-height // TILE) for _, height in sizes]  # strips of each level that are still to come
        self._row = [0] * len(sizes)
        self._held: list[list[Pixels]] = [[] for _ in sizes]

    def add(self, strip: Pixels, level: int = 0) -> Iterator[tuple[str, bytes]]:
        """Yield <level>-<column>-<row> and content, WebP, of what the next strip completes.

        A strip is TILE pixels (H, W, 3) high, but the last.
        """
        row = self._row[level]
        self._row[level] += 1
        self._left[level] -= 1
        for column in range(-(-strip.shape[1] // TILE)):
            yield f"{level}-{column}-{row}", pictures.picture(strip[:, column * TILE : (column + 1) * TILE], TILE)
        if level + 1 < len(self._held):
            held = self._held[level + 1]
            held.append(np.asarray(Image.fromarray(strip).reduce(2)))
            if len(held) == 2 or not self._left[level]:
                whole = np.concatenate(held)
                held.clear()
                yield from self.add(whole, level + 1)
