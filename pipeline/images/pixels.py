"""From the bytes of a file to pixels, or to the reason why there are none."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.views import View

# What cameras and tools write. Pillow knows many more, and hands one of them, PostScript, to a program
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
Image.MAX_IMAGE_PIXELS = None  # input.max_pixels decides
CLOCKWISE = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
SMALLEST_SIDE = 16  # pixels: smaller ones hold about one patch, and nothing to compare

Pixels = NDArray[np.uint8]


class Reason(StrEnum):
    """Why an image has no score. The list is fixed: dashboards count by it."""

    FORBIDDEN = "forbidden"
    UNREADABLE = "unreadable"
    CHANGED = "changed"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    DAMAGED = "damaged"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"
    SEVERAL_FRAMES = "several_frames"
    UNSUPPORTED_MODE = "unsupported_mode"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_FINITE = "not_finite"
    ALONE = "alone"


class Quarantine(Exception):
    """An image that cannot be scored: the reason for counting, and a detail for the person who looks."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def decode(content: bytes, view: View, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Decode a view of an image: the whole image resized to its size, as MuSc's official code does, or a box of it.

    The picture is turned upright by its EXIF tag, 16-bit greys are scaled by 1/257, transparency is dropped.
    The resize is bicubic with antialias and keeps no aspect ratio.

    Args:
        content: the file, whatever its name says.
        view: what to decode of it.
        max_pixels: larger images are refused by their header.

    Returns:
        pixels (height, width, 3) of the view, RGB, and the (width, height) of the upright image.

    Raises:
        Quarantine: with the reason.
        MemoryError: where memory is limited.
    """
    with _opened(content, max_pixels) as image:
        width, height = image.size
        if min(width, height) < SMALLEST_SIDE:
            raise Quarantine(Reason.TOO_SMALL, f"{width} x {height} pixels, at least {SMALLEST_SIDE} a side are needed")
        # MPO is a JPEG with a second view or a preview behind it; every other kind is a stack or a film
        frames: int = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        if frames > 1:
            raise Quarantine(Reason.SEVERAL_FRAMES, f"{frames} frames: store each as an image of its own")
        ImageOps.exif_transpose(image, in_place=True)  # turned or not, it would be copied otherwise
        seen = _seen(_to_rgb(image), view, Image.Resampling.BICUBIC)
    return np.asarray(seen), image.size


def decode_picture(content: bytes, view: View, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Decode an image for people to look at: as `decode` does, but with its aspect ratio, and never enlarged.

    Returns:
        pixels (H, W, 3), RGB, within the size of the view, and the (width, height) of the upright image.
    """
    with _opened(content, max_pixels) as image:
        ImageOps.exif_transpose(image, in_place=True)
        size = image.size
        picture = _to_rgb(image)
        if (box := view.box_on(size)) is not None:
            left, top, right, bottom = map(round, box)
            picture = picture.crop((left, top, right, bottom))
        picture.thumbnail(view.size_before_turning[::-1], Image.Resampling.BICUBIC)
        picture = _turned(picture, view)
    return np.asarray(picture), size


def decode_mask(content: bytes, view: View, max_pixels: int) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Decode a view of a mask, resized by nearest neighbour, which mixes no values.

    Args:
        content: the file, whatever its name says.
        view: what to decode of it.
        max_pixels: larger masks are refused by their header.

    Returns:
        grey values (height, width) of the view from 0 to 255, fractions where the mask has 16 bits, and the
        (width, height) of the mask.

    Raises:
        Quarantine: with the reason.
        MemoryError: where memory is limited.
    """
    with _opened(content, max_pixels) as image:
        wide = image.mode.startswith("I")  # 16 bits: Pillow's own conversion to 8 clips at 255
        grey = image if wide else image.convert("L")
        values = np.asarray(_seen(grey, view, Image.Resampling.NEAREST)).astype(np.float32)
    return values / np.float32(257) if wide else values, image.size


def _seen(image: Image.Image, view: View, resampling: Image.Resampling) -> Image.Image:
    """Return what a view shows of an upright image: its box, brought to its size, and turned."""
    height, width = view.size_before_turning
    return _turned(image.resize((width, height), resampling, view.box_on(image.size)), view)


def _turned(image: Image.Image, view: View) -> Image.Image:
    return image.transpose(CLOCKWISE[view.turned]) if view.turned else image


@contextmanager
def _opened(content: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open a file of at most so many pixels; what goes wrong within the block is a `Quarantine`, too."""
    if not content:
        raise Quarantine(Reason.EMPTY, "the file has no bytes")
    with warnings.catch_warnings(), _limit_of_pillow(max_pixels):
        warnings.simplefilter("ignore")  # Pillow's warning of a large image: max_pixels decides that here
        image = open_image(content)
        width, height = image.size
        if width * height > max_pixels:
            raise Quarantine(Reason.TOO_LARGE, f"{width} x {height} pixels, the limit is {max_pixels} in all")
        try:
            yield image
        except (Quarantine, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise Quarantine(Reason.TOO_LARGE, _say(error)) from error
        except Exception as error:  # damage surfaces as any of a dozen types, depending on the format
            raise Quarantine(Reason.DAMAGED, _say(error)) from error


@contextmanager
def _limit_of_pillow(max_pixels: int) -> Iterator[None]:
    """Let Pillow refuse what it decodes before it tells the size, such as a picture larger than its icon says."""
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2  # refused is what has more than twice as many
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = None


def open_image(content: bytes) -> Image.Image:
    """Open an image by its content and check what can be checked before decoding; raises as `decode` does."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Quarantine(Reason.TOO_LARGE, _say(error)) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow: UnidentifiedImageError, but OSError, ValueError, SyntaxError too
        raise Quarantine(Reason.NOT_AN_IMAGE, "no known image format") from error
    if image.format == "PNG":
        # Pillow decodes a PNG whose end is missing and fills it with black; only verify() reads every checksum
        try:
            Image.open(io.BytesIO(content), formats=("PNG",)).verify()
        except MemoryError:
            raise
        except Exception as error:  # of any type, as above
            raise Quarantine(Reason.DAMAGED, _say(error)) from error
    return image


def image_stats(pixels: Pixels) -> tuple[float, float, float]:
    """Return brightness, contrast and sharpness of pixels (H, W, 3), in shares of full scale.

    These are mean and standard deviation of the grey values, and the mean difference of neighbours: a lamp that fails
    and a lens that lost its focus show in them before they show in scores.
    """
    grey = pixels.astype(np.float32) @ np.full(3, 1 / (3 * 255), np.float32)  # seven times as fast as mean(axis=2)
    edges = (np.abs(np.diff(grey, axis=axis)).mean(dtype=np.float64) for axis in (0, 1))
    return float(grey.mean(dtype=np.float64)), float(grey.std(dtype=np.float64)), float(np.mean(list(edges)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # I;16, I;16B: 16-bit greys; I: 32-bit, used for 16-bit files too
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise Quarantine(Reason.UNSUPPORTED_MODE, f"32-bit greys from {grey.min()} to {grey.max()}")
        image = Image.fromarray((grey / 257).round().astype(np.uint8))
    elif image.mode == "F":
        raise Quarantine(Reason.UNSUPPORTED_MODE, "floating-point pixels have no agreed range: convert to 8 or 16 bits")
    elif image.mode == "P":
        image = image.convert("RGBA")  # palettes may carry transparency; dropped by the next step
    return image if image.mode == "RGB" else image.convert("RGB")


def _say(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
