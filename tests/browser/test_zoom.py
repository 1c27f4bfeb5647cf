"""A large image: who looks closer sees tiles of it, at last all its pixels."""

import io
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome

from tests.browser.conftest import Page
from tests.reports import FINE, Made, make_report

SIZE = 4200, 1200


@pytest.fixture(scope="module")
def made_large(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_report(tmp_path_factory.mktemp("large"), count=16, drawn=1, size=SIZE)


@pytest.fixture
def large(driver: Chrome, made_large: Made) -> Iterator[Page]:
    """A large image, and the console says nothing in the end."""
    page = Page(driver, made_large)
    n = 0
    page.open(f"#image/{n}", "return LAKESCORE.ready && closer.tiles !== null && byId('original').complete")
    yield page
    assert page.complaints() == []


SETTLED = (
    "const all = [...byId('tiled').children];"
    "return all.length > 0 && all.length === closer.wanted.size && all.every((i) => i.complete && i.naturalWidth > 0)"
)
LEVELS = "return [...new Set([...byId('tiled').children].map((i) => Number(i.dataset.tile[0])))]"
CLOSE = """
    const [x, y, zoom] = arguments;
    const room = byId("stage").getBoundingClientRect();
    resetZoom();
    zoomBy((zoom * rows.width[closer.n]) / byId("sheet").offsetWidth);
    stage.x = -(x - rows.width[closer.n] / 2) * zoom;
    stage.y = -(y - rows.height[closer.n] / 2) * zoom;
    for (const layer of ["overlay", "contour", "truth", "worst"]) stage.show[layer] = false;
    showLayers();
    place();
"""  # zoom: pixels of the page for one of the image


def shot(page: Page) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Return what the stage shows (H, W, 3)."""
    box = page.js("const b = byId('stage').getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]")
    return np.asarray(Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB").crop(box))


def test_the_picture_is_enough_for_who_does_not_look_closer(large: Page, emulate: Callable[..., None]) -> None:
    emulate(width=1000)
    large.js("fit(shownImage)")
    assert large.js("return byId('sheet').offsetWidth") < 1024
    assert large.js("return byId('tiled').children.length") == 0


def test_zooming_brings_in_tiles_of_what_is_seen_at_the_size_that_it_is_seen_at(large: Page) -> None:
    large.js("byId('stage').focus()")
    large.press("+")
    large.wait(SETTLED)
    [first] = large.js(LEVELS)
    assert first == 1 and large.text("#zoom") == "1.5×"
    for _ in range(6):
        large.press("+")
    large.wait(SETTLED)
    assert large.js(LEVELS) == [0]
    assert large.js("return byId('tiled').children.length") <= 4  # of ten of this level
    large.press("0")
    large.wait("return closer.wanted.size === 0 || byId('tiled').children.length === closer.wanted.size")


def test_at_last_each_pixel_of_the_original_is_seen(large: Page) -> None:
    left, top, right, bottom = FINE
    large.js(CLOSE, (left + right) / 2, (top + bottom) / 2, 8)
    large.wait(SETTLED)
    large.wait("return byId('stage').classList.contains('close')")
    pixels = shot(large)
    middle = pixels[len(pixels) // 2, :, 1].astype(int)
    half = len(middle) // 2
    lines = middle[half - 160 : half + 160]  # 40 pixels of the image, black and white by turns
    assert (lines > 215).mean() > 0.4 and (lines < 40).mean() > 0.4
    changes = np.flatnonzero(np.diff(lines > 128))
    assert 38 <= len(changes) <= 41 and set(np.diff(changes)) <= {7, 8, 9}


def test_tiles_lie_where_the_picture_has_what_they_show(large: Page) -> None:
    large.js(CLOSE, 1023, 640, 2)  # where four tiles of the full size are near
    large.wait(SETTLED)
    sharp = shot(large).astype(int)
    large.js("byId('tiled').style.display = 'none'")
    assert np.abs(shot(large) - sharp).mean() < 6


def test_a_tile_that_is_missing_leaves_the_picture(driver: Chrome, made_large: Made) -> None:
    page = Page(driver, made_large)
    shutil.rmtree(made_large.folder / "tiles" / "0" / "2")
    page.open("#image/2", "return LAKESCORE.ready && closer.tiles !== null && byId('original').complete")
    page.js("zoomBy(4)")
    page.wait("return closer.wanted.size > 0 && byId('tiled').children.length === 0")
    assert page.js("return byId('original').naturalWidth") > 0
    page.complaints()  # the browser tells of the files


def test_images_without_tiles_zoom_as_ever(page: Page) -> None:
    page.open("#images")
    page.js("document.querySelector('#tiles a').click()")
    page.wait("return view() === 'image' && byId('outlines').children.length > 0")
    page.js("zoomBy(1000)")
    assert page.text("#zoom") == "32.0×" and page.js("return byId('tiled').children.length") == 0
    assert page.js("return byId('stage').classList.contains('close')")
