"""What d52b0b9 stored opens today: its runs are read, compared, drawn and exported, and are window and references."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.io import folder
from pipeline.sample.weights import sample_weights
from tests.running import flags as as_flags
from tests.running import read_scores, run_job_here, run_script, settings
from tests.stored.make import LAKE, RUNS, STORED, WEIGHTS, put_lake

IMAGES, NEW = 18, 2  # of the lake, besides one that is empty; and of those, the ones that Tuesday scored
# What the stored runs took by default: the paper's way, and quantiles
PAPER = {"method__preset": "paper", "decision__image__rule": "quantile", "decision__pixel__rule": "quantile"}
WINDOW = PAPER | {"references__source": "window", "references__days": 36500}  # as make.py has it
# Of scores, in their order
COLUMNS = (
    *("category", "uri", "etag", "status", "reason", "detail", "score", "score_raw", "score_final", "stderr"),
    *("references", "anomalous", "rule", "threshold", "pixel_threshold", "regions", "area_share", "family"),
    *("width", "height"),
    *("box_left", "box_top", "box_right", "box_bottom", "original_width", "original_height"),
    *("brightness", "contrast", "sharpness"),
    *("map_uri", "scored_by", "scored_at", "label"),
    *("group", "region_uri", "region_etag", "evidence", "evidence_normal"),
)
DECIDED = ("status", "reason", "references", "anomalous", "rule", "width", "height", "label")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A copy of the stored output, which jobs and runs may write to."""
    return Path(shutil.copytree(STORED / "output", tmp_path / "output"))


@pytest.fixture
def lake() -> Path:
    """The stored lake, where the runs know it."""
    put_lake(sample_weights())
    return LAKE


@pytest.fixture
def tags_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """List local files by the tags of then; those of a bucket's files are the same ever since."""
    monkeypatch.setattr(folder, "_tag", lambda info: f"{info.st_size}-{info.st_mtime_ns // 1000}")


def flags(lake: Path, output: Path, **more: object) -> list[str]:
    """Return settings of the stored runs, for a run of today."""
    encoder = json.loads((output / "runs" / "run_id=batch" / "run.json").read_bytes())["config"]["encoder"]
    assert encoder["weights"] == str(WEIGHTS)
    given = {f"encoder__{name}": encoder[name] for name in ("name", "weights", "weights_sha256", "size")}
    return as_flags(settings(lake, output, **given, output__run_id="today", **more))


def upgraded(output: Path, run_id: str) -> pd.DataFrame:
    """Return the scores of a stored run, as this version reads them."""
    scores: pd.DataFrame = pipeline.open_run(str(output), run_id).to_pandas()
    return scores


def features(output: Path) -> dict[str, bytes]:
    files = [path for path in (output / "features").rglob("*") if path.is_file()]
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def facts(output: Path, run_id: str) -> dict[str, int]:
    counts: dict[str, int] = json.loads((output / "runs" / f"run_id={run_id}" / "run.json").read_bytes())["counts"]
    return counts


@pytest.mark.parametrize(("run_id", "count"), [("batch", IMAGES - NEW), ("monday", IMAGES - NEW), ("tuesday", NEW)])
def test_a_run_is_read(output: Path, run_id: str, count: int) -> None:
    run = pipeline.open_run(str(output), run_id)
    scores = run.to_pandas()
    assert tuple(scores.columns) == COLUMNS and run.regions.num_rows == 0
    assert scores[["box_left", "original_height", "region_uri"]].isna().all(axis=None)  # there were no boxes
    assert run.parts.num_rows == 0 and scores["group"].isna().all()
    scored = scores[scores["status"] == "scored"]
    assert (scored["scored_by"] == run_id).sum() == count
    assert scores["reason"].dropna().tolist() == ["empty"] and len(scores) == len(scored) + 1
    assert run.run.counts.scored == len(scored) and run.metrics["brick"]["image_auroc"].value is not None
    for row in scored.to_dict("records"):
        found = run.map(row)
        assert found.shape == (28, 28) and found.max() == pytest.approx(row["score_raw"], abs=run.run.map_scale)


def test_the_newest_run_is_the_one_that_was_published_last(output: Path) -> None:
    assert pipeline.open_run(str(output)).run.run_id == RUNS[-1] == "tuesday"


def test_a_run_is_inspected(output: Path) -> None:
    done, text = (run_script("inspect_run.py", output, *more) for more in (["--json"], []))
    assert (done.returncode, done.stderr, text.returncode, text.stderr) == (0, "", 0, "")
    found = json.loads(done.stdout)
    assert found["counts"] == {"images": IMAGES + 1, "scored": IMAGES, "quarantined": 1}
    assert found["carried"] == IMAGES - NEW and found["reasons"] == {"empty": 1}
    assert all(name in text.stdout for name in ("tuesday", "brick", "gravel"))


