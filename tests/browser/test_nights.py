"""A night of a window: most rows are of earlier runs, whose final scores and thresholds were others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.browser.conftest import Page
from tests.reports import BEFORE, THRESHOLD, THRESHOLD_BEFORE, make_report

IMAGES, CARRIED = 400, 300


@pytest.fixture(scope="module")
def night(driver: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    made = make_report(tmp_path_factory.mktemp("night"), IMAGES, drawn=12, carried=CARRIED)
    page = Page(driver, made)
    page.open()
    yield page
    assert page.complaints() == []


@pytest.fixture
def rows(night: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = night.made.scores.to_pylist()
    return found


def test_the_first_screen_shows_tonights_images_and_says_how_many_rows_are_older(
    night: Page, rows: list[dict[str, Any]]
) -> None:
    night.open()
    older = sum(row["scored_by"] == BEFORE for row in rows)
    assert f"{older} images of earlier runs kept their scores" in night.text("#view-overview")
    assert "that this run scored" in night.text("#worst-title")
    shown = night.js("return [...document.querySelectorAll('#worst a')].map(a => Number(a.dataset.n))")
    assert shown and all(n < IMAGES - CARRIED for n in shown)
    bars = night.js("return LAKESCORE.facts.categories.flatMap(of => of.histogram.current).reduce((a, b) => a + b)")
    assert bars == sum(row["status"] == "scored" for row in rows[: IMAGES - CARRIED])


def test_nights_are_ranked_together_by_multiples_of_their_thresholds(night: Page, rows: list[dict[str, Any]]) -> None:
    night.open("#images")
    assert night.js("return byId('order').value") == "score"
    multiples = [rows[n]["score"] for n in night.js("return gallery.listed")]
    known = [value for value in multiples if value is not None]
    assert known == sorted(known, reverse=True)
    assert night.text("#tiles b") == f"{known[0]:.3f}"  # what stands first is what they are in the order of
    first = night.js("return gallery.listed[0]")
    night.open(f"#image/{first}")
    of = sum(row["category"] == rows[first]["category"] and row["status"] == "scored" for row in rows)
    assert f"1 of {of}" in night.text(".findings")


def test_tonights_images_can_be_looked_at_alone(night: Page, rows: list[dict[str, Any]]) -> None:
    night.open("#images")
    night.js("byId('fresh').click()")
    assert sorted(night.js("return gallery.listed")) == [n for n, row in enumerate(rows) if row["scored_by"] != BEFORE]
    night.js("byId('reset').click()")
    assert len(night.js("return gallery.listed")) == IMAGES and not night.js("return byId('fresh').checked")


def test_an_image_is_judged_by_the_threshold_of_its_night_until_somebody_moves_it(
    night: Page, rows: list[dict[str, Any]]
) -> None:
    scored = [n for n, row in enumerate(rows) if row["status"] == "scored"]
    new, old = scored[0], next(n for n in scored if rows[n]["scored_by"] == BEFORE)
    for n, threshold in ((new, THRESHOLD), (old, THRESHOLD_BEFORE)):
        night.open(f"#image/{n}")
        assert f"{threshold:.4f}" in night.text(".findings")
        assert (f"run {BEFORE}" in night.text(".findings")) == (n == old)
    night.js("moveThreshold(rows.category[arguments[0]], 0.7); showImage(arguments[0])", old)
    assert "0.7000 (moved here)" in night.text(".findings")


def test_the_reading_says_by_which_thresholds_images_are_counted(night: Page, rows: list[dict[str, Any]]) -> None:
    night.open("#images")
    anomalous = sum(row["anomalous"] is True for row in rows)
    assert night.text("#reading").startswith(f"{anomalous} anomalous")
    assert "above the threshold of the run that scored it" in night.text("#reading")
    night.choose("threshold", "1.01")
    above = sum((row["score_raw"] or 0) > 1.01 * THRESHOLD for row in rows)
    assert night.text("#reading").startswith(f"{above} anomalous") and "1.010 ×" in night.text("#reading")


def test_a_night_without_anything_new_says_so(driver: Chrome, tmp_path: Path) -> None:
    page = Page(driver, make_report(tmp_path, 40, drawn=0, labels=False, carried=40))
    page.open()
    assert "this run scored no image with a label" in page.text("#view-overview")
    assert not page.js("return byId('worst-title').checkVisibility()") and page.complaints() == []
