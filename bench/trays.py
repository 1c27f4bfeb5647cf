"""Lakes of large images with defects of few pixels: trays of real photographs, as MVTec AD lays images out.

Each image is a tray of normal photographs at their own resolution. A cell is always of one set; which photograph lies
in it, how it is shifted by a few pixels and how bright it is changes, and the sensor adds noise. A defective tray has
one defect: a piece of a real one, shrunk, or a scratch, or a spot.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from bench.sets import beside

SETS = ("aws_l4v/alien", "aws_l4v/cookie", "bsdata/ballscrew")
KINDS = ("piece", "scratch", "spot")
SIZES = (6, 24)  # pixels that the longer side of a defect has, at least and at most
VISIBLE = 25  # grey levels by which a defect differs from what it covers, on average: people see it, too
TRAY, SHIFT, BRIGHTNESS, NOISE = 96, 3, 0.03, 2.0  # grey; pixels; share; grey levels
TRIES = 1000

Image_ = NDArray[np.float32]


@dataclass(frozen=True)
class Tray:
    """Trays of `side` pixels with cells of `pitch`, in which photographs of `shown` pixels at most lie.

    `parts` photographs of each set occur: one, where parts are made alike, as circuit boards are; few, where they
    differ, as cookies do. Images are `normal` or `defective`.
    """

    side: int
    parts: int
    normal: int
    defective: int
    pitch: int = 512
    shown: int = 480


@dataclass(frozen=True)
class _Patch:
    """What covers a place: colours (h, w, 3), and how much of it (h, w), 0 to 1."""

    colours: Image_
    alpha: Image_


def write_trays(root: Path, tray: Tray) -> None:
    """Write a lake of one category, `trays`; raises `NotRun` where the real sets are not there.

    The name of a defective image ends with the length of its defect in pixels.
    """
    rng = np.random.default_rng(tray.side)
    photographs = [
        [_middle(_read(path), tray.shown) for path in _files(name, "test/good")[: tray.parts]] for name in SETS
    ]
    pieces = _pieces()
    folder = root / "trays"
    for number in range(tray.normal):
        _write(folder / f"test/good/{number:03d}.png", _seen(_filled(photographs, tray, rng)[0], rng))
    for number, length in enumerate(np.linspace(*SIZES, tray.defective).round().astype(int)):
        kind = KINDS[number % len(KINDS)]
        image, places = _filled(photographs, tray, rng)
        mask = _damage(image, places, kind, int(length), pieces, rng)
        name = f"{kind}/{number:03d}_{length}"
        _write(folder / f"test/{name}.png", _seen(image, rng))
        _write(folder / f"ground_truth/{name}_mask.png", 255.0 * mask)


def _filled(
    photographs: list[list[Image_]], tray: Tray, rng: np.random.Generator
) -> tuple[Image_, list[tuple[slice, slice]]]:
    """Return a tray (side, side, 3), and where its photographs lie."""
    image, places = np.full((tray.side, tray.side, 3), TRAY, np.float32), []
    cells = tray.side // tray.pitch
    for row in range(cells):
        for column in range(cells):
            of = photographs[(row + column) % len(photographs)]
            photograph = of[rng.integers(len(of))]
            height, width = photograph.shape[:2]
            top, left = (
                place * tray.pitch + (tray.pitch - length) // 2 + int(rng.integers(-SHIFT, SHIFT + 1))
                for place, length in ((row, height), (column, width))
            )
            place = slice(top, top + height), slice(left, left + width)
            image[place] = photograph * rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
            places.append(place)
    return image, places


def _damage(
    image: Image_,
    places: list[tuple[slice, slice]],
    kind: str,
    length: int,
    pieces: list[_Patch],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Put a defect on some photograph of a tray, in place, where it can be seen; return its mask (side, side)."""
    for _ in range(TRIES):
        patch = _shrunk(pieces[rng.integers(len(pieces))], length) if kind == "piece" else _drawn(kind, length, rng)
        part = places[rng.integers(len(places))]
        height, width = patch.alpha.shape
        # in the middle half of a photograph, where its part is
        top, left = (
            int(of.start + rng.uniform(0.25, 0.75) * (of.stop - of.start) - size / 2)
            for of, size in zip(part, (height, width), strict=True)
        )
        under = image[top : top + height, left : left + width]
        alpha = patch.alpha[..., None]
        after = under * (1 - alpha) + patch.colours * alpha
        covered = patch.alpha >= 0.5
        if covered.any() and np.abs(after - under)[covered].mean() >= VISIBLE:
            under[...] = after
            mask = np.zeros(image.shape[:2], bool)
            mask[top : top + height, left : left + width] = covered
            return mask
    raise AssertionError(f"no {kind} of {length} pixels could be seen on any photograph")


