"""One image: its layers, its evidence, and the keys."""

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Page
from tests.reports import THRESHOLD


@pytest.fixture
def image(page: Page) -> Page:
    """The worst image, reached from the list."""
    page.open("#images")
    page.js("document.querySelector('#tiles a').click()")
    page.wait("return view() === 'image' && byId('outlines').children.length > 0")
    page.wait("return byId('original').complete && byId('heat').complete")
    return page


def visible(page: Page, selector: str) -> bool:
    return bool(page.js("return getComputedStyle(document.querySelector(arguments[0])).display !== 'none'", selector))


def test_the_layers_lie_on_the_image(image: Page) -> None:
    boxes = image.js(
        "const boxes = ['original', 'heat', 'outlines'].map((id) => byId(id).getBoundingClientRect());"
        "return boxes.map((box) => [box.x, box.y, box.width, box.height])"
    )
    assert boxes[0] == boxes[1] == boxes[2]
    width, height = image.js("const b = byId('sheet').getBoundingClientRect(); return [b.width, b.height]")
    assert width / height == pytest.approx(320 / 240, rel=0.01)
    assert image.js("return byId('original').naturalWidth") == 320
    detail = image.js("return details.get(shownImage)")
    path = image.js("return document.querySelector('path.contour:not(.halo)').getAttribute('d')")
    first = [float(part) for part in path.removeprefix("M").split("L")[0].split(",")]
    assert first == pytest.approx([detail["contour"][0][0][0] * 320, detail["contour"][0][0][1] * 240])


@pytest.mark.parametrize("key, layer", [("o", "#heat"), ("c", ".contour"), ("t", ".truth"), ("w", "circle.worst")])
def test_a_key_switches_each_layer(image: Page, key: str, layer: str) -> None:
    assert visible(image, layer)
    image.press(key)
    assert not visible(image, layer)
    image.press(key)
    assert visible(image, layer)


def test_what_was_not_looked_at_is_shaded_where_there_is_any(image: Page) -> None:
    assert not visible(image, "label:has(#layer-ignored)") and image.js(
        "return !document.querySelector('path.ignored')"
    )
    image.js(
        "const seen = [[[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]];"
        "const detail = { ...details.get(shownImage), seen };"
        "drawOutlines(shownImage, detail); showLayerChoices(detail)"
    )
    assert visible(image, "label:has(#layer-ignored)") and "not looked at" in image.text(".layers")
    inside = (
        "document.querySelector('path.ignored').isPointInFill(new DOMPoint(arguments[0] * 320, arguments[1] * 240))"
    )
    shaded = [image.js(f"return {inside}", *point) for point in ((0.1, 0.5), (0.5, 0.1), (0.5, 0.5))]
    assert shaded == [True, True, False]
    assert visible(image, "path.ignored")
    image.press("r")
    assert not visible(image, "path.ignored")
    image.press("r")


def test_the_opacity_slider(image: Page) -> None:
    image.choose("opacity", "0.25")
    assert image.js("return getComputedStyle(byId('heat')).opacity") == "0.25"


def test_zoom_and_pan(image: Page) -> None:
    image.press("+", "+")
    assert image.text("#zoom") == "2.3×"
    before = image.js("return byId('sheet').getBoundingClientRect().x")
    image.js(
        """
        byId("stage").setPointerCapture = () => {};
        const move = (pointerId, type, clientX) =>
          byId("stage").dispatchEvent(new PointerEvent(`pointer${type}`, { pointerId, clientX, clientY: 300 }));
        for (const [type, x] of [["down", 400], ["move", 440], ["up", 440]]) move(1, type, x);
        """
    )
    assert image.js("return byId('sheet').getBoundingClientRect().x") == pytest.approx(before + 40)
    image.press("0")
    assert image.text("#zoom") == "1.0×"
    assert image.js("return [stage.x, stage.y]") == [0, 0]


def test_evidence_leads_to_its_images(image: Page) -> None:
    evidence = image.js("return details.get(shownImage).evidence")
    links = image.js("return [...document.querySelectorAll('#evidence a')].map(a => a.getAttribute('href'))")
    expected = [f"#image/{of['n']}" for of in (*evidence["worst"], *evidence["normal"]) if of["n"] is not None]
    assert links == expected
    shown = image.js("return [...document.querySelectorAll('#evidence img')].map(i => i.getAttribute('src'))")
    assert shown[0] == evidence["patch"] and len(shown) == 14
    assert "0.300" in image.text("#evidence")


