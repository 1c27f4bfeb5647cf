"""How the images of a category are seen: from the size of an image to its view, and which tiles that is encoded in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.boxes import PixelBox
from pipeline.values import USUAL, LakeValues, Values
from pipeline.views import LYING, View, pixel_box

LARGEST_SIDE = 65536  # pixels of a view: a longer one is a mistake of the settings
ODD = 8  # times as long as usual: a longer side is a stray's, and all images of its category have room for it
WORTH_SEEING = 1.5  # patches that the smallest defect should be as long as


class Seen(Protocol):
    """What says which view of an image is seen, when its size is known; a `View` says the same one of all."""

    @property
    def values(self) -> Values: ...

    @property
    def within(self) -> PixelBox | None: ...

    def on(self, image_size: tuple[int, int]) -> View:
        """Return the view of an image of (width, height)."""

    def __str__(self) -> str:
        """Return what `parse_seen` reads."""


@dataclass(frozen=True)
class Geometry:
    """How images are seen: one of `sides`, `short` and `scale` says at which size.

    Attributes:
        patch: side of a patch, in pixels of a view.
        sides: height and width that every image is squeezed to, whole patches.
        short: length that the shorter side of every image is brought to, in pixels; its aspect is kept.
        scale: pixels of a view for one of the image, along each side.
        tile: side of the tiles that a view is encoded in, in pixels, whole patches. 0: it is encoded whole.
        overlap: pixels that tiles side by side share, at least.
        values: of images, that are seen.
        turned: degrees clockwise, a multiple of 45, by which an image is turned when it has its size.
        within: where an image lies in its photograph; None where it is the whole one.
        most: pixels of a side, of which longer ones are not seen, where images differ; 0: LARGEST_SIDE.
    """

    patch: int
    sides: tuple[int, int] | None = None
    short: int = 0
    scale: float = 0.0
    tile: int = 0
    overlap: int = 0
    values: Values = USUAL
    turned: int = 0
    within: PixelBox | None = None
    most: int = 0

    def __str__(self) -> str:
        values = f" {self.values}".rstrip()
        within = "" if self.within is None else f" within {','.join(map(str, self.within))}"
        most = f"{'' if self.turned else ',0'},{self.most}" if self.most else ""
        return f"{self.text}{most}{values}{within}"

    @property
    def text(self) -> str:
        """What decides of a view that is seen, but the values, on one line without spaces."""
        height, width = self.sides or (0, 0)
        turned = f",{self.turned}" if self.turned else ""
        return f"geometry:{self.patch},{height}x{width},{self.short},{self.scale!r},{self.tile},{self.overlap}{turned}"

    @classmethod
    def parse(cls, text: str) -> "Geometry":
        """Read what `str` wrote; raises `ValueError`."""
        told, _, within = text.partition(" within ")
        head, _, values = told.partition(" ")
        patch, size, short, scale, tile, overlap, *more = head.removeprefix("geometry:").split(",")
        height, width = map(int, size.split("x"))
        sides = (height, width) if height else None
        angle, most = (int(of) for of in [*more, "0", "0"][:2])
        seen = Values.parse(values)
        box = pixel_box(within) if within else None
        return cls(int(patch), sides, int(short), float(scale), int(tile), int(overlap), seen, angle, box, most)

    def of_box(self, box: PixelBox | None) -> "Geometry":
        """Return the same of an image that is a box of a photograph, or a whole one."""
        return replace(self, within=box)

    def on(self, image_size: tuple[int, int]) -> View:
        """Return the view of an image of (width, height): all of it, at a size of whole patches.

        Raises `ValueError` where a side would be longer than `most`.
        """
        if self.sides is not None:
            height, width = self.sides
        else:
            factor = self.short / min(image_size) if self.short else self.scale
            width, height = (max(1, round(side * factor / self.patch)) * self.patch for side in image_size)
            if max(width, height) > (most := self.most or LARGEST_SIDE):
                why = f", {ODD} times what is usual in its category" if self.most else ""
                raise ValueError(f"it would be seen at {width} x {height} pixels, {most} a side at most{why}")
        if self.turned in LYING:
            height, width = width, height
        grid = (height // self.patch, width // self.patch)
        return View((height, width), grid, turned=self.turned, values=self.values, within=self.within)

    def about(self, image_size: tuple[int, int]) -> str:
        """Say in words how an image of (width, height) is seen."""
        try:
            view = self.on(image_size)
        except ValueError as error:
            return f"{image_size[0]} x {image_size[1]} pixels are not seen: {error}"
        tiles = f", in tiles of {self.tile}" if self.tile else ""
        whole = f"{image_size[0]} x {image_size[1]} pixels are seen at {view.size[1]} x {view.size[0]}"
        return f"{whole}, {view.grid[1]} x {view.grid[0]} patches{tiles}"


def parse_seen(text: str) -> Seen:
    """Read what `str` wrote of a view, or of a geometry; raises `ValueError`."""
    return Geometry.parse(text) if text.startswith("geometry:") else View.parse(text)


@dataclass(frozen=True)
class LakeGeometry:
    """The geometries of a lake: `usual`, and those of `categories` that have another; `values` are seen of images.

    `usual` is what the encoder's fingerprint names. `sizes` has the usual (width, height) of a category's images where
    somebody looked. `turned` are degrees clockwise by which all are.
    """

    usual: Geometry
    categories: Mapping[str, Geometry] = field(default_factory=dict)
    values: LakeValues = field(default_factory=LakeValues)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    turned: int = 0

    def of(self, category: str) -> Geometry:
        """Return how images of a category are seen."""
        geometry = self.categories.get(category, self.usual)
        most = 0
        if geometry.sides is None and (usual := self._usual_view(category)) is not None:
            most = min(LARGEST_SIDE, ODD * max(usual.size))
        return replace(geometry, values=self.values.of(category), turned=self.turned, most=most)

    def _usual_view(self, category: str) -> View | None:
        """Return the view of an image as those of a category usually are; None where that is not known, or none."""
        geometry, size = self.categories.get(category, self.usual), self.sizes.get(category)
        try:
            return None if size is None else geometry.on(size)
        except ValueError:  # a category of strays
            return None

    def key(self, category: str, region_uri: str | None = None, region_etag: str | None = None) -> str:
        """Return what a feature's key says of it: nothing of the usual geometry and the usual values.

        And nothing of a region of an image that is looked at everywhere.
        """
        other = self.categories.get(category)
        parts = [*([] if other is None else [other.text]), self.values.key(category)]
        parts += [] if region_uri is None else [f"region {region_uri}\0{region_etag}"]
        parts += [f"turned {self.turned}"] if self.turned else []
        return " ".join(part for part in parts if part)

    def grid(self, category: str) -> tuple[int, int]:
        """Return the grid (rows, columns) that an image of a category usually has, before any was looked at."""
        geometry = self.of(category)
        if geometry.sides is None and self._usual_view(category) is None:
            side = max(1, (geometry.short or geometry.tile) // geometry.patch)
            return side, side
        return geometry.on(self.sizes.get(category, (1, 1))).grid


def usual_geometry(patch: int, sides: tuple[int, int], short: int | None = None, area: int | None = None) -> Geometry:
    """Return the geometry of `encoder.size`, before anything is known of a category's images.

    Args:
        patch: side of a patch, in pixels.
        sides: height and width that every image is squeezed to, where neither of the others is given.
        short: pixels of the shorter side.
        area: side of a square with as many pixels.
    """
    if short:
        return Geometry(patch, short=short)
    return Geometry(patch, area_sides((1, 1), area**2, patch) if area else sides)


def angles(turns: int) -> list[int]:
    """Return the degrees clockwise of all turns but the first, which is none."""
    return [360 * turn // turns for turn in range(1, turns)]


def on_grid(patches: NDArray[np.int64], grid: tuple[int, int], other: tuple[int, int]) -> NDArray[np.int64]:
    """Return the numbers of patches of a grid (rows, columns) on another grid with the same upper left corner."""
    rows, columns = np.divmod(patches, grid[1])
    found: NDArray[np.int64] = rows * other[1] + columns
    return found


def area_sides(image_size: tuple[int, int], area: int, patch: int) -> tuple[int, int]:
    """Return the (height, width), whole patches, of about `area` pixels, with the aspect of an image (width, height).

    Of the sizes near by it is the one whose aspect is the nearest.
    """
    width, height = image_size
    aspect = width / height
    most = area // patch**2  # patches
    rows = max(1.0, (most / aspect) ** 0.5)
    found = []
    for of_rows in {max(1, int(rows)), max(1, int(rows) + 1)}:
        columns = max(1, min(round(of_rows * aspect), most // of_rows))
        found.append((abs(np.log(columns / of_rows / aspect)), of_rows, columns))
    _, rows_, columns_ = min(found)
    return rows_ * patch, columns_ * patch


def tile_scale(image_size: tuple[int, int], whole: View, patch: int, smallest_defect: float) -> float | None:
    """Return the scale at which tiles show the smallest defect; None where a view of the whole image shows it.

    A defect is shown where it is WORTH_SEEING patches long. No image is enlarged for it.

    Args:
        image_size: (width, height) of the image.
        whole: the view of the whole image.
        patch: side of a patch, in pixels of the view.
        smallest_defect: its length, in pixels of the image.
    """
    seen = smallest_defect * min(whole.size[0] / image_size[1], whole.size[1] / image_size[0])
    wanted = WORTH_SEEING * patch
    return None if seen >= wanted else min(1.0, wanted / smallest_defect)


# tiles


@dataclass(frozen=True)
class Tile:
    """A tile of a grid along one side: `start` and `stop` in patches, and the part [low, high) that is taken of it."""

    start: int
    stop: int
    low: int
    high: int


def tiles_along(length: int, tile: int, overlap: int) -> Sequence[Tile]:
    """Cut a side of a grid into tiles of one length, evenly, each patch taken from where it lies most central.

    Args:
        length: of the side, in patches.
        tile: length of a tile; a shorter side is one tile.
        overlap: patches that two tiles side by side share, at least.

    Raises:
        ValueError: where tiles would not get on.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"tiles of {tile} patches cannot overlap by {overlap}")
    if length <= tile:
        return [Tile(0, length, 0, length)]
    count = -(-(length - overlap) // (tile - overlap))
    starts = [round(place * (length - tile) / (count - 1)) for place in range(count)]
    # the middle between two tiles' middles
    borders = [0, *((one + other + tile) // 2 for one, other in pairwise(starts)), length]
    return [Tile(start, start + tile, low, high) for start, (low, high) in zip(starts, pairwise(borders), strict=True)]
