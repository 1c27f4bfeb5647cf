"""An image of the lake, by boxes: the pixels of the file, and crops that show them."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.boxes import PixelBox, box_uri
from pipeline.geometry import Geometry
from pipeline.images import decode_picture, limits, pixels
from pipeline.report import original, pictures
from pipeline.report.original import Original
from pipeline.report.pyramid import TILE
from pipeline.values import USUAL, Values
from pipeline.views import View

SIZE = (2100, 1500)  # width and height


def photograph() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)


def stored(pixels: NDArray[np.uint8]) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "png", compress_level=1)
    return sink.getvalue()


def opened(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content), formats=("WEBP",)).convert("RGBA"))


@pytest.mark.parametrize("whole", [limits.WHOLE, 1_000_000], ids=["whole", "in pieces"])
@pytest.mark.parametrize("within", [None, (100, 50, 1700, 1450)])
def test_boxes_and_strips_are_the_pixels_of_the_file(
    whole: int, within: PixelBox | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WHOLE", whole)
    monkeypatch.setattr(original, "STRIPS", 1)
    known = photograph()
    image = Original(decode_picture, stored(known), box_uri("/a.png", within), USUAL, 10_000_000)
    left, top, right, bottom = within or (0, 0, *SIZE)
    own = known[top:bottom, left:right]
    assert image.size == own.shape[1::-1] and max(image.picture.shape) == pictures.PICTURE
    assert np.array_equal(image.box((7, 11, 207, 300)), own[11:300, 7:207])
    strips = list(image.strips())
    assert [len(strip) for strip in strips] == [TILE, len(own) - TILE] and np.array_equal(np.concatenate(strips), own)


def test_a_crop_of_a_view_larger_than_the_picture_shows_the_pixels_of_the_original() -> None:
    image = Original(decode_picture, stored(photograph()), "/a.png", USUAL, 10_000_000)
    view = Geometry(14, scale=1.0).on(SIZE)
    assert view.size == (1498, 2100)
    middle, first = view.centre(150 * 40 + 70), view.centre(0)
    for centre in (middle, first):
        expected = pictures.crop(photograph(), pictures.surroundings(centre, view, SIZE))
        assert image.crop(centre, view) == expected
    small = (image.picture.shape[1], image.picture.shape[0])
    blurred = opened(pictures.crop(image.picture, pictures.surroundings(middle, view, small)))
    assert opened(image.crop(middle, view))[..., :3].std() > 1.3 * blurred[..., :3].std()
    corner = opened(image.crop(first, view))
    assert (corner[:20, :, 3] == 0).all() and (corner[:, :20, 3] == 0).all() and corner[60, 60, 3] == 255


@pytest.mark.parametrize("view", [View((518, 518), (37, 37)), View((1024, 1024), (64, 64))])
def test_a_crop_of_a_smaller_view_is_of_the_picture(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Original(decode_picture, stored(photograph()), "/a.png", USUAL, 10_000_000)
    monkeypatch.setattr(image, "_decode", None)
    box = pictures.surroundings((0.5, 0.25), view, (image.picture.shape[1], image.picture.shape[0]))
    assert image.crop((0.5, 0.25), view) == pictures.crop(image.picture, box)


def test_crops_of_one_image_decode_it_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    known = pixels._colours

    def noted(content: bytes, values: Values, max_pixels: int) -> Image.Image:
        decoded.append(len(content))
        return known(content, values, max_pixels)

    monkeypatch.setattr(pixels, "_colours", noted)
    image = Original(decode_picture, stored(photograph()), "/a.png", USUAL, 10_000_000)
    view = Geometry(14, scale=1.0).on(SIZE)
    for patch in range(1000, 9000, 1000):
        image.crop(view.centre(patch), view)
    assert len(decoded) == 2  # the picture, and all crops
