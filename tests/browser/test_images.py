"""Filters, orders and the threshold, against the same counted from the run's scores."""

from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.config import RuleConfig
from tests.browser.conftest import Page
from tests.reports import CATEGORIES, THRESHOLD


@pytest.fixture
def images(page: Page) -> Page:
    page.open("#images")
    return page


def rows(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.made.scores.to_pylist()
    return found


def listed(page: Page) -> list[int]:
    found: list[int] = page.js("return gallery.listed")
    return found


@pytest.mark.parametrize(
    "field, value, passes",
    [
        ("category", "0", lambda row: row["category"] == sorted(CATEGORIES)[0]),
        ("show", "anomalous", lambda row: row["anomalous"] is True),
        ("show", "normal", lambda row: row["anomalous"] is False),
        ("show", "quarantined", lambda row: row["status"] == "quarantined"),
        ("label", "defect", lambda row: row["label"]),
        ("find", "SCRATCH/0012", lambda row: "scratch/0012" in row["uri"]),
    ],
)
def test_a_filter_lists_what_it_says(images: Page, field: str, value: str, passes: Any) -> None:
    images.choose(field, value)
    assert sorted(listed(images)) == [n for n, row in enumerate(rows(images)) if passes(row)]


def test_wrong_against_the_label(images: Page) -> None:
    images.js("byId('wrong').click()")
    expected = [n for n, row in enumerate(rows(images)) if row["anomalous"] not in (None, row["label"])]
    assert sorted(listed(images)) == expected
    assert "≠" in images.text("#tiles")


def test_the_worst_come_first_and_quarantined_ones_last(images: Page) -> None:
    scores = images.made.scores["score"].take(listed(images)).to_pylist()
    known = [score for score in scores if score is not None]
    assert known == sorted(known, reverse=True)
    assert scores[: len(known)] == known


def expected_order(of: list[dict[str, Any]], thresholds: list[float]) -> list[float]:
    """Return how many times its threshold each scored image is, the highest first."""
    names = sorted(CATEGORIES)
    scored = [row for row in of if row["score_raw"] is not None]
    return sorted((row["score_raw"] / thresholds[names.index(row["category"])] for row in scored), reverse=True)


def test_tiles_tell_and_rank_by_multiples_of_the_threshold_also_of_one_that_was_moved(images: Page) -> None:
    for moved in (None, 0.31):
        thresholds = [THRESHOLD] * len(CATEGORIES)
        if moved is not None:
            thresholds[2] = moved
            images.js("moveThreshold(2, arguments[0])", moved)
        expected = expected_order(rows(images), thresholds)
        order = images.js("return ordered('score')")
        told = [images.js("return scoreOf(arguments[0])", n) for n in order[:20]]
        assert told == pytest.approx(expected[:20])
        script = "const t = document.createElement('ul'); t.append(tile(arguments[0])); return t.innerText"
        assert f"{told[0]:.3f}" in images.js(script, order[0])
    assert images.js("return rows.category[arguments[0]]", order[0]) == 2  # whose multiples doubled
    images.js("moveThreshold(2, arguments[0])", THRESHOLD)


def test_nearest_to_the_threshold(images: Page) -> None:
    images.choose("order", "threshold")
    raw = images.made.scores["score_raw"].to_numpy()[listed(images)[:500]]
    away = np.abs(raw - THRESHOLD)
    assert (np.diff(away) >= 0).all()


def test_the_threshold_of_a_category_moves_counts_precision_and_recall(images: Page) -> None:
    name = sorted(CATEGORIES)[2]
    images.choose("category", "2")
    images.choose("threshold", "0.5512345678")
    at = float(images.js("return decision.thresholds[2]"))
    of = [row for row in rows(images) if row["category"] == name and row["score_raw"] is not None]
    above, label = np.array([row["score_raw"] > at for row in of]), np.array([row["label"] for row in of])
    assert images.text("#reading").startswith(f"{above.sum():,} anomalous of {len(of):,} scored")
    precision, recall = 100 * (above & label).sum() / above.sum(), 100 * (above & label).sum() / label.sum()
    assert images.text("#agreement").startswith(f"precision {precision:.1f} % · recall {recall:.1f} %")
    kept = yaml.safe_load(images.js("return document.querySelector('#keep code').textContent"))
    next_run = RuleConfig(**kept["decision"]["image"]).categories
    assert next_run[name] == pytest.approx(at, abs=1e-2) and len(str(next_run[name])) < len(str(at))
    assert [row["score_raw"] > next_run[name] for row in of] == above.tolist()
    others = {other: THRESHOLD for other in CATEGORIES if other != name}  # to the last digit
    assert next_run == others | {name: next_run[name]}
    images.js("byId('as-run').click()")
    before = sum(row["anomalous"] for row in of)
    assert images.text("#reading").startswith(f"{before:,} anomalous")
    assert images.js("return byId('keep').hidden")


def test_without_a_category_all_thresholds_move_together(images: Page) -> None:
    images.choose("threshold", "1.2")
    factor = float(images.js("return Number(byId('threshold').value)"))
    assert images.js("return decision.thresholds") == pytest.approx([factor * THRESHOLD] * 4)
    above = sum(row["score_raw"] is not None and row["score_raw"] > factor * THRESHOLD for row in rows(images))
    assert images.text("#reading").startswith(f"{above:,} anomalous")


def test_filters_and_thresholds_survive_a_reload_in_the_list_and_on_an_images_page(images: Page) -> None:
    for field, value in {"category": "1", "threshold": "0.6", "find": "1", "order": "name"}.items():
        images.choose(field, value)
    before, at = listed(images), images.js("return decision.thresholds")
    assert 1 < len(before) < len(rows(images)) and at[1] != THRESHOLD
    images.driver.refresh()
    images.wait("return LAKESCORE.ready && view() === 'images'")
    assert listed(images) == before and images.js("return decision.thresholds") == at
    assert images.js("return ['category', 'find', 'order'].map((id) => byId(id).value)") == ["1", "1", "name"]
    images.js(f"location.hash = '#image/{before[0]}'")
    images.driver.refresh()
    images.wait("return LAKESCORE.ready && view() === 'image'")
    assert images.js("return byId('next').hash") == f"#image/{before[1]}"
    images.js("location.hash = '#images'; byId('reset').click()")
    images.driver.refresh()
    images.wait("return LAKESCORE.ready && view() === 'images'")
    assert len(listed(images)) == len(rows(images))


def test_images_without_a_picture_are_listed_by_their_names(images: Page) -> None:
    name = images.js("return rows.uri[rows.drawn.indexOf(false)]").rpartition("/")[2]
    images.choose("find", name)
    assert name in images.text("#tiles li")
    assert "not drawn" in images.text("#tiles .picture")


def test_heat_maps_over_the_list(images: Page) -> None:
    assert images.js("return document.querySelectorAll('#tiles .heat').length") == 0
    images.js("byId('heats').click()")
    assert images.js("return document.querySelectorAll('#tiles .heat').length") > 0
    images.press("o")
    assert not images.js("return byId('heats').checked")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/lake/tray/1.png", "tray/1.png"),
        ("/lake/tray/1.png#xywh=225,20,180,140", "1.png 225,20 180×140"),
        ("s3://lake/tray/\u202e1.png#xywh=0,0,9,9", "\\u{202e}1.png 0,0 9×9"),
        ("/lake/tray/1.png#xywh=225,20,180", "tray/1.png#xywh=225,20,180"),
    ],
)
def test_a_part_is_called_by_its_photograph_and_its_box(uri: str, name: str, images: Page) -> None:
    assert images.js("return tail(arguments[0], 2)", uri) == name
