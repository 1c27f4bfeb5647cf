"""Which kind of defect each pixel of a mask is."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.images.reasons import unsupported
from pipeline.images.stored import Stored
from pipeline.images.wide import Wide

NEAR_BLACK = 31  # of 255: lossy compression makes such greys of black
MOST_KINDS = 16  # a mask of more values is one of greys, with soft edges
CLEAR = 256  # added to the key of a colour that is fully transparent
LOSSY = frozenset({"JPEG", "MPO", "WEBP", "AVIF"})  # around each value lie others that nobody meant

Kinds = NDArray[np.uint8] | NDArray[np.uint16]


def kinds_of(image: Image.Image) -> Kinds:
    """Return the kind of defect of each pixel (H, W) of a mask, 0 for normal.

    At most 16 values with 0 among them name kinds, whatever they are: 0 and 1, 0 and 255, numbers of classes. Values of
    a palette are its indices, and of colours the largest channel: only black is normal. Other masks are greys, as are
    those that were compressed with loss: what is above half of full scale is anomalous, and keeps its value. Where
    nothing is, half of the largest value is the line, or 0 where even that is near black, and no trace of compression.
    """
    values = _mask_values(image)
    line = _line(np.unique(values), image.format in LOSSY)
    if line is None:
        return values
    values = values.copy()
    values[values <= line] = 0
    return values


class Census:
    """The values of a mask that is seen in pieces: what `kinds_of` makes of them is known after the last one.

        census = Census(lossy=False)
        keys = [census.add(piece) for piece in pieces]
        kinds = [census.kinds()[key] for key in keys]

    Args:
        lossy: whether it was compressed with loss.
    """

    def __init__(self, lossy: bool) -> None:
        self._lossy, self._counts = lossy, np.zeros(1 << 16, np.int64)
        self._alpha, self._coloured, self._indexed = set[int](), False, False
        self._strip = Image.new("P", (256, 1))  # all indices of a palette, one pixel each

    def add(self, stored: Stored) -> Kinds:
        """Return a key for each pixel (H, W) of a piece; raises `Quarantine` of values that need all pieces at once."""
        keys = self._keys(stored)
        self._counts += np.bincount(keys.ravel(), minlength=len(self._counts))
        return keys

    def kinds(self) -> Kinds:
        """Return the kind of defect of each key."""
        keys = np.flatnonzero(self._counts)
        kinds = np.arange(len(self._counts)).astype(np.uint16)
        if self._indexed and _is_black_elsewhere(keys.tolist(), self._strip.getpalette() or []):
            colours = np.asarray(self._strip.convert("RGBA"))[0]
            self._alpha = set(colours[keys[keys < len(colours)], 3].tolist())
            kinds[: len(colours)] = colours[:, :3].max(axis=1) | np.where(colours[:, 3] == 0, CLEAR, 0)
            self._coloured = True
        if self._coloured:
            drawn = len(self._alpha) > 1  # on nothing
            kinds = np.where(kinds & CLEAR, 0 if drawn else kinds & 255, kinds & 255).astype(np.uint16)
        line = _line(np.unique(kinds[keys]), self._lossy)
        if line is not None:
            kinds[kinds <= line] = 0
        return kinds

    def _keys(self, stored: Stored) -> Kinds:
        if isinstance(stored, Wide):
            values = stored.values if stored.values.ndim == 2 else stored.values.max(axis=2)
            return values.clip(0, 65535).astype(np.uint16)
        if stored.mode == "F":
            raise unsupported("floating-point values of a mask of so many pixels: store it in 8 bits")
        if stored.mode == "P":
            if not self._indexed:
                self._indexed, self._strip = True, stored.crop((0, 0, 256, 1))
                self._strip.putdata(range(256))
            return np.asarray(stored)
        if stored.mode in ("1", "L"):
            return np.asarray(stored.convert("L"))
        self._coloured = True
        channels = np.asarray(stored.convert("RGBA"))
        alpha = channels[..., 3]
        self._alpha |= {int(alpha.min()), int(alpha.max())}
        keys: NDArray[np.uint16] = channels[..., :3].max(axis=2) | np.where(alpha == 0, CLEAR, 0).astype(np.uint16)
        return keys


def _line(used: NDArray[Any], lossy: bool) -> int | None:
    """Return up to which value a mask that has these is normal; None where each names a kind."""
    largest = int(used[-1])
    if len(used) <= MOST_KINDS and used[0] == 0 and not lossy:
        return None
    line = (255 if largest <= 255 else 65535) // 2  # greys of 8 bits are kept in 16, too
    if largest <= line and (largest > NEAR_BLACK or not lossy):
        line = largest // 2 if largest > NEAR_BLACK else 0
    return line


def _mask_values(image: Image.Image) -> Kinds:
    if image.mode.startswith("I"):  # 16 bits, and 32 that are used for them
        return np.asarray(image).clip(0, 65535).astype(np.uint16)
    if image.mode == "F":  # shares of 1, or numbers
        floats = np.nan_to_num(np.asarray(image))
        scaled: NDArray[np.uint16] = (floats * (65535 if floats.max() <= 1 else 1)).clip(0, 65535).astype(np.uint16)
        return scaled
    if image.mode == "P":
        used = [index for index, count in enumerate(image.histogram()) if count]
        if not _is_black_elsewhere(used, image.getpalette() or []):
            return np.asarray(image)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    channels = np.asarray(image.convert("RGBA"))
    values: NDArray[np.uint8] = channels[..., :3].max(axis=2)
    alpha = channels[..., 3]
    if alpha.min() < alpha.max():  # drawn on nothing
        values[alpha == 0] = 0
    return values


def _is_black_elsewhere(used: list[int], palette: list[int]) -> bool:
    """Tell whether a palette has many colours, or black, which is normal, somewhere else than in the first place."""
    black = {index for index in used if palette[3 * index : 3 * index + 3] == [0, 0, 0]}
    return len(used) > MOST_KINDS or (bool(black) and palette[:3] != [0, 0, 0])
