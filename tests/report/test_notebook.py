"""A run opened by its address: tables and maps of what was published, and a look that harms no browser."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

import pipeline
from pipeline.errors import ConfigError, StorageError
from pipeline.io.storage import Location
from pipeline.report.notebook import Run
from tests.corpus import encoded
from tests.published import publish, row

HOSTILE = "<script>alert('1')</script>&\u202e\x1b[2J.png"
LEVELS = np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000


def opened(output: Location) -> Run:
    """Publish two runs of one image with a map, one without, and a quarantined one, and open the newest."""
    rows = [
        row("nut", HOSTILE, 0.5, map_uri="maps/a.png", anomalous=True, detail=None),
        row("<b>bolt</b>", "plain", 0.25, map_uri="maps/gone.png", anomalous=False, detail=None),
        row("nut", "bad", None, map_uri=None, detail="its end is missing"),
    ]
    metrics = [{"category": "nut", "name": "image_auroc", "value": 0.75, "reason": None}]
    publish(output.uri, "first", rows[:1])
    publish(output.uri, "second", rows, metrics)
    (output / "maps" / "a.png").write_bytes(encoded(Image.fromarray(LEVELS), "PNG"))
    return pipeline.open_run(output.uri)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return opened(Location.parse(str(tmp_path)))


def test_the_newest_run_is_opened_or_the_one_that_is_named(place: Location) -> None:
    run = opened(place)
    assert run.run.run_id == "second" and run.scores.num_rows == len(run.to_pandas()) == 3
    assert run.metrics["nut"]["image_auroc"].value == 0.75
    assert pipeline.open_run(place.uri, "first").scores["uri"].to_pylist() == [HOSTILE]
    assert_allclose(run.map(HOSTILE), LEVELS * 3e-5, rtol=1e-6)


def test_a_map_is_found_by_uri_and_by_any_kind_of_row(run: Run) -> None:
    expected = run.map(HOSTILE)
    assert expected.dtype == np.float32 and expected.shape == (3, 4)
    for named in (run.scores.to_pylist()[0], run.to_pandas().iloc[0]):
        assert np.array_equal(run.map(named), expected)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("other", "there is no image 'other' in run second"),
        ("bad", "bad has no map: it is quarantined, damaged: its end is missing"),
    ],
)
def test_an_image_without_a_map_is_named(run: Run, uri: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run.map(uri)


def test_a_map_that_is_gone_or_damaged_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="maps/gone.png: there is no such file"):
        run.map("plain")
    whole = (tmp_path / "maps" / "a.png").read_bytes()
    for content in (b"", b"GIF89a", whole[:60]):
        (tmp_path / "maps" / "gone.png").write_bytes(content)
        with pytest.raises(StorageError, match="maps/gone.png is damaged"):
            run.map("plain")


@pytest.mark.parametrize("run_id", [None, "third"])
def test_where_there_is_no_run_that_is_said(tmp_path: Path, run_id: str | None) -> None:
    with pytest.raises((ConfigError, StorageError), match=r"no finished run at .*third|no run was published below"):
        pipeline.open_run(str(tmp_path), run_id)


class Page(HTMLParser):
    """Collects the tags and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_run_shows_itself_as_tables_that_run_nothing(run: Run, tmp_path: Path) -> None:
    page = Page(run._repr_html_())
    assert page.tags == {"p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert "<script>alert('1')</script>&\\u202e\\x1b[2J.png" in page.texts and "<b>bolt</b>" in page.texts
    said = "3 images = 2 scored + 1 quarantined, 1 anomalous"
    assert any(said in text for text in page.texts)
    assert repr(run) == f"<Run second in {tmp_path}: {said}>"


def test_a_name_of_any_length_is_shown_whole(tmp_path: Path) -> None:
    publish(tmp_path, "one", [row("nut", "x" * 300, 0.5)])
    assert "x" * 300 in pipeline.open_run(str(tmp_path))._repr_html_()
