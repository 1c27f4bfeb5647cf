"""What a bad image does to the process that decodes it; a decoder's child imports this module."""

import ctypes
import os
import sys

import numpy as np

from pipeline.geometry import Seen
from pipeline.images import Pixels, Quarantine, Reason

_state = {"poisoned": False}


def misbehave(content: bytes, view: Seen, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
    """Do what the content says, or decode it as an image of its own brightness."""
    if _state["poisoned"]:
        os.abort()
    what, _, argument = content.partition(b" ")
    match what:
        case b"abort":
            os.write(2, b"a line before\nfree(): invalid pointer\0\n\n")
            os.abort()
        case b"segfault":
            ctypes.string_at(0)
        case b"exit":
            os._exit(3)
        case b"chatter":
            os.write(2, b"a warning\n" * 20_000)
        case b"print":
            os.write(1, b"not an answer")
        case b"bug":
            raise RuntimeError("a bug")
        case b"hang":
            if argument:  # a named pipe: opens when somebody listens
                open(argument, "wb").close()
            while True:
                pass
        case b"allocate":
            bytearray(1 << 45)
        case b"poison":
            _state["poisoned"] = True
        case b"pid":
            raise Quarantine(Reason.DAMAGED, str(os.getpid()))
        case b"modules":
            raise Quarantine(Reason.DAMAGED, " ".join(sorted(sys.modules)))
        case b"main":
            raise Quarantine(Reason.DAMAGED, str(sys.modules["__main__"].__file__))
    return np.full((*view.on((len(content), max_pixels)).size, 3), content[0], np.uint8), (len(content), max_pixels)
