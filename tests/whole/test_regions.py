"""Regions of whole runs: of each image that is called anomalous, taken up and carried over as their images are."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.result import Result
from pipeline.run import score_lake
from pipeline.schema.tables import REGIONS
from tests.conftest import PlainRun
from tests.running import flags, parse, settings

pytestmark = pytest.mark.usefixtures("ray_here")


def test_each_anomalous_image_has_its_regions_with_its_peak_and_a_reference(plain_run: PlainRun) -> None:
    run = pipeline.open_run(str(plain_run.output))
    assert run.regions.schema == REGIONS.arrow and run.run.files["regions"].path == "regions.parquet"
    regions, scores = run.regions.to_pandas(), run.to_pandas().set_index("uri")
    anomalous = scores[scores["anomalous"]]
    assert set(regions["uri"]) == set(anomalous.index) and len(anomalous) >= 2
    assert (scores.loc[~scores["anomalous"], ["regions", "area_share"]] == 0).all(axis=None)
    for uri, own in regions.groupby("uri"):
        row = scores.loc[uri]
        assert own["region"].tolist() == list(range(1, len(own) + 1)) and row["regions"] == len(own)
        assert own["peak"].max() == pytest.approx(float(run.map(str(uri)).max()), abs=run.run.map_scale)
        assert row["area_share"] == pytest.approx(own["area_share"].sum()) and 0 < row["area_share"] <= 1
        assert (own["x"] + own["width"] <= row["width"] + 1e-6).all() and (own["scored_by"] == "test").all()
        for region in own.to_dict("records"):
            assert region["reference"]["uri"] in scores.index and region["reference"]["uri"] != uri
            assert 0 < region["reference"]["distance"] < 1.2 * region["peak"]  # a mean over some references is the peak


def night(lake: Path, output: Path, run_id: str, *more: str) -> Result:
    return score_lake(parse([*flags(settings(lake, output, output__run_id=run_id)), *more]))


def test_regions_are_carried_over_with_their_images(plain_run: PlainRun, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(plain_run.lake, lake)
    window = "--references.source=window"
    night(lake, tmp_path / "out", "monday", window)
    removed = sorted((lake / "gravel" / "test" / "good").iterdir())[0]
    removed.unlink()
    night(lake, tmp_path / "out", "tuesday", window)
    monday, tuesday = (pipeline.open_run(str(tmp_path / "out"), name) for name in ("monday", "tuesday"))
    kept = monday.regions.to_pandas()
    kept = kept[kept["uri"] != str(removed)].reset_index(drop=True)
    pd.testing.assert_frame_equal(tuesday.regions.to_pandas(), kept)
    assert tuesday.families.equals(monday.families) and monday.families.num_rows >= 2
    assert len(kept) and tuesday.run.counts.carried == tuesday.scores.num_rows == monday.scores.num_rows - 1
    before = monday.to_pandas().set_index("uri")["regions"]
    after = tuesday.to_pandas().set_index("uri")["regions"]
    assert np.array_equal(after, before.loc[after.index])


def test_a_run_that_is_taken_up_after_its_regions_finds_the_same(
    plain_run: PlainRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.run.publish", killed)
        with pytest.raises(KeyboardInterrupt):
            night(plain_run.lake, tmp_path / "out", "test")
    night(plain_run.lake, tmp_path / "out", "test")
    run, plain = (pipeline.open_run(str(output)) for output in (tmp_path / "out", plain_run.output))
    assert run.run.files["regions"].path == "regions-1.parquet" and run.regions.equals(plain.regions)


def test_families_have_the_names_of_the_night_before_until_people_give_them_others(
    plain_run: PlainRun, tmp_path: Path
) -> None:
    share = ["--decision.image.rule=share", "--decision.image.value=0.5"]
    night(plain_run.lake, tmp_path / "out", "monday", *share)
    night(plain_run.lake, tmp_path / "out", "tuesday", *share)
    monday, tuesday = (pipeline.open_run(str(tmp_path / "out"), name) for name in ("monday", "tuesday"))
    scores = monday.to_pandas().set_index("uri")
    assert scores["family"].notna().tolist() == (scores["regions"] > 0).tolist()
    assert tuesday.regions["family"].equals(monday.regions["family"])
    assert sum(tuesday.families["regions"].to_pylist()) == 2 * monday.regions.num_rows
    uri = scores.index[scores["family"].notna()][0]
    (tmp_path / "labels.csv").write_text(f"uri,label,family\n{uri},defect,crack\n")
    night(plain_run.lake, tmp_path / "out", "wednesday", *share, f"--input.labels={tmp_path / 'labels.csv'}")
    night(plain_run.lake, tmp_path / "out", "thursday", *share)
    own = (scores["category"] == scores.loc[uri, "category"]) & (scores["family"] == scores.loc[uri, "family"])
    for name in ("wednesday", "thursday"):
        again = pipeline.open_run(str(tmp_path / "out"), name).to_pandas().set_index("uri")
        pd.testing.assert_series_equal(again["family"], scores["family"].mask(own, "crack"))
