"""Views: patches and pixels of the view, shares and pixels of the image, and that decoding shows what they say."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.images import decode, decode_mask, decode_picture
from pipeline.views import WHOLE, View

BOXES = [WHOLE, (0.0, 0.0, 0.5, 1.0), (0.25, 0.5, 0.75, 1.0), (1 / 3, 0.0, 1.0, 2 / 3)]
WIDTH, HEIGHT, LIMIT = 240, 160, 10**6

sides = st.tuples(st.integers(1, 60), st.integers(1, 60))
edges = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda pair: pair[1] - pair[0] > 1e-3)
boxes = st.tuples(edges, edges).map(lambda both: (both[0][0], both[1][0], both[0][1], both[1][1]))
views = st.builds(View, sides, sides, boxes, st.sampled_from([0, 90, 180, 270]))
boxes = st.tuples(*[st.integers(0, 2**31)] * 4)
wholes = st.builds(View, sides, sides)


def spot(x: float, y: float, radius: int = 8) -> bytes:
    """Return an image, black but for a white spot around x, y in shares."""
    across, down = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    near = np.hypot(across - x * WIDTH, down - y * HEIGHT) < radius
    sink = io.BytesIO()
    Image.fromarray(np.repeat((near * 255).astype(np.uint8)[..., None], 3, axis=2)).save(sink, "PNG")
    return sink.getvalue()


def middle(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return x, y of the middle of what is bright, from the upper left corner of the upper left pixel."""
    rows, columns = np.nonzero(values > values.max() / 2)
    return np.array([[columns.mean() + 0.5, rows.mean() + 0.5]])


@given(views)
def test_text_says_all_of_a_view(view: View) -> None:
    assert View.parse(str(view)) == view
    assert " " not in str(view).replace(" ", "", 3)


@given(views, boxes)
def test_text_says_which_box_of_a_photograph_a_view_is_of(view: View, box: tuple[int, int, int, int]) -> None:
    assert View.parse(str(view.of_box(box))) == view.of_box(box) != view
    assert view.of_box(box).of_box(None) == view


