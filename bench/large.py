"""Decoding large images in pieces, beside decoding them whole: processor seconds, and peak memory of a process.

python -m bench.large
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.processes import Processes, peak_memory
from bench.report import Report, start
from pipeline.images import decode, decode_mask, limits
from pipeline.views import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AIM = 2e9  # bytes of a worker: of the decoder, and of the process that holds the file beside it
NOISE = 6  # grey levels, up and down
VIEW, BOX = View((518, 518)), View((518, 518), box=(0.6, 0.75, 0.65, 0.8))
WAYS = {"pieces": VIEW, "a box": BOX, "whole": VIEW}
NO_LIMIT = 1 << 40  # pixels


@dataclass(frozen=True)
class Sizes:
    """Sides of the square images, rising, in pixels. `apart`: each is decoded in a process of its own."""

    sides: tuple[int, ...]
    apart: bool


FULL = Sizes((10_000, 20_000), apart=True)
TOY = Sizes((800, 1000), apart=False)


def picture(side: int, channels: int = 3) -> NDArray[np.uint8]:
    """Return waves with noise (side, side, channels)."""
    noise = np.random.default_rng(0).integers(-NOISE, NOISE + 1, (min(side, 1000), min(side, 1000)), np.int16)
    found, x = np.empty((side, side, channels), np.uint8), np.arange(side)
    for top in range(0, side, len(noise)):
        y = np.arange(top, min(top + len(noise), side))[:, None]
        waves = 128 + 60 * np.sin(y / 180) * np.cos(x / 230) + 40 * np.sin((y + x) / 1700)
        grey = waves + np.tile(noise, (1, -(-side // len(noise))))[: len(y), :side]
        for channel in range(channels):
            found[top : top + len(y), :, channel] = np.clip(grey + 10 * channel, 0, 255)
    return found


def write(name: str, side: int, path: str) -> None:
    """Write an image of a format."""
    import tifffile
    from PIL import Image

    if name == "mask":
        values = np.zeros((side, side), np.uint8)
        values[side // 3 : side // 3 + side // 20, side // 4 : side // 2] = 7
        Image.fromarray(values).save(path, "PNG")
    elif name == "TIFF, tiles":
        values = picture(side)
        tifffile.imwrite(path, values, photometric="rgb", tile=(256, 256), compression="zlib", maxworkers=1)
    else:
        kind, options = FORMATS[name]
        Image.fromarray(picture(side)).save(path, kind, **options)


FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "PNG": ("PNG", {"compress_level": 1}),
    "JPEG 2000, tiles": (
        "JPEG2000",
        {"tile_size": (1024, 1024), "irreversible": True, "quality_mode": "rates", "quality_layers": [20]},
    ),
}
NAMES = ("JPEG", "TIFF, tiles", "PNG", "JPEG 2000, tiles", "mask")


def read(name: str, path: str, way: str, pixels: int) -> tuple[float, int]:
    """Decode a file in one way; return processor seconds, and the most bytes of the process."""
    content = Path(path).read_bytes()
    function: Callable[..., Any] = decode_mask if name == "mask" else decode
    before, limits.WHOLE = limits.WHOLE, NO_LIMIT if way == "whole" else pixels // 2
    try:
        began = time.process_time()  # others may be at work, too
        function(content, WAYS[way], NO_LIMIT)
        return time.process_time() - began, peak_memory()
    finally:
        limits.WHOLE = before


def main(report: Report, sizes: Sizes) -> None:
    report.title("Decoding large images to 518 x 518 pixels, in pieces and whole; a box of a twentieth of each side")
    rows, peaks = list[list[str | int | float]](), dict[tuple[str, int], float]()
    with tempfile.TemporaryDirectory() as folder, Processes(sizes.apart) as call:
        for side in sizes.sides:
            for name in NAMES:
                path = Path(folder) / "image"
                call(write, name, side, str(path))
                size, cells = path.stat().st_size, list[float]()
                for way in WAYS:
                    seconds, peak = call(read, name, str(path), way, side * side)
                    cells += [seconds, peak / 1e6]
                    if way == "pieces":
                        peaks[name, side] = peak + size
                rows.append([name, side * side / 1e6, size / 1e6, *cells])
    columns = ["format", "megapixels", "MB of the file"]
    report.table("Seconds and MB at most", columns + [f"{way} {unit}" for way in WAYS for unit in ("s", "MB")], rows)
    largest = max(peak for (_, side), peak in peaks.items() if side == sizes.sides[-1])
    report.figure("memory of a worker, with the file in two processes", largest / 1e9, AIM / 1e9, " GB", most=True)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        of_largest = [row for row in rows if row[1] == sizes.sides[-1] ** 2 / 1e6]
        for shift, column, way in ((-0.2, 4, "pieces"), (0.2, 8, "whole")):
            places = [place + shift for place in range(len(of_largest))]
            axes.bar(places, [float(row[column]) for row in of_largest], 0.4, label=way)
        axes.set_xticks(range(len(of_largest)), [str(row[0]) for row in of_largest])
        axes.set(ylabel="MB at most", title=f"Decoding {of_largest[0][1]:g} megapixels")
        axes.legend()

    report.save(draw)


if __name__ == "__main__":
    start(main, FULL, TOY)
