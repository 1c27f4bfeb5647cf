"""Views: what is encoded, stored, scored and mapped of an image; the one place that turns patches into pixels and back.

Three frames, each from its upper left corner: shares of the image's width and height; pixels of the image, or of a
picture of it; pixels of the view, which are those of its map. Points are x, y; sizes and grids are (height, width).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.boxes import PixelBox
from pipeline.values import USUAL, Values

Points = NDArray[np.float64]  # (n, 2): x, y
Box = tuple[float, float, float, float]  # left, top, right, bottom

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
LYING = (90, 270)  # turns after which width and height have changed places


@dataclass(frozen=True)
class View:
    """A box of an image, turned, at a size, cut into a grid of patches. Which image that is says who holds the view.

    `size` (height, width) in pixels and `grid` (rows, columns) of patches are those after turning, `box` is in shares
    of the upright image, `turned` in degrees clockwise, by eighths of a turn. By other than quarters it is turned about
    its middle, within its size, and its corners are lost. The usual view is the whole image, squeezed to the size. A
    grid of (1, 1) is for who asks for no patches. `values` says which of an image's values are seen.

    Where the image is a box of a photograph, `within` is where it lies there, and is cut out before all else.
    """

    size: tuple[int, int]
    grid: tuple[int, int] = (1, 1)
    box: Box = WHOLE
    turned: int = 0
    values: Values = USUAL
    within: PixelBox | None = None

    def __post_init__(self) -> None:
        left, top, right, bottom = self.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(f"{self.box} is no box of an image: left < right and top < bottom are shares from 0 to 1")
        if self.turned not in range(0, 360, 45):
            raise ValueError(f"an image is turned by a multiple of 45 degrees below 360, not by {self.turned}")
        if min(*self.size, *self.grid) < 1:
            raise ValueError(f"{self.size} pixels and {self.grid} patches: each is 1 at least")

    def __str__(self) -> str:
        """Return the view as text that `parse` reads: the same for the same view, in any process."""
        box = ",".join(repr(float(edge)) for edge in self.box)
        told = f"{self.size[0]}x{self.size[1]} {self.grid[0]}x{self.grid[1]} {box} {self.turned} {self.values}".rstrip()
        return told if self.within is None else f"{told} within {','.join(map(str, self.within))}"

    @classmethod
    def parse(cls, text: str) -> "View":
        """Read what `str` wrote; raises `ValueError`."""
        text, _, within = text.partition(" within ")
        size, grid, box, turned, *values = text.split(" ", 4)
        (height, width), (rows, columns) = map(int, size.split("x")), map(int, grid.split("x"))
        left, top, right, bottom = map(float, box.split(","))
        seen = Values.parse("".join(values))
        view = cls((height, width), (rows, columns), (left, top, right, bottom), int(turned), seen)
        return view.of_box(pixel_box(within)) if within else view

    def of_box(self, box: PixelBox | None) -> "View":
        """Return the same view of an image that is a box of a photograph, or a whole one."""
        return replace(self, within=box)

    def on(self, image_size: tuple[int, int]) -> "View":
        """Return the view of an image of (width, height): this one, of whatever size that is."""
        return self

    def at(self, size: Sequence[int]) -> "View":
        """Return the view whose map is of another size (height, width)."""
        return replace(self, size=(size[0], size[1]))

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def size_before_turning(self) -> tuple[int, int]:
        """The (height, width) that its box is brought to, and then turned."""
        return _unturned(self.size, self.turned)

    def box_on(self, image_size: tuple[int, int]) -> Box | None:
        """Return its box in pixels of an image of (width, height); None for the whole image."""
        width, height = image_size
        left, top, right, bottom = self.box
        return None if self.box == WHOLE else (left * width, top * height, right * width, bottom * height)

    # patches

    def centres(self, patches: NDArray[np.int64]) -> Points:
        """Return the middles (n, 2) of patches (n,) in shares of the image."""
        rows, columns = np.divmod(patches, self.grid[1])
        return self._shares(np.stack([columns + 0.5, rows + 0.5], axis=-1), self.grid)

    def centre(self, patch: int) -> tuple[float, float]:
        """Return the middle x, y of a patch in shares of the image."""
        x, y = self.centres(np.array([patch]))[0].tolist()
        return x, y

    def patches_at(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the patches whose scores decide pixels of its map, given by their numbers, row by row.

        The middles of the first and the last patch lie on the map's edges: see `scoring.maps`.
        """
        rows, columns = np.divmod(pixels, self.size[1])

        def nearest(places: NDArray[np.int64], patches: int, length: int) -> NDArray[np.int64]:
            return (places * ((patches - 1) / max(length - 1, 1))).round().astype(np.int64)

        return nearest(rows, self.grid[0], self.size[0]) * self.grid[1] + nearest(columns, self.grid[1], self.size[1])

    def pixels_on(self, patches: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which pixels (height, width) of its map lie on some of its patches (P,)."""
        rows = self.patches_at(np.arange(self.size[0]) * self.size[1]) // self.grid[1]
        columns = self.patches_at(np.arange(self.size[1])) % self.grid[1]
        found: NDArray[np.bool_] = patches.reshape(self.grid)[np.ix_(rows, columns)]
        return found

    def around(self, point: tuple[float, float], image_size: tuple[int, int], patches: float) -> Box:
        """Return a square around a point in shares of the image, in pixels of an image of (width, height).

        It is `patches` of the longer sides of a patch wide, and may reach beyond the image.
        """
        width, height = image_size
        rows, columns = _unturned(self.grid, self.turned)
        half = patches / 2 * max(height * self._box_size[0] / rows, width * self._box_size[1] / columns)
        x, y = point[0] * width, point[1] * height
        return x - half, y - half, x + half, y + half

    @property
    def inside(self) -> NDArray[np.bool_] | None:
        """Which patches (P,) lie in the image with all of their pixels; None where all do."""
        if not self.turned % 90:
            return None
        rows, columns = np.divmod(np.arange(self.patches), self.grid[1])
        corners = [np.stack([columns + x, rows + y], axis=-1) for x in (0.0, 1.0) for y in (0.0, 1.0)]
        shares = np.stack([self._shares(corner * self._patch, self.size) for corner in corners])
        slack = 1e-9  # of rounding
        inside: NDArray[np.bool_] = ((shares >= -slack) & (shares <= 1 + slack)).transpose(1, 0, 2)
        return np.array([of.all() for of in inside], bool)

    @property
    def _patch(self) -> Points:
        """Width and height (2,) of a patch in pixels of the view."""
        return np.array([self.size[1] / self.grid[1], self.size[0] / self.grid[0]])

    # pixels of the view

    def shares(self, points: Points) -> Points:
        """Return points (n, 2) of the view, in its pixels, in shares of the image."""
        return self._shares(points, self.size)

    def on_image(self, points: Points, image_size: tuple[int, int]) -> Points:
        """Return points (n, 2) of the view, in its pixels, in pixels of an image of (width, height)."""
        left, top = np.array(self.box[:2]) * image_size
        found: Points = _turned_back(points, self.size, self.turned) * self.scale(image_size) + (left, top)
        return found

    def scale(self, image_size: tuple[int, int]) -> Points:
        """Return how wide and how high a pixel of the view is, (2,), in pixels of an image of (width, height)."""
        height, width = self.size_before_turning
        return np.array([image_size[0] * self._box_size[1], image_size[1] * self._box_size[0]]) / (width, height)

    def lengths_on_image(self, lengths: Any, image_size: tuple[int, int]) -> Points:
        """Return how wide and how high, (2,), a part of the view of that width and height is on an image."""
        wide, high = lengths[::-1] if self.turned in LYING else lengths
        return np.array([wide, high]) * self.scale(image_size)

    def part_on_image(self, corner: Any, lengths: Any, image_size: tuple[int, int]) -> Points:
        """Return left, top, width and height (4,), on an image, of a part of the view: its upper left corner, its size.

        Corner and size are x, y in pixels of the view.
        """
        corners = np.array([corner, np.add(corner, lengths)], np.float64)
        first = self.on_image(corners, image_size).min(axis=0)  # turned, it is another corner
        return np.concatenate([first, self.lengths_on_image(lengths, image_size)])

    def pixels_of_area(self, area: float, image_size: tuple[int, int]) -> float:
        """Return how many pixels of the view cover an area in pixels of an image of (width, height)."""
        height, width = self._box_size
        return area * (self.pixels / (image_size[0] * image_size[1] * height * width))

    @property
    def _box_size(self) -> tuple[float, float]:
        """Height and width of the box, in shares."""
        left, top, right, bottom = self.box
        return bottom - top, right - left

    def _shares(self, points: Points, size: tuple[int, int]) -> Points:
        """Turn points of the view, in units of which it has `size`, into shares of the image."""
        height, width = _unturned(size, self.turned)
        inside = _turned_back(points, size, self.turned) / (width, height)
        found: Points = inside * self._box_size[::-1] + self.box[:2]
        return found


def pixel_box(text: str) -> PixelBox:
    """Read left, top, right and bottom; raises `ValueError`."""
    left, top, right, bottom = map(int, text.split(","))
    return left, top, right, bottom


def _unturned(size: tuple[int, int], turned: int) -> tuple[int, int]:
    return size[::-1] if turned in LYING else size


def _turned_back(points: Points, size: tuple[int, int], turned: int) -> Points:
    """Return where points (n, 2) of a view of (height, width) lay before it was turned, in the same units."""
    height, width = size
    x, y = points[..., 0], points[..., 1]
    if turned == 90:
        return np.stack([y, width - x], axis=-1)
    if turned == 180:
        return np.stack([width - x, height - y], axis=-1)
    if turned == 270:
        return np.stack([height - y, x], axis=-1)
    if turned:
        angle, middle = np.deg2rad(turned), np.array([width / 2, height / 2])
        back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # y points down
        found: Points = (points - middle) @ back.T + middle
        return found
    return points
