"""From the bytes of a file to pixels, or to the reason why there are none."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from pipeline.geometry import Seen
from pipeline.images.reasons import Quarantine, Reason, unsupported
from pipeline.images.tiff import check_channels, image_pages, is_beyond_pillow, is_tiff, read_tiff, several
from pipeline.images.wide import Wide, wide_values
from pipeline.values import Values
from pipeline.views import View

# What cameras and tools write. Pillow knows many more, and hands one of them, PostScript, to a program
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
Image.MAX_IMAGE_PIXELS = None  # input.max_pixels decides
CLOCKWISE = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
SMALLEST_SIDE = 16  # pixels: smaller ones hold about one patch, and nothing to compare
NEAR_BLACK = 31  # of 255: lossy compression makes such greys of black
MOST_KINDS = 16  # a mask of more values is one of greys, with soft edges
ORIENTATION, LYING = 274, 5  # tag of EXIF, and its values from which width and height change places
LOSSY = frozenset({"JPEG", "MPO", "WEBP", "AVIF"})  # around each value lie others that nobody meant

Pixels = NDArray[np.uint8]
Kinds = NDArray[np.uint8] | NDArray[np.uint16]


def decode(content: bytes, view: Seen, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Decode a view of an image: the whole image resized to its size, as MuSc's official code does, or a box of it.

    The picture is turned upright by its EXIF tag, of 16-bit values the upper 8 of those bits are taken that count,
    transparency is dropped. The resize is bicubic with antialias and keeps no aspect ratio.

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
    with _guarded(content, max_pixels):
        image = _colours(content, view.values, max_pixels)
        width, height = image.size
        if min(width, height) < SMALLEST_SIDE:
            raise Quarantine(Reason.TOO_SMALL, f"{width} x {height} pixels, at least {SMALLEST_SIDE} a side are needed")
        seen = _seen(image, _on(view, image.size), Image.Resampling.BICUBIC)
    return np.asarray(seen), image.size


def decode_picture(content: bytes, view: Seen, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Decode an image for people to look at: as `decode` does, but with its aspect ratio, and never enlarged.

    Returns:
        pixels (H, W, 3), RGB, within the size of the view, and the (width, height) of the upright image.
    """
    with _guarded(content, max_pixels):
        picture = _colours(content, view.values, max_pixels)
        size = picture.size
        view = _on(view, size)
        if (box := view.box_on(size)) is not None:
            left, top, right, bottom = map(round, box)
            picture = picture.crop((left, top, right, bottom))
        picture.thumbnail(view.size_before_turning[::-1], Image.Resampling.BICUBIC)
        picture = _turned(picture, view, Image.Resampling.BICUBIC)
    return np.asarray(picture), size