def test_arrows_go_through_the_list(image: Page) -> None:
    listed = image.js("return gallery.listed.slice(0, 3)")
    image.press(Keys.ARROW_RIGHT)
    image.wait(f"return shownImage === {listed[1]}")
    image.press(Keys.ARROW_RIGHT)
    image.wait(f"return shownImage === {listed[2]}")
    image.press(Keys.ARROW_LEFT)
    image.wait(f"return shownImage === {listed[1]}")
    image.press(Keys.ESCAPE)
    image.wait("return view() === 'images'")
    assert image.js("return document.activeElement.dataset.n") == str(listed[1])


def test_arrows_in_the_list(page: Page) -> None:
    page.open("#images")
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    columns = page.js("return grid().columns")
    assert page.js("return gallery.at") == 1 + columns  # the first press only enters the list
    page.press(Keys.END)
    page.wait("return document.activeElement.closest('li')?.dataset.place === String(rows.count - 1)")
    page.press(Keys.HOME, Keys.ENTER)
    page.wait("return view() === 'image'")


def test_slash_finds_and_escape_leaves(page: Page) -> None:
    page.press("/")
    page.wait("return document.activeElement.id === 'find'")
    page.press("0", "0", "4", "2", ".")
    names = page.js("return gallery.listed.map((n) => rows.uri[n])")
    assert names and all("0042." in name for name in names)
    page.press("o", "?")  # letters here are letters
    assert page.js("return byId('find').value") == "0042.o?"
    page.press(Keys.ESCAPE)
    assert page.js("return document.activeElement.id") != "find"


def test_the_question_mark_helps(page: Page) -> None:
    page.press("?")
    assert page.js("return byId('keys').open")
    assert "heat map on and off" in page.text("#keys")
    page.press(Keys.ESCAPE)
    page.wait("return !byId('keys').open")


def test_an_image_that_was_not_drawn_says_so(page: Page) -> None:
    n = page.js("return rows.drawn.indexOf(false)")
    page.open(f"#image/{n}")
    assert "report.images" in page.text("#stage")
    lost = page.js("return rows.status.indexOf('quarantined')")
    page.open(f"#image/{lost}")
    assert "cannot be decoded: <b>broken</b> data stream" in page.text(".findings")


def test_an_address_that_names_no_image_leads_to_the_list(page: Page) -> None:
    page.open(f"#image/{page.made.scores.num_rows}")
    page.wait("return view() === 'images'")


def test_keys_that_scroll_are_left_to_the_browser(image: Page) -> None:
    image.press(Keys.END)
    image.wait("return scrollY + innerHeight > document.documentElement.scrollHeight - 2")
    image.press(Keys.HOME)
    image.wait("return scrollY === 0")
    image.press(Keys.ARROW_DOWN)
    image.wait("return scrollY > 0")


def test_from_an_image_that_the_filters_hide_next_and_the_arrow_lead_to_the_same(page: Page) -> None:
    page.open("#images")
    page.choose("category", "1")
    hidden = page.js("return rows.category.findIndex(place => place !== 1)")
    page.js("location.hash = `#image/${arguments[0]}`", hidden)
    page.wait(f"return shownImage === {hidden}")
    leads_to = page.js("return Number(byId('next').hash.split('/')[1])")
    page.press(Keys.ARROW_RIGHT)
    page.wait(f"return shownImage === {leads_to}")


def test_an_image_tells_its_multiple_of_the_threshold_and_its_rank_also_of_one_that_was_moved(page: Page) -> None:
    of = page.made.scores.to_pylist()
    n = next(n for n, row in enumerate(of) if row["score_raw"] is not None and row["category"] == "bottle")
    same = [row["score_raw"] for row in of if row["category"] == "bottle" and row["score_raw"] is not None]
    rank = 1 + sum(value > of[n]["score_raw"] for value in same)
    page.open(f"#image/{n}")
    for threshold in (THRESHOLD, 0.31):
        page.js("moveThreshold(rows.category[arguments[0]], arguments[1]); showImage(arguments[0])", n, threshold)
        assert f"{of[n]['score_raw'] / threshold:.3f} times the threshold" in page.text(".findings")
        assert f"{rank:,} of {len(same):,}" in page.text(".findings")
    lost = next(n for n, row in enumerate(of) if row["score_raw"] is None)
    assert page.js("return scoreOf(arguments[0])", lost) is None and page.js("return rankOf(arguments[0])", lost) == "–"
