"""Large images of formats that decode them whole, but at a fraction of their size: JPEG and JPEG 2000."""

import io
from collections.abc import Iterator

from PIL import Image, JpegImagePlugin

from pipeline.images import limits
from pipeline.images.pieces import Level, Piece, Region, part, size_of, too_large
from pipeline.images.stored import Stored, chosen, has_colours_of_16_bits
from pipeline.images.wide import jpeg_2000_precision, wide_values
from pipeline.values import Values


class JpegPieces:
    """A JPEG of more pixels than are decoded whole: its transform gives 1/2, 1/4 and 1/8 of its width and height.

    At full size brightness is decoded alone, and colours at half of it, as most cameras store them: one byte for a
    pixel has to be held, and not four.
    """

    lossy = narrow = True

    def __init__(self, content: bytes, image: JpegImagePlugin.JpegImageFile) -> None:
        self._content, self.size = content, image.size
        self.orientation = int(image.getexif().get(0x0112, 1))
        self._grey, layers = image.mode == "L", image.layer
        self._can_split = (
            image.mode == "RGB" and image.info.get("adobe_transform") != 0 and [n for n, *_ in layers] != [*b"RGB"]
        )
        # A progressive one is in memory, as coefficients of two bytes, before the first row is decoded
        most = max(across * down for _, across, down, _ in layers)
        pixels = image.width * image.height
        samples = sum(across * down for _, across, down, _ in layers) / most
        self._coefficients = int(2 * pixels * samples) if image.info.get("progressive") else 0

    def level(self, factor: float, exact: bool = False) -> Level:
        scale = 1 if exact else next(scale for scale in (8, 4, 2, 1) if scale <= max(factor, 1))
        width, height = size = tuple(-(-side // scale) for side in self.size)
        splits = scale == 1 and self._can_split and not exact
        held = self._coefficients + width * height * (1 if self._grey or splits else 4)
        if held > limits.HELD:
            progressive = "a progressive JPEG" if self._coefficients else "a JPEG"
            raise too_large(
                f"{self.size[0]} x {self.size[1]} pixels of {progressive} at 1/{scale} take {held:,} bytes, "
                f"{limits.HELD:,} at most are taken: store it as a tiled TIFF"
            )

        def read(values: Values, region: Region) -> Iterator[Piece]:
            stored = self._split(region) if splits else part(self._decoded(scale), region)
            for place, piece in slices(stored):
                whole = piece if values.channels is None else chosen(piece, values.channels)
                yield Piece(region.left, region.top + place, whole)

        return Level((size[0], size[1]), read, scale)

    def _decoded(self, scale: int, mode: str | None = None) -> Image.Image:
        image = Image.open(io.BytesIO(self._content), formats=("JPEG",))
        image.draft(mode or image.mode, (self.size[0] // scale, self.size[1] // scale))
        image.load()
        return image

    def _split(self, region: Region) -> Image.Image:
        brightness = part(self._decoded(1, "L"), region)
        half = Region(*(edge // 2 for edge in region[:2]), *(-(-edge // 2) for edge in region[2:]))
        colours = part(self._decoded(2, "YCbCr"), half)
        assert isinstance(brightness, Image.Image) and isinstance(colours, Image.Image), "JPEG has 8 bits"
        left, top = region.left / 2 - half.left, region.top / 2 - half.top
        box = (left, top, left + brightness.width / 2, top + brightness.height / 2)
        others = [band.resize(brightness.size, Image.Resampling.BILINEAR, box) for band in colours.split()[1:]]
        return Image.merge("YCbCr", [brightness, *others]).convert("RGB")


class Jpeg2000Pieces:
    """A JPEG 2000 of more pixels than are decoded whole: its wavelets give halves of halves."""

    lossy = False
    orientation = 1  # Pillow reads none

    def __init__(self, content: bytes, image: Image.Image) -> None:
        self._content, self.size = content, image.size
        self._halvings, tiled, self._edges = _codestream(content)
        self.narrow = not image.mode.startswith("I") and jpeg_2000_precision(content) < 16
        # In a tile, or the image that is one, each value takes four bytes
        self._bytes = 4 * (1 + (0 if tiled else len(image.getbands())))

    def level(self, factor: float, exact: bool = False) -> Level:
        halvings = 0 if exact else min(self._halvings, int(max(factor, 1)).bit_length() - 1)
        scale = 1 << halvings
        left, top, right, bottom = (-(-edge // scale) for edge in self._edges)
        width, height = right - left, bottom - top
        if (held := width * height * self._bytes) > limits.HELD:
            raise too_large(
                f"{self.size[0]} x {self.size[1]} pixels of a JPEG 2000 at 1/{scale} take {held:,} bytes, "
                f"{limits.HELD:,} at most are taken: store it as a tiled TIFF"
            )

        def read(values: Values, region: Region) -> Iterator[Piece]:
            image = Image.open(io.BytesIO(self._content), formats=("JPEG2000",))
            # As the plugin's own `reduce`, which is one pixel short where sides do not divide, and then fails
            image._size = width, height
            [tile] = image.tile
            assert isinstance(tile.args, tuple)
            args = (tile.args[0], halvings, *tile.args[2:])
            image.tile = [tile._replace(extents=(0, 0, width, height), args=args)]
            stored = wide_values(image, self._content, colours=has_colours_of_16_bits(values)) or image
            if isinstance(stored, Image.Image):
                stored.load()
            for place, piece in slices(part(stored, region)):
                whole = piece if values.channels is None else chosen(piece, values.channels)
                yield Piece(region.left, region.top + place, whole)

        # The middle of a value of a level is that of the image's pixel in whose place it stands, and no block's
        return Level((width, height), read, scale, 0.5 - 0.5 / scale)


def slices(stored: Stored) -> Iterator[tuple[int, Stored]]:
    """Yield what is stored in pieces, each with its first row."""
    width, height = size_of(stored)
    rows = max(1, limits.PIECE // max(width, 1))
    for top in range(0, height, rows):
        yield top, part(stored, Region(0, top, width, min(top + rows, height)))


def _codestream(content: bytes) -> tuple[int, bool, tuple[int, int, int, int]]:
    """Return how often the sides can be halved, whether tiles are a sixteenth at most, and the edges of the image."""
    start = content.find(b"\xff\x4f\xff\x51")  # start of the codestream, and of the sizes

    def number(place: int, length: int = 4) -> int:
        return int.from_bytes(content[place : place + length], "big")

    right, bottom, left, top, wide, high = (number(start + at) for at in range(8, 32, 4))
    tiled = 16 * wide * high <= (right - left) * (bottom - top)
    place, halvings = start + 2, 0
    while (marker := number(place, 2)) not in (0, 0xFF90):  # start of a tile
        if marker == 0xFF52:  # coding style
            halvings = content[place + 9]
        place += 2 + max(number(place + 2, 2), 2)
    return halvings, tiled, (left, top, right, bottom)
