"""The first screen in a real browser."""

from pathlib import Path

import pyarrow.compute as pc
from selenium.webdriver import Chrome

from tests.browser.conftest import Page
from tests.reports import make_report

TILES = 200  # in the document at once: the screen's and a few lines around them, whatever the run's size


def test_it_says_the_run_in_one_line(page: Page) -> None:
    scores = page.made.scores
    anomalous = pc.sum(scores["anomalous"]).as_py()
    scored = pc.sum(pc.equal(scores["status"], "scored")).as_py()
    said = f"{anomalous:,} of {scored:,} scored images in 4 categories are anomalous"
    assert page.text("#overview-title") == f"{said}, {scores.num_rows - scored} could not be scored."


def test_its_counts_add_up(page: Page) -> None:
    for line in page.js("return [...document.querySelectorAll('.sums p')].map(p => p.innerText)"):
        whole, parts = line.replace(",", "").split("=")
        assert int(whole.split()[0]) == sum(int(part.split()[0]) for part in parts.split("+"))
    for column in (1, 2, 3, 4):
        script = (
            f"return [...document.querySelectorAll('.categories tbody tr')].map(r => r.children[{column}].innerText)"
        )
        *each, total = (int(text.replace(",", "")) for text in page.js(script))
        assert sum(each) == total


def test_it_shows_each_category_with_its_distribution_and_metrics(page: Page) -> None:
    cells = page.js(
        "return [...document.querySelectorAll('.categories tbody tr')].map(r => [...r.children].map(c => c.innerText))"
    )
    assert [row[0].split("\n")[0] for row in cells] == ["<b>bold</b>", "__proto__", "bottle", "metal nut", "all"]
    assert cells[2][7:] == ["97.3", "91.0", "94.2", "98.1", "87.4"]  # metrics, in percent
    lines = page.js(
        "return [...document.querySelectorAll('.spread')].map(c => c.querySelectorAll('.threshold').length)"
    )
    assert lines == [1, 1, 1, 1]
    windows = page.js("return [...document.querySelectorAll('.spread')].map(c => c.querySelectorAll('.window').length)")
    assert windows == [1, 0, 1, 0]
    assert "drifted: brightness 0.451 → 0.520" in cells[2][0]


def test_it_says_how_each_category_was_decided_and_how_sure_that_is(page: Page) -> None:
    assert not page.js("return document.querySelector('.decisions ul').checkVisibility()")
    page.js("document.querySelector('.decisions summary').click()")
    lines = page.js("return [...document.querySelectorAll('.decisions li')].map(line => line.innerText)")
    bold, proto, bottle, nut = lines
    assert bottle == (
        "bottle: auto: batch, threshold 0.620; between 0.580 and 0.660 in 9 of 10 draws, 7 images between them; "
        "about 4.00 % of normal images are expected above it."
    )
    assert bold.startswith("<b>bold</b>: ") and bold.endswith("trust the order of the images more than the line.")
    assert proto == "__proto__: fixed 0.62, threshold 0.620."
    assert "75.00 % of the labelled defects were found by the other labels" in nut


def test_a_term_leads_to_the_images_that_it_counts(page: Page) -> None:
    expected = page.text(".term.quarantined b")
    page.js("document.querySelector('.term.quarantined').click()")
    page.wait("return view() === 'images'")
    assert page.text("#found") == f"{expected} of {page.made.scores.num_rows:,} images"


def test_it_is_there_before_the_images_are_read(page: Page) -> None:
    """The first screen needs data/run.js alone."""
    page.open(waiting="return view() === 'overview'")
    order = page.js("return [...document.scripts].map(s => s.getAttribute('src'))")
    assert order.index("data/run.js") < min(order.index(f"data/images-{k}.js") for k in range(3))


def test_however_many_images_the_document_stays_small(driver: Chrome, tmp_path: Path) -> None:
    page = Page(driver, make_report(tmp_path, count=10_000, drawn=0))
    page.open("#images")
    for share in (0, 0.3, 0.7, 1):
        page.js("scrollTo(0, arguments[0] * document.documentElement.scrollHeight)", share)
        on_screen = "const box = tileAt(gallery.first).getBoundingClientRect(); return box.top < innerHeight"
        page.wait(f"if (tileAt(gallery.first)) {{ {on_screen} }}")
        assert 0 < page.js("return document.querySelectorAll('#tiles li').length") < TILES
    page.wait("return tileAt(9999) !== null")
    assert page.complaints() == []


def test_an_address_that_nothing_is_called_by_leads_to_the_first_screen(page: Page) -> None:
    for place in ("#image/abc", "#nonsense"):
        page.open(place, waiting="return LAKESCORE.ready && view() === 'overview' && location.hash === ''")
