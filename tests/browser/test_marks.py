"""The review loop: marks, what is kept of them, and labels.csv."""

import csv
import time
from pathlib import Path

from pipeline.catalog.labels import read_labels
from pipeline.io.storage import Location
from tests.browser.conftest import Page
from tests.reports import HOSTILE


def downloaded(folder: Path) -> Path:
    deadline = time.monotonic() + 20
    while not (found := list(folder.glob("labels*.csv"))):
        assert time.monotonic() < deadline, "nothing was downloaded"
    return found[0]


def test_marks_come_home_as_labels_csv(page: Page, downloads: Path) -> None:
    """Whatever files are called: it is read as any program reads CSV, and as input.labels does."""
    expected = []
    for n in range(len(HOSTILE)):
        label = "defect" if n % 2 else "normal"
        page.js("mark(arguments[0], arguments[1])", n, label)
        expected.append([page.made.scores["uri"][n].as_py(), label])
    assert page.text("#marked") == f"{len(HOSTILE)} marked"
    page.js("byId('download').click()")
    with downloaded(downloads).open(encoding="utf-8", newline="") as content:
        assert list(csv.reader(content, strict=True)) == [["uri", "label"], *expected]
    taken = read_labels(Location.parse(str(downloaded(downloads))))
    assert taken == {uri: label == "defect" for uri, label in expected}


def test_keys_mark_and_the_marks_stay(page: Page) -> None:
    page.open("#image/3")
    page.press("d")
    assert page.js("return document.querySelector('[data-mark=defect]').getAttribute('aria-pressed')") == "true"
    page.open("#image/3")
    assert page.js("return document.querySelector('[data-mark=defect]').getAttribute('aria-pressed')") == "true"
    page.press("u")
    assert page.js("return marks.size") == 0
    assert page.js("return byId('download').disabled")


def test_a_mark_counts_as_a_label(page: Page) -> None:
    page.open("#images")
    n = page.js("return gallery.listed.find(n => isAnomalous(n) && rows.label[n])")
    before = page.js("return tally(null).alarms")
    page.js("mark(arguments[0], 'normal'); refresh()", n)
    assert page.js("return tally(null).alarms") == before + 1
    page.choose("label", "marked")
    assert page.js("return gallery.listed") == [n]
    assert "≠ ✓ normal" in page.text("#tiles")


def test_where_nothing_can_be_kept_it_says_so(page: Page) -> None:
    page.js("Storage.prototype.setItem = () => { throw new Error('refused') }; mark(0, 'normal')")
    assert "not kept by this browser" in page.text("#marked")
    page.js("window.onbeforeunload = null")


def test_in_the_list_a_key_marks_what_is_seen_to_be_the_current_image(page: Page) -> None:
    page.open("#images")
    page.press("d")
    assert page.js("return marks.size") == 0  # nothing had the focus: now the first image has
    page.press("d")
    assert page.js("return [...marks.keys()]") == [page.js("return rows.uri[gallery.listed[0]]")]


def test_coming_back_to_an_empty_list_the_focus_is_not_lost(page: Page) -> None:
    page.open("#images")
    page.choose("label", "none")
    page.js("location.hash = '#image/3'")
    page.wait("return shownImage === 3")
    page.js("location.hash = '#images'")
    page.wait("return view() === 'images'")
    assert page.js("return gallery.listed.length") == 0
    assert page.js("return document.activeElement.id") == "images-title"
