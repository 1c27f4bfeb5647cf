"""What names in the data can do to the page (nothing), and whether everybody can use it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Page
from tests.conftest import not_run
from tests.reports import HOSTILE

VIEWS = ("", "#images", "#image/1")


@pytest.mark.parametrize("place", VIEWS)
def test_names_stay_names(page: Page, place: str) -> None:
    page.open(place)
    assert page.js("return window.hacked") is None
    assert (
        page.js("return document.querySelectorAll('main script, main iframe, main [onerror], main [onload]').length")
        == 0
    )


def test_hostile_names_are_shown_as_they_are(page: Page) -> None:
    for n, name in enumerate(HOSTILE):
        page.open(f"#image/{n}")
        assert page.js("return window.hacked") is None
        said = page.text(".uri")
        plain = name.isprintable()
        assert said.endswith(f"/{name}") if plain else "\\u{" in said


def test_the_policy_refuses_what_is_not_a_file_of_the_report(page: Page) -> None:
    refused = page.driver.execute_async_script(
        """
        const done = arguments[0], seen = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          seen.push(event.effectiveDirective);
          if (seen.length === 5) done(seen.sort());
        });
        const add = (name, more) => document.body.append(Object.assign(document.createElement(name), more));
        add("script", { textContent: "window.hacked = 1" });
        add("style", { textContent: "body { display: none }" });
        add("img", { src: "https://127.0.0.1:9/x.png" });
        add("iframe", { src: "https://127.0.0.1:9/" });
        fetch("https://127.0.0.1:9/").catch(() => null);
        """
    )
    assert refused == ["connect-src", "frame-src", "img-src", "script-src-elem", "style-src-elem"]
    assert page.js("return window.hacked") is None
    assert page.complaints()  # of the five


def test_nothing_is_asked_of_any_network(page: Page) -> None:
    for place in VIEWS:
        page.open(place)
        asked = page.js("return performance.getEntriesByType('resource').map(e => e.name)")
        assert all(name.startswith("file:") for name in asked)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desktop", "phone"])
@pytest.mark.parametrize("place", VIEWS, ids=["overview", "images", "image"])
def test_axe_finds_nothing(
    page: Page, emulate: Callable[..., None], place: str, size: tuple[int, int], scheme: str
) -> None:
    emulate(*size, scheme)
    page.open(place)
    page.js(axe())
    run = "const done = arguments[0]; axe.run().then((found) => done(found.violations))"
    found = page.driver.execute_async_script(run)
    assert [(of["id"], of["nodes"][0]["html"][:200], of["nodes"][0]["failureSummary"]) for of in found] == []
    wide = page.js("return document.documentElement.scrollWidth")
    assert wide <= size[0], "the page is wider than the screen"


def axe() -> str:
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        not_run("axe-core-python is not installed")
    return (Path(spec.origin).parent / "axe.min.js").read_text()


def focused(page: Page, times: int) -> list[str]:
    """Return what is focused after each of so many presses of Tab."""
    found = []
    for _ in range(times):
        page.press(Keys.TAB)
        found.append(page.js("const a = document.activeElement; return a.id || a.className.trim() || a.innerText"))
    return found


def test_the_focus_goes_from_top_to_bottom(page: Page) -> None:
    frame = ["skip", "to-overview", "to-images", "theme", "help"]
    terms = ["all", "scored", "quarantined", "scored", "anomalous", "normal"]
    assert focused(page, 12) == [*frame, *(f"term {name}" for name in terms), "<b>bold</b>"]
    page.open("#images")
    controls = ["find", "category", "show", "label", "order", "wrong", "heats", "reset", "threshold"]
    assert focused(page, 15) == [*frame, *controls, "tile anomalous"]  # one tile: arrows lead to the others


def test_a_view_that_opens_takes_the_focus(page: Page) -> None:
    page.js("byId('to-images').click()")
    page.wait("return document.activeElement.id === 'images-title'")
    page.js("document.querySelector('#tiles a').click()")
    page.wait("return document.activeElement.id === 'image-title'")


def test_the_switch_of_colours_stays(page: Page) -> None:
    ground = "return getComputedStyle(document.documentElement).backgroundColor"
    light = page.js(ground)
    page.js("byId('theme').click(); byId('theme').click()")
    assert page.text("#theme") == "Theme: dark"
    assert page.js(ground) != light
    page.open()
    assert page.js(ground) != light


def test_what_is_printed(page: Page) -> None:
    """Some sixty images flow on paper, and the list comes back to the screen."""
    page.open("#images")
    page.js(
        "addEventListener('beforeprint', () => (window.printed = document.querySelectorAll('#tiles.paper li').length))"
    )
    page.driver.execute_cdp_cmd("Page.printToPDF", {})
    assert page.js("return window.printed") == 60
    assert page.js("return document.querySelectorAll('#tiles.paper').length") == 0


def test_a_file_that_is_missing_is_named(page: Page, tmp_path: Path) -> None:
    for kept in ("index.html", "report.css", "data/run.js"):
        (tmp_path / kept).parent.mkdir(exist_ok=True)
        (tmp_path / kept).write_bytes((page.made.folder / kept).read_bytes())
    (tmp_path / "js").symlink_to(page.made.folder / "js")
    page.driver.get((tmp_path / "index.html").as_uri())
    page.wait("return !byId('notice').hidden")
    assert page.text("#notice").startswith("data/images-")
    assert page.text("#overview-title") != ""  # the first screen is there all the same
    assert page.complaints()  # the browser's own, of the files
