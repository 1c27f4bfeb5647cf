"""Files of every kind that a lake may hold, made byte by byte, and hostile names to store them under."""

import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipeline.images import Reason

WIDTH, HEIGHT = 64, 40

# Top left, top right, bottom left, bottom right: a turn, a mirror or a swap of channels shows in one look
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
GREYS_16 = (65535, 32768, 0, 2570)

# Globs, queries, fragments, escapes and chains of fsspec, shells and URLs; none may mean anything here
HOSTILE_NAMES = (
    "with space.png",
    "größe 大.png",
    "hash#1.png",
    "per%20cent.png",
    "line\nbreak.png",
    "what?.png",
    "star*.png",
    "[bracket].png",
    "{brace,other}.png",
    "-leading-dash.png",
    "~tilde.png",
    "$HOME.png",
    "back\\slash.png",
    "quote'\".png",
    "zip::chain.png",
    "http:colon.png",
    "tab\t.png",
    " blanks around .png ",
    "a" * 251 + ".png",
)


def quadrants(values: Any, dtype: Any = np.uint8) -> NDArray[Any]:
    """Return an image (HEIGHT, WIDTH, ...) of four areas with these four values."""
    top_left, top_right, bottom_left, bottom_right = np.asarray(values, dtype)
    picture = np.empty((HEIGHT, WIDTH, *top_left.shape), dtype)
    picture[: HEIGHT // 2, : WIDTH // 2], picture[: HEIGHT // 2, WIDTH // 2 :] = top_left, top_right
    picture[HEIGHT // 2 :, : WIDTH // 2], picture[HEIGHT // 2 :, WIDTH // 2 :] = bottom_left, bottom_right
    return picture


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image as a file of a kind that Pillow writes."""
    sink = io.BytesIO()
    image.copy().save(sink, kind, **options)  # saving as JPEG leaves traces in the image that break a later TIFF
    return sink.getvalue()


def png(width: int, height: int, depth: int, colour: int, scanlines: bytes) -> bytes:
    """Return a PNG with a header that may claim anything; each scanline begins with its filter byte."""
    return _png(width, height, depth, colour, zlib.compress(scanlines))


def bomb(side: int) -> bytes:
    """Return a black PNG of side x side pixels, a multiple of 1,000: its rows are compressed once, and repeated."""
    rows = bytes(1000 * (1 + -(-side // 8)))
    compress = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block, sum_of_all = compress.compress(rows) + compress.flush(zlib.Z_FULL_FLUSH), 1
    for _ in range(side // 1000):
        sum_of_all = zlib.adler32(rows, sum_of_all)
    return _png(side, side, 1, 0, b"\x78\xda" + block * (side // 1000) + b"\3\0" + struct.pack(">I", sum_of_all))


def _png(width: int, height: int, depth: int, colour: int, compressed: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = [(b"IHDR", header), (b"IDAT", compressed), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in body)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_files(folder: Path, *names: str, content: bytes = b"not looked into") -> Path:
    """Write the same content under each name, with the folders it needs, and return the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def _second_page_at(content: bytes, place: int) -> bytes:
    """Let the first directory of a little-endian TIFF claim that the next one lies at `place`."""
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    pointer = first + 2 + 12 * tags
    return content[:pointer] + struct.pack("<I", place) + content[pointer + 4 :]


def _cut_in_second_frame(film: bytes) -> bytes:
    """Cut a GIF within the descriptor of its second frame, where listing the frames already fails."""
    return film[: film.index(b"\x2c", film.index(b"\x2c") + 1) + 5]


_COLOURS = (RED, GREEN, BLUE, WHITE)
_PICTURE = Image.fromarray(quadrants(_COLOURS))
_NOISE = Image.fromarray(np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
_PALETTE = _PICTURE.convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
_TURNED = Image.Exif()
_TURNED[0x0112] = 6  # orientation: turn a quarter clockwise to see it upright
_STACK = {"save_all": True, "append_images": [_NOISE]}

_PNG, _JPEG = encoded(_PICTURE, "PNG"), encoded(_PICTURE, "JPEG", quality=95)
_NOISE_PNG, _NOISE_JPEG = encoded(_NOISE, "PNG"), encoded(_NOISE, "JPEG")
_STACK_TIFF, _FILM_GIF = encoded(_PICTURE, "TIFF", **_STACK), encoded(_PICTURE, "GIF", **_STACK)
_GREYS = quadrants(GREYS_16, np.uint16)
_RGB_16 = quadrants(_COLOURS, ">u2") * 257

# name -> (content, why it cannot be scored at the default settings, or None)
CORPUS: dict[str, tuple[bytes, Reason | None]] = {
    "good.png": (_PNG, None),
    "good.jpg": (_JPEG, None),
    "good.bmp": (encoded(_PICTURE, "BMP"), None),
    "good.tif": (encoded(_PICTURE, "TIFF"), None),
    "good_lzw.tif": (encoded(_PICTURE, "TIFF", compression="tiff_lzw"), None),
    "good.webp": (encoded(_PICTURE, "WEBP", lossless=True), None),
    "good_one_frame.gif": (encoded(_PICTURE, "GIF"), None),
    "good.ico": (encoded(_PICTURE, "ICO", sizes=[(WIDTH, HEIGHT)]), None),
    "progressive.jpg": (encoded(_PICTURE, "JPEG", quality=95, progressive=True), None),
    "png_content.jpg": (_PNG, None),
    "no_extension": (_PNG, None),
    "grey_16.png": (encoded(Image.fromarray(_GREYS), "PNG"), None),
    "grey_16.tif": (encoded(Image.fromarray(_GREYS), "TIFF"), None),
    "grey_16_big_endian.tif": (encoded(Image.fromarray(_GREYS.astype(">u2")), "TIFF"), None),
    "grey_32_in_range.tif": (encoded(Image.fromarray(_GREYS.astype(np.int32)), "TIFF"), None),
    "rgb_16.png": (png(WIDTH, HEIGHT, 16, 2, b"".join(b"\0" + line.tobytes() for line in _RGB_16)), None),
    "cmyk.jpg": (encoded(_PICTURE.convert("CMYK"), "JPEG", quality=95), None),
    "palette_transparent.png": (encoded(_PALETTE, "PNG", transparency=0), None),
    "rgba.png": (encoded(Image.fromarray(np.dstack([quadrants(_COLOURS), quadrants((255, 128, 0, 64))])), "PNG"), None),
    "la.png": (encoded(Image.fromarray(quadrants([(250, 255), (100, 0), (0, 128), (30, 9)]), "LA"), "PNG"), None),
    "one_bit.png": (encoded(Image.fromarray(quadrants((255, 0, 0, 255))).convert("1"), "PNG"), None),
    "turned.jpg": (encoded(_PICTURE, "JPEG", quality=95, exif=_TURNED), None),
    "stereo.mpo": (encoded(_PICTURE, "MPO", quality=95, **_STACK), None),
    "colour_profile.png": (
        encoded(_PICTURE, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
        None,
    ),
    "garbage_appended.jpg": (_JPEG + b"garbage" * 200, None),
    "hostile_comment.jpg": (encoded(_PICTURE, "JPEG", quality=95, comment=b"\xff\xd9\0<script>%s\n" * 500), None),
    "broken_exif.jpg": (encoded(_PICTURE, "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"), None),
    "empty.png": (b"", Reason.EMPTY),
    "text.png": (b"see the other folder\n", Reason.NOT_AN_IMAGE),
    "web_page.png": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", Reason.NOT_AN_IMAGE),
    "random_bytes.png": (np.random.default_rng(1).bytes(3000), Reason.NOT_AN_IMAGE),
    "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="40"/>', Reason.NOT_AN_IMAGE),
    "document.jpg": (encoded(_PICTURE, "PDF"), Reason.NOT_AN_IMAGE),
    "compressed.png": (gzip.compress(_PNG, mtime=0), Reason.NOT_AN_IMAGE),
    "signature_only.png": (_PNG[:8], Reason.NOT_AN_IMAGE),
    "cut_before_its_size.jpg": (_JPEG[: _JPEG.index(b"\xff\xc0")], Reason.NOT_AN_IMAGE),
    "header_only.jpg": (_JPEG[: _JPEG.index(b"\xff\xda") + 14], Reason.DAMAGED),
    "cut_in_the_middle.png": (_NOISE_PNG[: len(_NOISE_PNG) // 2], Reason.DAMAGED),
    "without_its_end.png": (_NOISE_PNG[:-12], Reason.DAMAGED),
    "flipped_byte.png": (_flip(_NOISE_PNG, len(_NOISE_PNG) // 2), Reason.DAMAGED),
    "cut_in_the_middle.jpg": (_NOISE_JPEG[: len(_NOISE_JPEG) // 2], Reason.DAMAGED),
    "cut_in_the_middle.bmp": (encoded(_NOISE, "BMP")[:4000], Reason.DAMAGED),
    "cut_in_the_middle.tif": (encoded(_NOISE, "TIFF")[:4000], Reason.DAMAGED),
    "cut_in_the_middle.gif": (encoded(_NOISE, "GIF")[:2000], Reason.DAMAGED),
    "broken_second_page.tif": (_second_page_at(_STACK_TIFF, 200), Reason.DAMAGED),
    "cut_in_second_frame.gif": (_cut_in_second_frame(_FILM_GIF), Reason.DAMAGED),
    "film.gif": (_FILM_GIF, Reason.SEVERAL_FRAMES),
    "film.png": (encoded(_PICTURE, "PNG", **_STACK), Reason.SEVERAL_FRAMES),
    "film.webp": (encoded(_PICTURE, "WEBP", **_STACK), Reason.SEVERAL_FRAMES),
    "stack.tif": (_STACK_TIFF, Reason.SEVERAL_FRAMES),
    "grey_32_out_of_range.tif": (
        encoded(Image.fromarray(_GREYS.astype(np.int32) * 40), "TIFF"),
        Reason.UNSUPPORTED_MODE,
    ),
    "grey_32_negative.tif": (encoded(Image.fromarray(_GREYS.astype(np.int32) - 1), "TIFF"), Reason.UNSUPPORTED_MODE),
    "float.tif": (encoded(Image.fromarray(_GREYS.astype(np.float32)), "TIFF"), Reason.UNSUPPORTED_MODE),
    "one_pixel.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), Reason.TOO_SMALL),
    "line.png": (encoded(Image.new("RGB", (5000, 15)), "PNG"), Reason.TOO_SMALL),
    "bomb_in_the_header.png": (png(60_000, 60_000, 8, 2, bytes(100)), Reason.TOO_LARGE),
    "bomb.png": (bomb(32_000), Reason.TOO_LARGE),
}


_BOMB = zlib.compress(bytes(30 << 20), 9)  # 30 MB in 30 kB
_DIRECTORY = [(256, 1, WIDTH), (257, 1, HEIGHT), (258, 1, 8), (259, 1, 1), (262, 1, 1), (278, 1, HEIGHT)]
_STRIP = [(273, 1, 8), (279, 1, WIDTH * HEIGHT)]


def _png_with(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    """Return the good PNG with one chunk more behind its header."""
    head = struct.pack(">I", len(content) if length is None else length) + kind
    return _PNG[:33] + head + content + struct.pack(">I", zlib.crc32(kind + content)) + _PNG[33:]


def _tiff(*tags: tuple[int, int, int]) -> bytes:
    """Return a grey TIFF of tags (number, how many values, value) and no pixels."""
    entries = b"".join(struct.pack("<HHII", number, 4, count, value) for number, count, value in sorted(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


def icon(content: bytes) -> bytes:
    """Return an icon that holds anything, and says that it is a picture of 32 x 32 pixels."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(content), 22) + content


def _gif(canvas: tuple[int, int], frame: tuple[int, int]) -> bytes:
    parts = struct.pack("<HHBBB", *canvas, 0x80, 0, 0) + bytes(6) + b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0)
    return b"GIF89a" + parts + b"\2\2\x44\1\0;"


def _archive(content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("good.png", content)
    return sink.getvalue()


# What grows when it is opened, and what is something else than its name says
TRICKS = {
    "text of 30 MB in a PNG": _png_with(b"zTXt", b"k\0\0" + _BOMB),
    "international text of 30 MB in a PNG": _png_with(b"iTXt", b"k\0\1\0\0\0" + _BOMB),
    "colour profile of 30 MB in a PNG": _png_with(b"iCCP", b"k\0\0" + _BOMB),
    "chunk that claims 2 GB": _png_with(b"tEXt", b"k\0", length=(1 << 31) - 1),
    "TIFF of two thousand million strips": _tiff(*_DIRECTORY, (273, 0x7FFFFFFF, 8), (279, 0x7FFFFFFF, 8)),
    "TIFF with a tag of 8 GB": _tiff(*_DIRECTORY, *_STRIP, (700, 0x7FFFFFFF, 8)),
    "TIFF of 65,535 tags": _tiff(*[(256, 1, WIDTH)] * 65_535),
    "TIFF of 60,000 samples a pixel": _tiff(*_DIRECTORY, *_STRIP, (277, 1, 60_000)),
    "deflated TIFF of 9 megapixels": encoded(Image.new("L", (3000, 3000)), "TIFF", compression="tiff_adobe_deflate"),
    "GIF of a huge canvas": _gif((65_535, 65_535), (1, 1)),
    "GIF of a huge frame": _gif((WIDTH, HEIGHT), (65_535, 65_535)),
    "WebP of a huge canvas": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\x3f\0\xff\x3f\0",
    "WebP of a huge picture": b"RIFF\x11\0\0\0WEBPVP8L\x05\0\0\0\x2f" + struct.pack("<IB", 0x0FFFFFFF, 0),
    "PPM of a huge header": b"P6 " + b"9" * 100_000 + b" 1 255\n",
    "BMP of a huge size": b"BM" + struct.pack("<IHHIIiiHH24x", 54, 0, 0, 54, 40, 2_000_000_000, -(1 << 31), 1, 24),
    "icon of an icon": icon(encoded(Image.new("RGBA", (32, 32)), "ICO")),
    "icon of a bomb": icon(CORPUS["bomb.png"][0]),
    "archive": _archive(_PNG),
    "SVG that asks for a file": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "PDF": encoded(_PICTURE, "PDF"),
    "PostScript": encoded(_PICTURE, "EPS"),
}
