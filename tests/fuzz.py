"""Bad and odd image files by seed: real ones of every format, then bent, cut, mixed up and lied to."""

import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from pipeline.sample.lake import samples
from tests.conftest import SHARED
from tests.corpus import HOSTILE_NAMES, encoded

SIDES = (64, 160)  # pixels: small files, so that a mutation mostly meets something that matters
ENCODINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("BMP", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("GIF", {}),
    ("JPEG2000", {}),
    ("JPEG2000", {"no_jp2": True}),
    ("AVIF", {}),
    ("ICO", {"sizes": [(64, 64)]}),
    ("ICO", {"sizes": [(64, 64)], "bitmap_format": "bmp"}),
    ("PPM", {}),
)

HEADER = 64  # bytes: where most formats keep their sizes
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Before a chunk of PNG, a segment of JPEG, a box of JPEG 2000 and AVIF, a chunk of WEBP
BORDERS = re.compile(
    rb"(?s)(?=\xff[\xc0-\xfe])|(?=....(?:I[A-Z]{3}|ftyp|jp2.|ihdr|colr|meta|hdlr|pitm|iloc|iinf|i[a-z]{3}|mdat))|(?=VP8)"
)

# What to do to a file; the second is another file to mix it with
Mutation = Callable[[bytes, bytes, random.Random], bytes]


def pictures() -> Iterator[Image.Image]:
    """Yield a few photographs: of the sample lake, and of each set of real images beside the repository."""
    for category in ("coins", "grass"):
        for sample in islice(samples(category), 2):
            yield Image.fromarray(sample.image.astype(np.uint8)).convert("RGB")
    for folder in sorted(SHARED.glob("data/*/*/test/good")):
        with Image.open(min(folder.iterdir())) as image:
            yield image.convert("RGB")


def originals(images: Iterable[Image.Image], seed: int) -> list[bytes]:
    """Return each image in each encoding, at small sizes drawn by the seed."""
    rng = random.Random(seed)
    return [
        encoded(image.resize((rng.randint(*SIDES), rng.randint(*SIDES))), kind, **options)
        for image in images
        for kind, options in ENCODINGS
    ]


def mutants(originals: Sequence[bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` files made from good ones, each with a relative path of its own that says what was done to it."""
    rng = random.Random(seed)
    for number in range(count):
        original, other = rng.choice(originals), rng.choice(originals)
        with Image.open(io.BytesIO(original)) as image:
            kind = str(image.format).lower()
        what = rng.choice(list(MUTATIONS))
        content = MUTATIONS[what](original, other, rng)
        if kind == "png" and rng.random() < 0.5:  # a wrong checksum would hide what is behind it
            what, content = f"{what}, checksums mended", with_checksums(content)
        name = f"{number:05d} {kind}, {what}"
        yield f"{name}/{rng.choice(HOSTILE_NAMES)}" if rng.random() < 0.1 else f"{name}.{kind}", content


def parts(content: bytes, rng: random.Random) -> list[bytes]:
    """Cut a file into the chunks, segments or boxes of its format; where it has none, anywhere."""
    found = BORDERS.split(content)
    if len(found) < 4:
        places = [0, *sorted(rng.randrange(len(content)) for _ in range(7)), len(content)]
        found = [content[start:stop] for start, stop in zip(places, places[1:], strict=False)]
    return found


def with_checksums(content: bytes) -> bytes:
    """Return a PNG whose chunks have the checksums of what they hold, as far as it can be followed."""
    fixed, place = bytearray(content), 8
    while place + 12 <= len(fixed):
        end = place + 8 + struct.unpack_from(">I", fixed, place)[0]
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


def _flip(bits: int) -> Mutation:
    def flip(content: bytes, _: bytes, rng: random.Random) -> bytes:
        bent = bytearray(content)
        for _number in range(bits):
            bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
        return bytes(bent)

    return flip


def _cut(content: bytes, _: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _drop(content: bytes, _: bytes, rng: random.Random) -> bytes:
    found = parts(content, rng)
    del found[rng.randrange(len(found))]
    return b"".join(found)


def _double(content: bytes, _: bytes, rng: random.Random) -> bytes:
    found = parts(content, rng)
    found.insert(rng.randrange(len(found)), rng.choice(found))
    return b"".join(found)


def _swap(content: bytes, _: bytes, rng: random.Random) -> bytes:
    found = parts(content, rng)
    one, other = rng.sample(range(len(found)), 2)
    found[one], found[other] = found[other], found[one]
    return b"".join(found)


def _lie(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """Write an extreme number into the header, or to where a part begins with its length."""
    starts = [0]
    for part in parts(content, rng)[:-1]:
        starts.append(starts[-1] + len(part))
    place = rng.choice([rng.randrange(HEADER), rng.choice(starts) + rng.randrange(8)])
    value, order = rng.choice(EXTREMES), rng.choice("<>")
    form = "B" if value <= 0xFF else "H" if value <= 0xFFFF else "I"
    wide = form if rng.random() < 0.5 else "I"
    number = struct.pack(order + wide, value)
    return content[:place] + number + content[place + len(number) :]


def _fill(value: bytes) -> Mutation:
    def fill(content: bytes, _: bytes, rng: random.Random) -> bytes:
        start, length = rng.randrange(len(content)), rng.choice((4, 64, 1024))
        return content[:start] + value * length + content[start + length :]

    return fill


def _splice(content: bytes, other: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))] + other[rng.randrange(len(other)) :]


def _append(content: bytes, other: bytes, rng: random.Random) -> bytes:
    return content + rng.choice((other, rng.randbytes(5000)))


def _magic(content: bytes, other: bytes, rng: random.Random) -> bytes:
    length = rng.choice((2, 4, 8, 12))
    return other[:length] + content[length:]


MUTATIONS: dict[str, Mutation] = {
    "1 bit flipped": _flip(1),
    "10 bits flipped": _flip(10),
    "100 bits flipped": _flip(100),
    "cut off": _cut,
    "part lost": _drop,
    "part twice": _double,
    "parts swapped": _swap,
    "extreme number": _lie,
    "run of zeros": _fill(b"\0"),
    "run of ones": _fill(b"\xff"),
    "spliced": _splice,
    "garbage behind": _append,
    "wrong magic": _magic,
}