@pytest.mark.parametrize(
    "text", ["", "8x8", "8x8 1x1 0,0,1,1", "8x8 1x1 0,0,1 0", "8 1x1 0,0,1,1 0", "8x8 1x1 0,0,1,1 44"]
)
def test_other_text_is_no_view(text: str) -> None:
    with pytest.raises(ValueError):
        View.parse(text)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"box": (0.5, 0.0, 0.5, 1.0)}, "no box"),
        ({"box": (0.0, 0.0, 1.1, 1.0)}, "no box"),
        ({"box": (0.0, float("nan"), 1.0, 1.0)}, "no box"),
        ({"turned": 44}, "degrees"),
        ({"turned": -90}, "degrees"),
        ({"size": (0, 8)}, "at least"),
        ({"grid": (8, 0)}, "at least"),
    ],
    ids=str,
)
def test_what_cannot_be_seen_is_no_view(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        View(**{"size": (8, 8), **wrong})


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_decoding_shows_what_the_arithmetic_says(box: tuple[float, float, float, float], turned: int) -> None:
    view = View((120, 200), (6, 10), box, turned)
    x, y = box[0] + 0.3 * (box[2] - box[0]), box[1] + 0.6 * (box[3] - box[1])
    content = spot(x, y)
    pixels, size = decode(content, view, LIMIT)
    values, _ = decode_mask(content, view, LIMIT)
    assert pixels.shape == (120, 200, 3) and values.shape == (120, 200) and size == (WIDTH, HEIGHT)
    assert view.shares(middle(pixels[..., 0]))[0].tolist() == pytest.approx([x, y], abs=0.01)
    assert view.shares(middle(values))[0].tolist() == pytest.approx([x, y], abs=0.01)
    found = view.on_image(middle(values), (WIDTH, HEIGHT))[0] / (WIDTH, HEIGHT)
    assert found.tolist() == pytest.approx([x, y], abs=0.01)
    picture, _ = decode_picture(content, view.at((100, 100)), LIMIT)
    shape = picture.shape[:2]
    assert max(shape) == 100  # whose aspect ratio is that of the box, turned
    assert view.at(shape).shares(middle(picture[..., 0]))[0].tolist() == pytest.approx([x, y], abs=0.02)


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_a_patch_lies_where_its_pixels_do(box: tuple[float, float, float, float], turned: int) -> None:
    view = View((60, 100), (6, 10), box, turned)
    rows, columns = np.divmod(np.arange(60), 10)
    pixels = np.stack([columns * 10 + 5, rows * 10 + 5], axis=1).astype(float)
    np.testing.assert_allclose(view.centres(np.arange(60)), view.shares(pixels), rtol=0, atol=1e-12)
    left, top, right, bottom = view.around(view.centre(33), (WIDTH, HEIGHT), 1)
    (wide, high), longest = view.lengths_on_image((10, 10), (WIDTH, HEIGHT)), right - left
    assert longest == pytest.approx(max(wide, high)) == pytest.approx(bottom - top)
    x, y = view.centre(33)
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((x * WIDTH, y * HEIGHT))


@given(views, st.integers(0, 10**6))
def test_shares_and_pixels_of_the_image_agree(view: View, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 1, (5, 2)) * view.size[::-1]
    left, top, right, bottom = view.box
    shares = view.shares(points)
    assert (shares >= np.array([left, top]) - 1e-9).all() and (shares <= np.array([right, bottom]) + 1e-9).all()
    np.testing.assert_allclose(view.on_image(points, (70, 50)), shares * (70, 50), rtol=0, atol=1e-9)


@given(views)
def test_areas_add_up(view: View) -> None:
    area = float(view.scale((70, 50)).prod() * view.pixels)  # of all its pixels, on the image
    left, top, right, bottom = view.box
    assert area == pytest.approx((right - left) * 70 * (bottom - top) * 50)
    assert view.pixels_of_area(area, (70, 50)) == pytest.approx(view.pixels)


@given(views, st.integers(1, 5), st.integers(1, 5))
def test_the_pixel_at_a_patchs_place_on_the_map_is_the_patchs(view: View, down: int, across: int) -> None:
    rows, columns = view.grid
    mapped = view.at(((rows - 1) * down + 1, (columns - 1) * across + 1))
    patches = np.arange(view.patches)
    places = patches // columns * down * mapped.size[1] + patches % columns * across
    np.testing.assert_array_equal(mapped.patches_at(places), patches)


@given(wholes, st.tuples(st.integers(1, 4000), st.integers(1, 4000)), st.integers(0, 10**6))
def test_the_usual_view_has_the_numbers_of_before_to_the_last_bit(view: View, size: tuple[int, int], seed: int) -> None:
    (height, width), (rows, columns) = view.size, view.grid
    patch = seed % view.patches
    row, column = divmod(patch, columns)
    assert view.centre(patch) == ((column + 0.5) / columns, (row + 0.5) / rows)
    points = np.random.default_rng(seed).uniform(0, 50, (5, 2))
    assert np.array_equal(view.shares(points), points / (width, height))
    scale = np.array(size) / (width, height)
    assert np.array_equal(view.scale(size), scale) and np.array_equal(view.on_image(points, size), points * scale)
    assert np.array_equal(view.lengths_on_image(points[0], size), points[0] * scale)
    assert view.pixels_of_area(7.3, size) == 7.3 * (height * width / (size[0] * size[1]))
    half = 3 / 2 * max(size[1] / rows, size[0] / columns)
    x, y = points[0, 0] * size[0], points[0, 1] * size[1]
    assert view.around((points[0, 0], points[0, 1]), size, 3) == (x - half, y - half, x + half, y + half)
    assert view.box_on(size) is None and view.size_before_turning == view.size


def test_another_size_is_the_same_view_of_another_map() -> None:
    view = View((28, 42), (2, 3), (0.0, 0.0, 0.5, 0.5), 90)
    assert view.at((7, 9)) == replace(view, size=(7, 9))
    assert (view.patches, view.pixels) == (6, 1176)


# turned by eighths

EIGHTHS = [45, 135, 225, 315]


@given(sides, st.tuples(edges, edges), st.sampled_from(range(0, 360, 45)), st.integers(0, 10**6))
def test_turning_back_undoes_a_turn(size: tuple[int, int], both: Any, turned: int, seed: int) -> None:
    """A point goes to where a turn about the middle takes it, in pixels, by plain trigonometry."""
    box = (both[0][0], both[1][0], both[0][1], both[1][1])
    view = View(size, (1, 1), box, turned)
    height, width = view.size_before_turning
    points = np.random.default_rng(seed).uniform(-1, 2, (5, 2)) * (width, height)  # of the upright box, in its pixels
    angle = np.deg2rad(turned)
    x, y = (points - (width / 2, height / 2)).T  # y points down, so clockwise is from x to y
    there = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=1)
    there += np.array(size[::-1]) / 2
    left, top, right, bottom = box
    expected = points / (width, height) * (right - left, bottom - top) + (left, top)
    np.testing.assert_allclose(view.shares(there), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(view.on_image(there, (70, 50)), expected * (70, 50), rtol=0, atol=1e-7)


@pytest.mark.parametrize("turned", EIGHTHS)
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_decoding_by_eighths_shows_what_the_arithmetic_says(
    box: tuple[float, float, float, float], turned: int
) -> None:
    view = View((160, 160), (8, 8), box, turned)
    x, y = box[0] + 0.4 * (box[2] - box[0]), box[1] + 0.65 * (box[3] - box[1])
    content = spot(x, y, 6)
    pixels, _ = decode(content, view, LIMIT)
    values, _ = decode_mask(content, view, LIMIT)
    for seen in (pixels[..., 0], values):
        assert view.shares(middle(seen))[0].tolist() == pytest.approx([x, y], abs=0.01)
        found = view.on_image(middle(seen), (WIDTH, HEIGHT))[0]
        assert found.tolist() == pytest.approx([x * WIDTH, y * HEIGHT], abs=2)


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_by_quarters_all_patches_lie_in_the_image(turned: int) -> None:
    assert View((28, 42), (2, 3), turned=turned).inside is None


@pytest.mark.parametrize("turned", EIGHTHS)
@pytest.mark.parametrize(("size", "grid"), [((80, 80), (8, 8)), ((60, 100), (6, 10)), ((100, 40), (10, 4))], ids=str)
def test_by_eighths_those_do_that_show_no_black(turned: int, size: tuple[int, int], grid: tuple[int, int]) -> None:
    """Each pixel of a white image is white where its patch is inside, and of the others one at least is black."""
    view = View(size, grid, turned=turned)
    white = np.full((size[0], size[1], 3), 255, np.uint8)
    sink = io.BytesIO()
    Image.fromarray(white).save(sink, "PNG")
    values, _ = decode_mask(sink.getvalue(), view, LIMIT)
    patches = (values > 0).reshape(grid[0], 10, grid[1], 10).transpose(0, 2, 1, 3).reshape(view.patches, 100)
    inside = view.inside
    assert inside is not None and inside.shape == (view.patches,)
    assert patches[inside].all()
    black = ~patches[~inside].all(axis=1)
    assert black.mean() > 0.8  # but for those of which a corner is cut by less than a pixel
    assert 0 < inside.sum() < view.patches


def test_a_view_of_few_patches_may_have_none_inside() -> None:
    inside = View((20, 20), (2, 2), turned=45).inside
    assert inside is not None and not inside.any()