def decode_depth(content: bytes, view: Seen, max_pixels: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Tell how many bits the values of a 16-bit image take; raises as `decode` does.

    Returns:
        the bits (1,), none (0,) of other images, which are not decoded; and the image's (width, height).
    """
    with _guarded(content, max_pixels):
        stored = _stored(content, replace(view.values, bits=None), max_pixels)
        if isinstance(stored, Image.Image):
            return np.empty(0, np.uint8), stored.size
        found = [] if stored.own else [stored.depth]
    return np.array(found, np.uint8), stored.values.shape[1::-1]


def decode_size(content: bytes, view: Seen, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Tell the (width, height) of the upright image, with no pixels (0,); raises as `decode` does."""
    with _guarded(content, max_pixels):
        try:
            image = open_image(content)
        except Quarantine:
            if not is_tiff(content):
                raise
            size = _colours(content, view.values, max_pixels).size
        else:
            _check_pixels(*image.size, max_pixels)
            lies = image.getexif().get(ORIENTATION, 1) >= LYING
            size = image.size[::-1] if lies else image.size
    return np.empty(0, np.uint8), size


def decode_mask(content: bytes, view: Seen, max_pixels: int) -> tuple[NDArray[np.uint16], tuple[int, int]]:
    """Decode a view of a mask, resized by nearest neighbour, which mixes no values.

    Args:
        content: the file, whatever its name says.
        view: what to decode of it.
        max_pixels: larger masks are refused by their header.

    Returns:
        kinds of defects (height, width) of the view, 0 for normal, and the (width, height) of the mask.

    Raises:
        Quarantine: with the reason.
        MemoryError: where memory is limited.
    """
    with _opened(content, max_pixels) as image:
        seen = _seen(Image.fromarray(_kinds(image)), _on(view, image.size), Image.Resampling.NEAREST)
    return np.asarray(seen).astype(np.uint16), image.size


def _kinds(image: Image.Image) -> Kinds:
    """Return the kind of defect of each pixel (H, W) of a mask, 0 for normal.

    At most 16 values with 0 among them name kinds, whatever they are: 0 and 1, 0 and 255, numbers of classes. Values of
    a palette are its indices, and of colours the largest channel: only black is normal. Other masks are greys, as are
    those that were compressed with loss: what is above half of full scale is anomalous, and keeps its value. Where
    nothing is, half of the largest value is the line, or 0 where even that is near black, and no trace of compression.
    """
    values = _mask_values(image)
    used = np.unique(values)
    lossy, largest = image.format in LOSSY, int(used[-1])
    if len(used) <= MOST_KINDS and used[0] == 0 and not lossy:
        return values
    line = (255 if largest <= 255 else 65535) // 2  # greys of 8 bits are kept in 16, too
    if largest <= line and (largest > NEAR_BLACK or not lossy):
        line = largest // 2 if largest > NEAR_BLACK else 0
    values = values.copy()
    values[values <= line] = 0
    return values


def _mask_values(image: Image.Image) -> Kinds:
    if image.mode.startswith("I"):  # 16 bits, and 32 that are used for them
        return np.asarray(image).clip(0, 65535).astype(np.uint16)
    if image.mode == "F":  # shares of 1, or numbers
        floats = np.nan_to_num(np.asarray(image))
        scaled: NDArray[np.uint16] = (floats * (65535 if floats.max() <= 1 else 1)).clip(0, 65535).astype(np.uint16)
        return scaled
    if image.mode == "P" and not _is_black_elsewhere(image):
        return np.asarray(image)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    channels = np.asarray(image.convert("RGBA"))
    values: NDArray[np.uint8] = channels[..., :3].max(axis=2)
    alpha = channels[..., 3]
    if alpha.min() < alpha.max():  # drawn on nothing
        values[alpha == 0] = 0
    return values


def _is_black_elsewhere(image: Image.Image) -> bool:
    """Tell whether a palette has many colours, or black, which is normal, somewhere else than in the first place."""
    used = [index for index, count in enumerate(image.histogram()) if count]
    palette = image.getpalette() or []
    black = {index for index in used if palette[3 * index : 3 * index + 3] == [0, 0, 0]}
    return len(used) > MOST_KINDS or (bool(black) and palette[:3] != [0, 0, 0])


def _on(view: Seen, image_size: tuple[int, int]) -> View:
    """Return the view of an image of (width, height); raises `Quarantine` where it has none."""
    try:
        return view.on(image_size)
    except ValueError as error:
        raise Quarantine(Reason.TOO_LARGE, str(error)) from error


def _seen(image: Image.Image, view: View, resampling: Image.Resampling) -> Image.Image:
    """Return what a view shows of an upright image: its box, brought to its size, and turned."""
    height, width = view.size_before_turning
    return _turned(image.resize((width, height), resampling, view.box_on(image.size)), view, resampling)


def _turned(image: Image.Image, view: View, resampling: Image.Resampling) -> Image.Image:
    if view.turned % 90:
        return image.rotate(-view.turned, resampling)
    return image.transpose(CLOCKWISE[view.turned]) if view.turned else image


@contextmanager
def _opened(content: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open a file of at most so many pixels; what goes wrong within the block is a `Quarantine`, too."""
    with _guarded(content, max_pixels):
        image = open_image(content)
        _check_pixels(*image.size, max_pixels)
        yield image


@contextmanager
def _guarded(content: bytes, max_pixels: int) -> Iterator[None]:
    """Make a `Quarantine` of what goes wrong when a file is decoded within the block."""
    if not content:
        raise Quarantine(Reason.EMPTY, "the file has no bytes")
    with warnings.catch_warnings(), _limit_of_pillow(max_pixels):
        warnings.simplefilter("ignore")  # Pillow's warning of a large image: max_pixels decides that here
        try:
            yield
        except (Quarantine, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise Quarantine(Reason.TOO_LARGE, _say(error)) from error
        except Exception as error:  # damage surfaces as any of a dozen types, depending on the format
            raise Quarantine(Reason.DAMAGED, _say(error)) from error


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Quarantine(Reason.TOO_LARGE, f"{width} x {height} pixels, the limit is {max_pixels} in all")


@contextmanager
def _limit_of_pillow(max_pixels: int) -> Iterator[None]:
    """Let Pillow refuse what it decodes before it tells the size, such as a picture larger than its icon says."""
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2  # refused is what has more than twice as many
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = None


def open_image(content: bytes) -> ImageFile.ImageFile:
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


def _colours(content: bytes, values: Values, max_pixels: int) -> Image.Image:
    """Return the upright image, RGB."""
    stored = _stored(content, values, max_pixels)
    image = Image.fromarray(stored.of_8_bits(values.bits)) if isinstance(stored, Wide) else stored
    ImageOps.exif_transpose(image, in_place=True)  # turned or not, it would be copied otherwise
    if image.mode == "F":
        raise unsupported("floating-point pixels have no agreed range: convert to 8 or 16 bits")
    if image.mode == "P":
        image = image.convert("RGBA")  # palettes may carry transparency; dropped by the next step
    return image if image.mode == "RGB" else image.convert("RGB")


def _stored(content: bytes, values: Values, max_pixels: int) -> Image.Image | Wide:
    """Return the image, or its upright values where they have more than 8 bits; of `values.channels` where given."""

    check_size = partial(_check_pixels, max_pixels=max_pixels)
    try:
        image = open_image(content)
    except Quarantine as error:
        if error.reason == Reason.NOT_AN_IMAGE and is_tiff(content):
            return read_tiff(content, values.channels, check_size)
        raise
    check_size(*image.size)
    image = _of_one_frame(image, content)
    if image.format == "TIFF" and is_beyond_pillow(image, values.channels is not None):
        return read_tiff(content, values.channels, check_size)
    wide = wide_values(image, content, colours=values.bits != 16 or values.channels is not None)
    return wide or image if values.channels is None else _chosen(wide or image, values.channels)


def _chosen(stored: Image.Image | Wide, channels: tuple[int, int, int]) -> Image.Image | Wide:
    """Return three channels of an image whose file has its own colours, upright."""
    if isinstance(stored, Image.Image):
        ImageOps.exif_transpose(stored, in_place=True)
        image = stored.convert("RGB") if stored.mode in ("1", "P", "YCbCr") else stored
        bands = image.split()
        check_channels(channels, len(bands))
        return image if image.mode == "F" else Image.merge("RGB", [bands[channel] for channel in channels])
    values = stored.values[..., None] if stored.values.ndim == 2 else stored.values
    check_channels(channels, values.shape[2])
    return replace(stored, values=values[..., list(channels)])


def _of_one_frame(image: ImageFile.ImageFile, content: bytes) -> ImageFile.ImageFile:
    """Return an image at its only frame; raises `Quarantine`, and what damage raises."""
    if image.format == "MPO":  # a JPEG with a second view or a preview behind it; every other kind is a stack or a film
        return image
    try:
        frames: int = getattr(image, "n_frames", 1)
    except SyntaxError:  # Pillow does not know the mode of a page behind
        if image.format != "TIFF" or (pages := image_pages(content))[1] == 1:
            raise
    else:
        if frames == 1:
            return image
        pages = image_pages(content) if image.format == "TIFF" else ([*range(frames)], frames)
    found, _ = pages
    if len(found) != 1:
        raise several(len(found))
    image = open_image(content)
    image.seek(found[0])
    return image


def _say(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
