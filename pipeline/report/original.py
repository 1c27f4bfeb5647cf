"""An image of the lake as a report needs it: its picture, and boxes of it at all its pixels."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.boxes import PixelBox, own_size, split_box
from pipeline.images import Pixels
from pipeline.images.decoder import Decode
from pipeline.report import pictures
from pipeline.report.pyramid import TILE
from pipeline.values import Values
from pipeline.views import View

# Pixels that are decoded at a time: of a large image that is no tiled TIFF each time takes as long as all of it
STRIPS = 1 << 26


class Original:
    """One image, decoded as often as it takes; `picture` (H, W, 3) is what people look at, `size` (width, height).

    Args:
        decode: what decodes, as `decode_picture` does.
        content: the image's file.
        uri: its address, which says where in the file it is.
        values: which of its values are seen.
        max_pixels: larger images are refused by their header.

    All may raise `Quarantine`.
    """

    def __init__(self, decode: Decode, content: bytes, uri: str, values: Values, max_pixels: int) -> None:
        self._decode, self._content, self._max_pixels = decode, content, max_pixels
        self._seen = View((pictures.PICTURE, pictures.PICTURE), values=values).of_box(split_box(uri)[1])
        self.picture, size = decode(content, self._seen, max_pixels)
        self.size = own_size(uri, size)

    def box(self, box: PixelBox) -> Pixels:
        """Return a box of it (H, W, 3), in its own pixels."""
        (left, top, right, bottom), (width, height) = box, self.size
        shares = (left / width, top / height, right / width, bottom / height)
        view = replace(self._seen, size=(bottom - top, right - left), box=shares)
        return self._decode(self._content, view, self._max_pixels)[0]

    def crop(self, centre: tuple[float, float], view: View) -> bytes:
        """Return a patch of a view, by its middle in shares of width and height, in its surroundings, as WebP.

        Where the view has more pixels than the picture, it is made of the original's.
        """
        high, wide = self.picture.shape[:2]
        if max(self.size) <= pictures.PICTURE or max(view.size) <= max(high, wide):
            return pictures.crop(self.picture, pictures.surroundings(centre, view, (wide, high)))
        left, top, right, bottom = pictures.surroundings(centre, view, self.size)
        inside = (max(left, 0), max(top, 0), min(right, self.size[0]), min(bottom, self.size[1]))
        x, y = inside[:2]
        return pictures.crop(self.box(inside), (left - x, top - y, right - x, bottom - y))

    def strips(self) -> Iterator[Pixels]:
        """Yield it (H, W, 3) from top to bottom, TILE rows at a time."""
        width, height = self.size
        most = max(1, STRIPS // (width * TILE)) * TILE
        for top in range(0, height, most):
            found = self.box((0, top, width, min(height, top + most)))
            yield from (found[row : row + TILE] for row in range(0, len(found), TILE))
