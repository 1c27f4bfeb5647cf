"""The review loop, whole: a run, an inspector's marks in its report, and what the next run makes of them."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from selenium.webdriver import Chrome, Keys

from tests.browser.conftest import Page
from tests.browser.test_marks import downloaded
from tests.reports import Made
from tests.running import flags, read_scores, run_job_here, run_script, settings, small_lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of one category that nobody has labelled: defects are told by their names alone, and only to the test."""
    folder = tmp_path_factory.mktemp("review") / "lake"
    small_lake(folder, ("brick",), images=14)
    for image in list((folder / "brick" / "test").rglob("*.png")):
        image.rename(folder / "brick" / f"{image.parent.name}-{image.name}")
    for labelled in ("test", "ground_truth"):
        shutil.rmtree(folder / "brick" / labelled)
    return folder


def opened(driver: Chrome, output: Path, run_id: str) -> tuple[Page, pd.DataFrame]:
    """Open a run's report; its rows are those of its scores."""
    scores = read_scores(output, run_id)
    made = Made(output / "runs" / f"run_id={run_id}" / "report", pa.Table.from_pandas(scores[["uri"]]))
    page = Page(driver, made)
    page.open()
    return page, scores


def test_what_an_inspector_marks_the_next_run_measures_decides_and_compares_by(
    ray_here: None, driver: Chrome, downloads: Path, lake: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    first = run_job_here(*flags(settings(lake, output, output__run_id="first", report__images=20)))
    assert first.returncode == 0, first.stderr
    page, scores = opened(driver, output, "first")
    assert "No metrics" in page.text("#view-overview")
    defects = {n for n, uri in enumerate(scores["uri"]) if not Path(uri).name.startswith("good")}
    assert 0 < len(defects) < len(scores)
    worst = page.js("return ordered('score')[0]")
    page.open(f"#image/{worst}")
    for _ in range(len(scores)):  # by keys alone, the worst first, as an inspector goes through them
        n = page.js("return shownImage")
        page.press("d" if n in defects else "n")
        page.press(Keys.ARROW_RIGHT)
        page.wait(f"return shownImage !== {n} || gallery.at === gallery.listed.length - 1")
    assert page.text("#marked") == f"{len(scores)} marked"
    page.js("byId('download').click()")
    labels = downloaded(downloads)

    again = {"output__run_id": "second", "input__labels": labels, "decision__image__rule": "best_f1"}
    second = run_job_here(*flags(settings(lake, output, report__images=20, **again)))
    assert second.returncode == 0, second.stderr
    page, scores = opened(driver, output, "second")
    assert scores["label"].tolist() == [n in defects for n in range(len(scores))]
    assert set(scores["rule"]) == {"best_f1"}
    assert "I-AUROC" in page.text("#view-overview") and "best_f1" in page.js("return JSON.stringify(LAKESCORE.facts)")
    page.open("#images")
    assert "precision" in page.text("#agreement")
    found = page.js("return tally(null)")
    assert (found["labelled"], found["hits"] + found["misses"]) == (len(scores), len(defects))

    pins = tmp_path / "pins.csv"
    pinned = run_script("pin_normals.py", output, labels, pins, "--run_id", "second")
    assert pinned.returncode == 0, pinned.stderr
    again = {"output__run_id": "third", "references__source": "pinned", "references__pinned": pins}
    third = run_job_here(*flags(settings(lake, output, report__images=20, **again)))
    assert third.returncode == 0, third.stderr
    page, scores = opened(driver, output, "third")
    normals = len(scores) - len(defects)
    assert {scores["references"][n] for n in defects} == {normals}
    page.open(f"#image/{min(defects)}")
    page.wait("return document.querySelectorAll('#evidence a').length > 0")
    shown = page.js("return [...document.querySelectorAll('#evidence a')].map(a => Number(a.hash.split('/')[1]))")
    assert shown and not set(shown) & defects  # a defect is compared with confirmed normals alone
    assert page.complaints() == []
