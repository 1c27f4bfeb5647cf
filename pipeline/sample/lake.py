"""The embedded sample lake: crops of photographs that scikit-image ships, some of them damaged on purpose.

Laid out as MVTec AD does: <category>/test/<good or defect>/, masks in <category>/ground_truth/<defect>/.
"""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage import data

from pipeline.io.storage import Location

VERSION = 1  # raise it when the images change
SIDE = 256  # pixels of an image
IMAGES = 40  # of a category
GREY = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One image (SIDE, SIDE) of greys 0..255, what is wrong with it ("good" if nothing is), and where."""

    image: GREY
    defect: str
    mask: NDArray[np.bool_]


def write_sample(folder: Location) -> None:
    """Write the sample lake, the same bytes each time; a lake of this version that is there already is left alone."""
    marker = folder / ".sample.json"  # hidden: it is no input
    if marker.exists() and json.loads(marker.read_bytes())["version"] == VERSION:
        return
    for category in CROPS:
        numbers: dict[str, int] = {}
        for sample in samples(category):
            number = numbers[sample.defect] = numbers.get(sample.defect, -1) + 1
            name = f"{sample.defect}/{number:03d}"
            (folder / category / f"test/{name}.png").write_bytes(_png(sample.image))
            if sample.defect != "good":
                (folder / category / f"ground_truth/{name}_mask.png").write_bytes(_png(sample.mask * 255.0))
    content = {"version": VERSION, "source": "photographs in scikit-image's wheel, see its data/README.txt"}
    marker.write_bytes(json.dumps(content).encode())


def samples(category: str) -> Iterator[Sample]:
    """Yield the images of a category: every third one has a defect, the kinds in turn."""
    rng = np.random.default_rng([VERSION, *category.encode()])
    photograph = _photograph(category)
    foreign = _photograph("brick" if category == "grass" else "grass")
    for number in range(IMAGES):
        image = CROPS[category](photograph, rng)
        image = (image - image.mean()) * rng.uniform(0.9, 1.1) + image.mean() + rng.uniform(-8, 8)
        mask = np.zeros((SIDE, SIDE), bool)
        defect = "good"
        if number % 3 == 2:
            defect = list(DEFECTS)[number // 3 % len(DEFECTS)]
            image, mask = DEFECTS[defect](image, foreign, rng)
        yield Sample(image.clip(0, 255), defect, mask)


def _texture(photograph: GREY, rng: np.random.Generator) -> GREY:
    """Cut a square of 160 to 192 pixels anywhere, perhaps mirrored."""
    side = int(rng.integers(160, 193))
    top, left = rng.integers(0, np.array(photograph.shape) - side + 1)
    cut = photograph[top : top + side, left : left + side]
    return _resized(cut[:, ::-1] if rng.random() < 0.5 else cut)


def _coin(photograph: GREY, rng: np.random.Generator) -> GREY:
    """Cut out one of the 24 coins, a few pixels off its centre."""
    coins, _ = ndimage.label(ndimage.binary_fill_holes(ndimage.gaussian_filter(photograph, 2) > 105))
    boxes = [
        box
        for box in ndimage.find_objects(coins)
        if 25 < box[0].stop - box[0].start < 80 and 25 < box[1].stop - box[1].start < 80
    ]
    rows, columns = boxes[int(rng.integers(len(boxes)))]
    half = 36
    centre = [
        int(np.clip((axis.start + axis.stop) // 2 + rng.integers(-3, 4), half, size - half))
        for axis, size in zip((rows, columns), photograph.shape, strict=True)
    ]
    return _resized(photograph[centre[0] - half : centre[0] + half, centre[1] - half : centre[1] + half])


CROPS: dict[str, Callable[[GREY, np.random.Generator], GREY]] = {
    "brick": _texture,
    "coins": _coin,
    "grass": _texture,
    "gravel": _texture,
}

Damaged = tuple[GREY, NDArray[np.bool_]]


def _scratch(image: GREY, foreign: GREY, rng: np.random.Generator) -> Damaged:
    """Draw a thin bright or dark line with a bend."""
    angle, length = rng.uniform(0, np.pi), rng.uniform(60, 150)
    start = _place(rng)
    bend = start + length / 2 * np.array([np.cos(angle), np.sin(angle)])
    end = bend + length / 2 * np.array([np.cos(angle + 0.4), np.sin(angle + 0.4)])
    points = [(float(x), float(y)) for x, y in (start, bend, end)]
    mask = _drawn(lambda draw: draw.line(points, fill=255, width=int(rng.integers(3, 6)), joint="curve"))
    tone = image.mean() + (1 if rng.random() < 0.5 else -1) * rng.uniform(90, 130)
    return np.where(mask, 0.15 * image + 0.85 * tone, image), mask


def _hole(image: GREY, foreign: GREY, rng: np.random.Generator) -> Damaged:
    """Punch a dark ellipse with a bright rim."""
    mask = _ellipse(rng, 8, 22)
    rim = ndimage.binary_dilation(mask, iterations=2) & ~mask
    dark = np.where(mask, 12.0, image)
    return np.where(rim, np.minimum(image + 50, 255), dark), mask | rim


def _stain(image: GREY, foreign: GREY, rng: np.random.Generator) -> Damaged:
    """Darken or brighten a soft-edged spot; the texture shows through."""
    mask = _ellipse(rng, 18, 40)
    weight = ndimage.gaussian_filter(mask.astype(float), 4)
    tone = 20.0 if image.mean() > 100 else 235.0
    return image * (1 - 0.65 * weight) + tone * 0.65 * weight, weight > 0.25


def _foreign_patch(image: GREY, foreign: GREY, rng: np.random.Generator) -> Damaged:
    """Paste a piece of another material."""
    mask = _ellipse(rng, 16, 36)
    top, left = rng.integers(0, np.array(foreign.shape) - SIDE + 1)
    return np.where(mask, foreign[top : top + SIDE, left : left + SIDE], image), mask


def _missing_part(image: GREY, foreign: GREY, rng: np.random.Generator) -> Damaged:
    """Break a corner-shaped piece off an edge, down to a flat background."""
    x, depth, width = rng.uniform(40, SIDE - 40), rng.uniform(30, 70), rng.uniform(30, 60)
    points = [(x - width, 0.0), (x + width, 0.0), (x + rng.uniform(-20, 20), depth)]
    mask = np.rot90(_drawn(lambda draw: draw.polygon(points, fill=255)), int(rng.integers(4)))
    background = 40 + rng.normal(0, 3, image.shape)
    return np.where(mask, background, image), mask


DEFECTS: dict[str, Callable[[GREY, GREY, np.random.Generator], Damaged]] = {
    "scratch": _scratch,
    "hole": _hole,
    "stain": _stain,
    "foreign_patch": _foreign_patch,
    "missing_part": _missing_part,
}


def _photograph(name: str) -> GREY:
    return np.asarray(getattr(data, name)(), dtype=np.float64)


def _place(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.uniform(60, SIDE - 60, size=2)


def _ellipse(rng: np.random.Generator, smallest: float, largest: float) -> NDArray[np.bool_]:
    x, y = _place(rng)
    a, b = rng.uniform(smallest, largest, size=2)
    return _drawn(lambda draw: draw.ellipse((x - a, y - b, x + a, y + b), fill=255))


def _drawn(draw: Callable[[Any], None]) -> NDArray[np.bool_]:
    canvas = Image.new("L", (SIDE, SIDE))
    draw(ImageDraw.Draw(canvas))
    return np.asarray(canvas) > 0


def _resized(cut: GREY) -> GREY:
    image = Image.fromarray(cut.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float64)


def _png(image: NDArray[Any]) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(sink, "png")
    return sink.getvalue()