def _drawn(kind: str, length: int, rng: np.random.Generator) -> _Patch:
    """Return a scratch, dark or light and a pixel or two wide, or a spot."""
    fine = 8  # drawn so many times larger, for soft edges
    drawn = Image.new("L", (fine * (length + 2),) * 2)
    draw, middle = ImageDraw.Draw(drawn), fine * (length + 2) / 2
    reach = fine * length / 2
    if kind == "spot":
        draw.ellipse((middle - reach, middle - 0.8 * reach, middle + reach, middle + 0.8 * reach), fill=255)
    else:
        angle = rng.uniform(0, np.pi)
        x, y = reach * np.cos(angle), reach * np.sin(angle)
        draw.line((middle - x, middle - y, middle + x, middle + y), fill=255, width=int(fine * rng.uniform(1, 2)))
    alpha = np.asarray(drawn.resize((length + 2,) * 2, Image.Resampling.BOX), np.float32) / 255
    colours = np.full((*alpha.shape, 3), rng.choice([30, 225]), np.float32)
    return _Patch(colours, alpha.astype(np.float32))


def _shrunk(piece: _Patch, length: int) -> _Patch:
    factor = length / max(piece.alpha.shape)
    size = [max(2, round(factor * side)) for side in piece.alpha.shape[::-1]]  # width, height
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(of), "F").resize(size, Image.Resampling.BOX))
        for of in (*np.moveaxis(piece.colours, 2, 0), piece.alpha)
    ]
    return _Patch(np.stack(channels[:3], axis=2), channels[3])


def _pieces() -> list[_Patch]:
    """Cut out the largest region of each real defect; of alien, which has no masks, the middle of defective ones."""
    found = []
    for name in SETS:
        for path in _files(name, "test/[!g]*"):
            image = _read(path)
            masks = list((beside("data") / name / "ground_truth" / path.parent.name).glob(f"{path.stem}_mask.*"))
            if masks:
                labels, count = ndimage.label(np.asarray(Image.open(masks[0]).convert("L")) > 0)
                if not count:
                    continue
                largest = np.bincount(labels.flat)[1:].argmax()
                box = ndimage.find_objects(labels)[largest]
                alpha = (labels[box] == largest + 1).astype(np.float32)
            else:
                height, width = image.shape[:2]
                box = slice(2 * height // 5, 3 * height // 5), slice(2 * width // 5, 3 * width // 5)
                alpha = np.ones((box[0].stop - box[0].start, box[1].stop - box[1].start), np.float32)
            found.append(_Patch(image[box], alpha))
    return found


def _files(name: str, of: str) -> list[Path]:
    return sorted((beside("data") / name).glob(f"{of}/*.png"))


def _read(path: Path) -> Image_:
    return np.asarray(Image.open(path).convert("RGB"), np.float32)


def _middle(photograph: Image_, shown: int) -> Image_:
    """Return the middle of a photograph, so many pixels a side at most."""
    height, width = (min(side, shown) for side in photograph.shape[:2])
    top, left = (photograph.shape[0] - height) // 2, (photograph.shape[1] - width) // 2
    return photograph[top : top + height, left : left + width]


def _seen(image: Image_, rng: np.random.Generator) -> Image_:
    """Return what a sensor makes of an image."""
    return image + NOISE * rng.standard_normal(image.shape, np.float32)


def _write(path: Path, values: NDArray[np.floating]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).save(path, compress_level=1)
