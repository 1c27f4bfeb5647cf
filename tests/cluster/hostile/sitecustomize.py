"""Put on PYTHONPATH, this makes the decoder's child process crash, or hang, on images that say so in their first bytes.

No image is known that does it to the versions that are pinned; this is what the next one will do.
"""

import os
import sys
import time

if "pipeline.images.decoder" in sys.orig_argv:
    from pipeline.images import pixels

    really_decode = pixels.decode

    def decode(content, view, max_pixels):  # type: ignore[no-untyped-def]
        if content.startswith(b"crash"):
            os.abort()
        if content.startswith(b"hang"):
            while True:
                time.sleep(1)
        return really_decode(content, view, max_pixels)

    decode.__module__, decode.__qualname__ = "pipeline.images.pixels", "decode"
    pixels.decode = decode
