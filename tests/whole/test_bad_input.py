"""A lake of bad files: every input ends as one row, and what cannot work is said before anything is published."""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from pipeline.images import Reason
from tests.corpus import CORPUS
from tests.running import flags, read_scores, run_job_here, settings, small_lake


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return small_lake(tmp_path / "lake", categories=("brick",), images=6)


@dataclass(frozen=True)
class BadRun:
    """A run of a lake in which nearly everything is wrong that can be, and what it printed."""

    scores: pd.DataFrame
    printed: str
    maskless: str  # an anomalous image of brick


@pytest.fixture(scope="module")
def bad_run(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> BadRun:
    folder = tmp_path_factory.mktemp("bad")
    lake = small_lake(folder / "lake", categories=("brick",), images=6)
    mask = next((lake / "brick" / "ground_truth").rglob("*.png"))
    mask.unlink()
    bad = lake / "bad #1% é" / "test" / "good"
    bad.mkdir(parents=True)
    for name, (content, _) in CORPUS.items():
        (bad / name).write_bytes(content)
    (bad / "a file\nof two lines").write_bytes(b"")
    (bad / "nowhere.png").symlink_to("nowhere")
    os.mkfifo(bad / "pipe.png")
    lonely = lake / "alone" / "test" / "good"
    lonely.mkdir(parents=True)
    (lonely / "one.png").write_bytes(next((lake / "brick").rglob("000.png")).read_bytes())

    done = run_job_here(*flags(settings(lake, folder / "out", report__images=500)))
    assert done.returncode == 0, done.stderr
    return BadRun(read_scores(folder / "out"), done.stdout, mask.name.removesuffix("_mask.png"))


def test_every_file_of_a_bad_lake_ends_as_one_row(bad_run: BadRun) -> None:
    scores = bad_run.scores
    assert not scores["uri"].duplicated().any() and len(scores) == len(CORPUS) + 3 + 6 + 1
    scores["name"] = scores["uri"].str.rpartition("/")[2]
    rows = scores[scores["category"] == "bad #1% é"].set_index("name")
    expected = {name: reason for name, (_, reason) in CORPUS.items()}
    expected |= {"nowhere.png": Reason.UNREADABLE, "pipe.png": Reason.UNREADABLE, "a file\nof two lines": Reason.EMPTY}
    found = {name: row["reason"] if row["status"] == "quarantined" else None for name, row in rows.iterrows()}
    assert found == expected
    assert rows[rows["status"] == "quarantined"]["detail"].str.len().gt(0).all()
    assert rows[rows["status"] == "scored"]["score"].notna().all()
    assert scores[scores["category"] == "alone"]["reason"].tolist() == ["alone"]
    assert scores[scores["category"] == "brick"]["status"].eq("scored").all()


def test_masks_that_do_not_fit_leave_the_scores_and_say_why_there_are_no_pixel_metrics(bad_run: BadRun) -> None:
    assert bad_run.scores[bad_run.scores["category"] == "brick"]["score"].notna().all()
    said = bad_run.printed.partition("brick: no pixel metrics: 1 anomalous images lack a mask, such as")[2]
    assert f"/{bad_run.maskless}.png" in "".join(said.split())  # an address may be broken over lines


def test_an_empty_folder_has_nothing_to_score(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    done = run_job_here(*flags(settings(tmp_path / "lake", tmp_path / "out")))
    assert done.returncode == 3 and "no image in" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_lake_without_one_good_image_is_published_with_the_reasons(ray_here: None, tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / "lake" / "parts" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    done = run_job_here(*flags(settings(tmp_path / "lake", tmp_path / "out")))
    assert done.returncode == 3, done.stderr
    assert read_scores(tmp_path / "out")["reason"].tolist() == ["not_an_image"] * 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"input.uri": "/nowhere/at/all"}, "there is nothing at /nowhere/at/all"),
        ({"encoder.layers": "[2,99]"}, "99 is out of range"),
        ({"encoder.size": "100"}, "use 98 or 112"),
        ({"encoder.weights": "/nowhere.safetensors"}, "/nowhere.safetensors"),
        ({"method.degrees": "[2]"}, "method.degrees"),
        ({"method.degrees": "[1]"}, "degrees is a setting of preset paper: preset lakescore has none"),
        ({"output.run_id": "../../etc"}, "output.run_id"),
        ({"input.uri": "gcs://bucket/lake"}, "gcs:// is not supported"),
    ],
)
def test_a_setting_that_cannot_work_is_said_before_anything_is_written(
    lake: Path, tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    done = run_job_here(*flags(settings(lake, tmp_path / "out") | changed))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()  # not even claimed: corrected, the same run id works


def test_an_output_that_cannot_be_written_is_named_before_the_work_begins(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")  # permissions would not stop root
    done = run_job_here(*flags(settings(lake, tmp_path / "file" / "out")))
    assert done.returncode == 1
    assert f"cannot write {tmp_path}/file/out" in done.stderr and "Traceback" not in done.stderr
    assert "extract" not in done.stderr
