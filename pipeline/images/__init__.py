"""From the bytes of a file to pixels, or to the reason why there are none."""

from pipeline.images.pixels import (
    Pixels,
    Quarantine,
    Reason,
    decode,
    decode_mask,
    decode_picture,
    image_stats,
    open_image,
)

__all__ = [
    "Pixels",
    "Quarantine",
    "Reason",
    "decode",
    "decode_mask",
    "decode_picture",
    "image_stats",
    "open_image",
]
