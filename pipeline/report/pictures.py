"""What is seen of an image: its picture, its map as an overlay, outlines, crops. Functions of arrays."""

import io
from collections.abc import Sequence
from typing import Any

import contourpy
import numpy as np
from matplotlib import colormaps
from matplotlib.path import Path
from numpy.typing import NDArray
from PIL import Image

from pipeline.boxes import PixelBox
from pipeline.images import Pixels
from pipeline.views import View

Map = NDArray[np.floating[Any]]
Polygon = NDArray[np.float64]  # (n, 2) corners x, y in shares of width and height

PICTURE, THUMBNAIL, CROP = 1024, 192, 96  # longest sides in pixels
# Of overlays, and of maps: of a map that is no more than so many times an overlay no defect is lost between its pixels
HEAT, LARGEST_HEAT, TIMES = 256, 2048, 4
A_PIXEL = 7  # pixels of a large map, of which a patch has 14 a side or more, for one of its overlay
FINE = 4 * PICTURE  # pixels of the longer side of what outlines are made of
SLACK, CORNERS = 0.2, 20_000  # pixels of a picture by which outlines are simplified; how many corners are kept
QUALITY = 85
EFFORT = 2  # of the WebP encoder, 0 to 6: 4 takes twice as long for files a tenth smaller
AROUND = 3  # patches a side of a crop
# Of perceptually uniform maps, which are told apart by brightness alone too, the one that is dark where little is wrong
COLOURS = (colormaps["inferno"](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)  # (256, 3)
CLEAR = 0.5  # share of the scale over which the overlay fades in: who looks at a defect wants to see it, too


def colours() -> list[str]:
    """Return colours of overlays from low to high, evenly spaced, as #rrggbb."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in COLOURS[::17].tolist()]


def picture(pixels: Pixels, longest: int) -> bytes:
    """Return pixels (H, W, 3), RGB, as WebP, its longer side at most `longest`."""
    image = Image.fromarray(pixels)
    image.thumbnail((longest, longest), Image.Resampling.BICUBIC)
    return _webp(image, quality=QUALITY, method=EFFORT)


def heat(distances: Map, scale: tuple[float, float], size: tuple[int, int]) -> bytes:
    """Return a map's overlay as RGBA WebP: a distance has the same colour in every image.

    Its longer side is HEAT, and of large maps one pixel for A_PIXEL of the map's, LARGEST_HEAT at most.

    Args:
        distances: the anomaly map (H, W) of the whole image, squeezed to the map's size.
        scale: the distances that the colours begin and end with. At its low end and below the overlay is clear.
        size: (width, height) of the image.
    """
    low, high = scale
    longest = min(LARGEST_HEAT, max(HEAT, max(distances.shape) // A_PIXEL))
    shrink = longest / max(size)
    sides = (max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink)))
    if max(distances.shape) > TIMES * HEAT:
        distances = _largest(distances, sides[::-1])
    shares = ((distances - low) / (high - low)).clip(0, 1)
    colours = COLOURS[(shares * 255).round().astype(np.uint8)]
    cover = ((shares / CLEAR).clip(0, 1) * 255).round().astype(np.uint8)
    image = Image.fromarray(np.dstack([colours, cover]))
    # Lossless: other codings would give one distance several colours. Nearest, for the same reason
    return _webp(image.resize(sides, Image.Resampling.NEAREST), lossless=True, method=EFFORT)


def _largest(values: Map, sides: tuple[int, int]) -> Map:
    """Bring values (H, W) to (height, width) by the largest of each block, so that no small defect is left out."""
    for axis, side in enumerate(sides):
        starts = np.arange(side) * values.shape[axis] // side  # where there are fewer values, some stand twice
        values = np.maximum.reduceat(values, starts, axis=axis)
    return values


def polygons(values: Map, above: float, view: View) -> list[Polygon]:
    """Return the outlines of where a view's values (H, W) are above a threshold, closed at the view's edges.

    Of a part with holes come its outer outline and those of the holes, which the even-odd rule leaves out. Of outlines
    that have more than CORNERS together the smallest are left out.
    """
    if (blocks := -(-max(values.shape) // FINE)) > 1:
        values = _largest(values, (-(-values.shape[0] // blocks), -(-values.shape[1] // blocks)))
    height, width = values.shape
    padded = np.pad(values, 1, mode="edge")  # outlines run through the middles of pixels: half a one is missing outside
    generator = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset)
    slack = SLACK * max(values.shape) / PICTURE
    found = []
    for points, offsets in zip(*generator.filled(above, np.inf), strict=True):
        for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
            path = Path(points[start:stop])
            path.simplify_threshold = max(path.simplify_threshold, slack)  # usually a ninth of a pixel
            outline = path.cleaned(simplify=True)  # a sixth of the corners
            vertices = np.asarray(outline.vertices, np.float64)[:-1]  # the last one says stop
            found.append(view.at(values.shape).shares((vertices - 0.5).clip(0, (width, height))))
    return _bounded(found)


def _bounded(outlines: list[Polygon]) -> list[Polygon]:
    """Leave out the smallest outlines where all together have more than CORNERS; the largest one stays."""
    if sum(map(len, outlines)) <= CORNERS:
        return outlines
    extents = [float(np.ptp(outline, axis=0).max()) for outline in outlines]
    order = sorted(range(len(outlines)), key=lambda n: -extents[n])
    kept = np.cumsum([len(outlines[n]) for n in order]) <= CORNERS
    chosen = {order[0], *(n for n, keeps in zip(order, kept, strict=True) if keeps)}
    return [outline for n, outline in enumerate(outlines) if n in chosen]


def mask_polygons(mask: NDArray[np.bool_], view: View) -> list[Polygon]:
    """Return the outlines of a view's mask (H, W)."""
    return polygons(mask.astype(np.float32), 0.5, view)


def surroundings(centre: tuple[float, float], view: View, size: tuple[int, int]) -> PixelBox:
    """Return what a crop of a patch shows, in pixels of an image of (width, height); it may reach beyond that.

    Args:
        centre: of the patch, in shares of width and height.
        view: whose patch it is.
        size: of the image, or of a picture of it.
    """
    left, top, right, bottom = map(round, view.around(centre, size, AROUND))
    return left, top, right, bottom


def crop(pixels: Pixels, box: PixelBox) -> bytes:
    """Return a box of an image (H, W, 3), RGB, as WebP, CROP x CROP; what lies outside the image is clear."""
    cut = Image.fromarray(pixels).convert("RGBA").crop(box)
    return _webp(cut.resize((CROP, CROP), Image.Resampling.BICUBIC), quality=QUALITY, method=EFFORT)


def corners(outlines: Sequence[Polygon]) -> list[list[list[float]]]:
    """Return outlines as lists [[x, y], ...] with four decimals, a fifth of a pixel of a picture."""
    return [outline.round(4).tolist() for outline in outlines]


def _webp(image: Image.Image, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "webp", **options)
    return sink.getvalue()