@pytest.mark.parametrize("other", ["batch", "monday"])
def test_two_runs_are_compared(output: Path, other: str) -> None:
    done = run_script("inspect_run.py", output, "--compare", other, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    # gravel's images are the same each night, and so is what they are compared with
    [gravel] = [of for of in found["agreement"] if of["category"] == "gravel"]
    assert gravel["images"] == 8 and gravel["largest"] == 0 and gravel["spearman"] == pytest.approx(1)
    assert found["only_after"]["count"] == NEW and found["only_before"]["count"] == found["changed"]["count"] == 0
    text = run_script("inspect_run.py", output, "--compare", other)
    assert (text.returncode, text.stderr) == (0, "") and other in text.stdout


def test_a_report_is_drawn_anew(lake: Path, output: Path, tmp_path: Path) -> None:
    done = run_script("make_report.py", output, tmp_path / "report")
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    reports = tmp_path / "report", output / "runs" / "run_id=tuesday" / "report"
    now, then = ({str(path.relative_to(report)) for path in report.rglob("*.webp")} for report in reports)
    assert (tmp_path / "report" / "index.html").is_file() and now == then and len(now) > 4 * 3  # crops beside the rest


def test_regions_are_exported(lake: Path, output: Path, tmp_path: Path) -> None:
    done = run_script("export_run.py", output, tmp_path / "defects.json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "defects.json").read_bytes())
    assert len(found["images"]) == IMAGES and found["annotations"]
    assert all((Path(found["info"]["image_root"]) / image["file_name"]).is_file() for image in found["images"])


def test_no_feature_that_a_stored_run_uses_is_garbage(output: Path) -> None:
    before = features(output)
    done = run_script("collect_features.py", output, "--apply", "--hours=0", "--json")
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)["features"]
    assert found["kept"]["images"] == IMAGES and found["garbage"]["files"] == found["damaged"] == found["spare"] == 0
    assert features(output) == before


@pytest.mark.usefixtures("ray_here", "tags_of_then")
def test_a_night_carries_over_what_the_stored_window_scored(lake: Path, output: Path) -> None:
    before = features(output)
    done = run_job_here(*flags(lake, output, **WINDOW))
    assert done.returncode == 0, done.stderr
    counts = facts(output, "today")
    assert counts["carried"] == counts["scored"] == IMAGES and counts["features_reused"] == 0
    assert features(output) == before
    scores, stored = (upgraded(output, run_id).query("status == 'scored'") for run_id in ("today", "tuesday"))
    assert scores[["regions", "area_share", "family"]].isna().all(axis=None)  # nobody looked for any then
    pd.testing.assert_frame_equal(scores[list(COLUMNS)], stored, check_exact=True)


@pytest.mark.usefixtures("ray_here", "tags_of_then")
def test_a_batch_is_scored_from_the_stored_features_as_it_was(lake: Path, output: Path, tmp_path: Path) -> None:
    before, stored = features(output), upgraded(output, "batch")
    stored[["uri", "category", "label"]].to_csv(tmp_path / "batch.csv", index=False)  # the lake grew since
    done = run_job_here(*flags(tmp_path / "batch.csv", output, **PAPER, input__roots=json.dumps([str(lake)])))
    assert done.returncode == 0, done.stderr
    assert facts(output, "today")["features_reused"] == IMAGES - NEW and features(output) == before
    scores = read_scores(output, "today")
    for name in ("category", "uri", "etag", *DECIDED):
        assert scores[name].equals(stored[name]), name
    # equal to the last bit where the processor is the same; another one rounds its products otherwise
    for name, most in {
        "score_raw": 1e-6,
        "threshold": 1e-6,
        "pixel_threshold": 1e-4,
        "score": 1e-5,
        "score_final": 1e-5,
        "stderr": 0,
    }.items():
        np.testing.assert_allclose(scores[name], stored[name], rtol=0, atol=most, err_msg=name)


@pytest.mark.parametrize("run_id", RUNS)
def test_the_final_score_of_then_is_score_final_and_score_is_a_multiple(output: Path, run_id: str) -> None:
    now, then = (of.query("status == 'scored'") for of in (upgraded(output, run_id), read_scores(output, run_id)))
    assert now["score_final"].tolist() == then["score"].tolist()
    assert now["score"].tolist() == (then["score_raw"] / then["threshold"]).tolist()
    assert ((now["score"] > 1) == now["anomalous"].astype(bool)).all()
    run = pipeline.open_run(str(output), run_id).run
    assert run.setting("method.preset") == "paper" and run.setting("method.name") is None


@pytest.mark.usefixtures("ray_here", "tags_of_then")
def test_a_stored_window_is_none_of_another_preset(lake: Path, output: Path) -> None:
    """Scores of two presets do not compare, and features of four layers are none of two."""
    done = run_job_here(*flags(lake, output, **WINDOW | {"method__preset": "lakescore"}))
    assert done.returncode == 0, done.stderr
    counts = facts(output, "today")
    assert (counts["carried"], counts["features_reused"], counts["scored"]) == (0, 0, IMAGES)


@pytest.mark.usefixtures("ray_here")
def test_a_new_image_is_compared_with_the_stored_ones(lake: Path, output: Path, tmp_path: Path) -> None:
    """A copy of an image that Tuesday scored meets the same nine others: itself, in the window, is a near-duplicate."""
    image = LAKE / "brick" / "test" / "good" / "006.png"
    tuesday = read_scores(output, "tuesday").set_index("uri").loc[str(image)]
    shutil.copy(image, tmp_path / "new.png")
    (tmp_path / "new.csv").write_text("uri,category\nnew.png,brick\n")
    done = run_job_here(*flags(tmp_path / "new.csv", output, **WINDOW))
    assert done.returncode == 0, done.stderr
    [row] = read_scores(output, "today").to_dict("records")
    assert tuesday["scored_by"] == "tuesday" and row["references"] == tuesday["references"] == 9
    # the new image is encoded here, the others were where they were stored
    assert row["score_raw"] == pytest.approx(tuesday["score_raw"], abs=1e-4)
