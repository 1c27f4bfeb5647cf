"""What is stored in the file of an image: opened by its content, checked by its header, one frame of it."""

import io
from dataclasses import replace
from functools import partial

from PIL import Image, ImageFile, ImageOps

from pipeline.images import limits
from pipeline.images.reasons import Quarantine, Reason, say, unsupported
from pipeline.images.tiff import check_channels, image_pages, is_beyond_pillow, is_tiff, read_tiff, several
from pipeline.images.wide import Wide, wide_values
from pipeline.values import Values

# What cameras and tools write. Pillow knows many more, and hands one of them, PostScript, to a program
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
Stored = Image.Image | Wide


def open_image(content: bytes) -> ImageFile.ImageFile:
    """Open an image by its content and check what can be checked before decoding; raises as `decode` does."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise too_many(error) from error
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
            raise Quarantine(Reason.DAMAGED, say(error)) from error
    return image


def stored_in(content: bytes, values: Values, max_pixels: int) -> Stored:
    """Return the image, or its upright values where they have more than 8 bits; of `values.channels` where given."""
    check_size = partial(check_pixels, max_pixels=max_pixels)
    try:
        image = open_image(content)
    except Quarantine as error:
        if error.reason == Reason.NOT_AN_IMAGE and is_tiff(content):
            return read_tiff(content, values.channels, check_size)
        raise
    check_size(*image.size)
    image = _of_one_frame(image, content)
    check_size(*image.size)
    if image.format == "TIFF" and is_beyond_pillow(image, values.channels is not None):
        return read_tiff(content, values.channels, check_size)
    return interpreted(image, content, values)


def interpreted(image: ImageFile.ImageFile, content: bytes, values: Values) -> Stored:
    """Return an opened image, or its upright values where they have more than 8 bits; of `values.channels`."""
    stored = wide_values(image, content, has_colours_of_16_bits(values)) or image
    return stored if values.channels is None else chosen(stored, values.channels)


def has_colours_of_16_bits(values: Values) -> bool:
    """Tell whether all bits of 16-bit colours are asked for, and not their upper 8 alone."""
    return values.bits != 16 or values.channels is not None


def chosen(stored: Stored, channels: tuple[int, int, int]) -> Stored:
    """Return three channels of an image whose file has its own colours, upright; raises `Quarantine`."""
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


def rgb(image: Image.Image) -> Image.Image:
    """Return an image of values of 8 bits as RGB; raises `Quarantine`."""
    if image.mode == "F":
        raise unsupported("floating-point pixels have no agreed range: convert to 8 or 16 bits")
    if image.mode == "P":
        image = image.convert("RGBA")  # palettes may carry transparency; dropped by the next step
    return image if image.mode == "RGB" else image.convert("RGB")


def too_many(error: Image.DecompressionBombError) -> Quarantine:
    """Return why an image is refused of which Pillow says that it has more pixels than it may decode."""
    found = say(error).partition(", could be")[0]
    if Image.MAX_IMAGE_PIXELS == limit_of_pillow(limits.WHOLE):
        found += "; only JPEG, JPEG 2000, PNG and TIFF may have more"
    return Quarantine(Reason.TOO_LARGE, found)


def limit_of_pillow(max_pixels: int) -> int:
    """Return what MAX_IMAGE_PIXELS is where so many are allowed: it refuses what has more than twice as many."""
    return (max_pixels + 1) // 2


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Quarantine(Reason.TOO_LARGE, f"{width} x {height} pixels, the limit is {max_pixels} in all")
