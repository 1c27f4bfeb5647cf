"""From the bytes of a file to pixels, or to the reason why there are none."""

from pipeline.images.pixels import (
    Pixels,
    decode,
    decode_depth,
    decode_mask,
    decode_picture,
    decode_size,
    image_stats,
)
from pipeline.images.reasons import Quarantine, Reason
from pipeline.images.stored import open_image

__all__ = [
    "Pixels",
    "Quarantine",
    "Reason",
    "decode",
    "decode_depth",
    "decode_mask",
    "decode_picture",
    "decode_size",
    "image_stats",
    "open_image",
]
