"""Parts of several views: an image with the others of its part, and the list by parts."""

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.browser.conftest import Page
from tests.reports import CATEGORIES, THRESHOLD, Made, make_report

PARTS = 60
VIEWS = len(CATEGORIES)  # of each part


@pytest.fixture(scope="module")
def made_of_parts(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_report(tmp_path_factory.mktemp("report"), count=300, drawn=40, parts=PARTS)


@pytest.fixture
def parts(driver: Chrome, made_of_parts: Made) -> Iterator[Page]:
    opened = Page(driver, made_of_parts)
    opened.open()
    yield opened
    assert opened.complaints() == []


def views_of(page: Page) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Return number and row of the views of each part, in the order of their categories."""
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for n, row in enumerate(page.made.scores.to_pylist()):
        if row["group"] is not None:
            found.setdefault(row["group"], []).append((n, row))
    return {name: sorted(views, key=lambda view: str(view[1]["category"])) for name, views in found.items()}


def anomalous(views: list[tuple[int, dict[str, Any]]]) -> bool:
    return any(row["anomalous"] for _, row in views)


def lost(views: list[tuple[int, dict[str, Any]]]) -> int:
    return sum(row["status"] != "scored" for _, row in views)


def test_an_image_shows_its_part_with_all_views_by_category(parts: Page) -> None:
    found = views_of(parts)
    worst = max(found, key=lambda name: max(row["score_raw"] or 0 for _, row in found[name]))
    views = found[worst]
    n = next(n for n, row in views if not row["anomalous"])
    parts.open(f"#image/{n}")
    assert "▲ anomalous" in parts.text("#part") and "normal" in parts.text(".findings .verdict")
    score = max(row["score_raw"] or 0 for _, row in views) / THRESHOLD
    assert f"{score:.3f} times the threshold" in parts.text("#part") and f"{VIEWS} views" in parts.text("#part")
    links = parts.js("return [...document.querySelectorAll('#part .views a')].map(a => a.getAttribute('href'))")
    assert links == [f"#image/{of}" for of, _ in views]
    names = parts.js("return [...document.querySelectorAll('#part .views .name')].map(e => e.textContent)")
    assert [name.rsplit("/")[-1] for name in sorted(CATEGORIES)][1:] == names[1:]
    assert parts.js("return document.querySelector('#part [aria-current]').getAttribute('href')") == f"#image/{n}"


def test_keys_go_round_the_views_of_a_part(parts: Page) -> None:
    views = [n for n, _ in views_of(parts)["part-010"]]
    parts.open(f"#image/{views[0]}")
    for n in (*views[1:], views[0]):
        parts.press("]")
        parts.wait(f"return shownImage === {n}")
    parts.press("[")
    parts.wait(f"return shownImage === {views[-1]}")
    alone = parts.js("return rows.group.indexOf(null)")
    parts.open(f"#image/{alone}")
    parts.press("]")
    assert parts.js("return shownImage") == alone and parts.js("return byId('part')") is None


def test_a_part_that_was_not_seen_from_all_sides_is_not_called_normal(parts: Page) -> None:
    [name, *_] = [name for name, views in views_of(parts).items() if lost(views) and not anomalous(views)]
    parts.open(f"#image/{views_of(parts)[name][0][0]}")
    assert "not anomalous as far as it was seen" in parts.text("#part")
    assert "1 of 4 views could not be scored" in parts.text("#part")
    parts.open("#images")
    parts.choose("show", "unseen")
    unseen = [n for views in views_of(parts).values() if lost(views) and not anomalous(views) for n, _ in views]
    assert sorted(parts.js("return gallery.listed")) == sorted(unseen)


def test_the_list_finds_parts_by_name_and_has_their_badges(parts: Page) -> None:
    parts.open("#images")
    parts.choose("find", "PART-010")
    views = views_of(parts)["part-010"]
    assert sorted(parts.js("return gallery.listed")) == [n for n, _ in sorted(views, key=lambda view: view[0])]
    assert parts.text("#tiles").count("part part-010") == VIEWS
    parts.choose("find", "")
    parts.choose("show", "parts")
    assert sorted(parts.js("return gallery.listed")) == sorted(
        n for views in views_of(parts).values() if anomalous(views) for n, _ in views
    )
    assert "▲ part" in parts.text("#tiles")


def test_the_list_may_go_by_part_the_worst_first(parts: Page) -> None:
    parts.open("#images")
    parts.choose("order", "part")
    found = views_of(parts)

    def worst(name: str) -> float:
        return max((row["score_raw"] for _, row in found[name] if row["score_raw"] is not None), default=0)

    expected = [n for name in sorted(found, key=lambda name: (-worst(name), name)) for n, _ in found[name]]
    listed = parts.js("return gallery.listed")
    assert listed[: len(expected)] == expected and len(listed) == parts.made.scores.num_rows


def test_a_threshold_that_is_moved_decides_about_parts_anew(parts: Page) -> None:
    parts.open("#images")
    parts.choose("show", "parts")
    parts.choose("threshold", "0.1")
    assert len(parts.js("return gallery.listed")) == PARTS * VIEWS
    parts.choose("threshold", "9")
    assert parts.js("return gallery.listed") == []


def test_the_first_screen_counts_parts_and_leads_to_them(parts: Page) -> None:
    found = views_of(parts)
    text = parts.text("table.products")
    cells = parts.js("return [...document.querySelectorAll('table.products tbody td')].map(e => e.textContent)")
    many = sum(map(anomalous, found.values()))
    unseen = sum(bool(lost(views)) and not anomalous(views) for views in found.values())
    assert cells[:3] == [str(PARTS), str(many), str(unseen)] and "AUROC" in text and len(cells) == 9
    parts.js("document.querySelector('table.products + p a').click()")
    parts.wait("return view() === 'images'")
    assert len(parts.js("return gallery.listed")) == many * VIEWS


def test_a_report_without_parts_says_nothing_of_them(page: Page) -> None:
    assert page.js("return document.querySelector('table.products')") is None
    page.open("#images")
    choices = page.js("return [...byId('show').options, ...byId('order').options].map(o => o.value)")
    assert not {"parts", "unseen", "part"} & set(choices)
    assert page.js("return document.querySelector('.part')") is None
