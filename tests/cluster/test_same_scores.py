"""However a run is started and cut up, the scores are the same."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.result import Result
from pipeline.run import score_lake
from pipeline.scoring.maps import anomaly_maps
from pipeline.scoring.musc.lnamd import Aggregation
from pipeline.scoring.musc.mutual import query_scores
from pipeline.scoring.musc.projection import pca
from pipeline.scoring.search.faiss import FaissSearch
from pipeline.views import View
from tests.conftest import PlainRun
from tests.running import flags, parse, read_scores, run_job, settings, stored

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture
def lake(plain_run: PlainRun) -> Path:
    return plain_run.lake


@pytest.fixture
def plain(plain_run: PlainRun) -> Path:
    """The output of the run that everything here is compared with."""
    return plain_run.output


def largest_difference(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the largest difference of any raw score, and with preset paper of any final one.

    The rows must be of the same images. A threshold lies beyond the scores that it is found from, by up to a few times
    their spread: so much larger may the rounding be in it, and in `score`.
    """
    assert one["uri"].tolist() == other["uri"].tolist()
    assert one["score"].notna().all()
    columns = ["score_raw", *(["score_final"] if one["score_final"].notna().any() else [])]
    largest = float(np.abs(one[columns].to_numpy() - other[columns].to_numpy()).max())
    np.testing.assert_allclose(one["score"], other["score"], rtol=10 * largest / one["score_raw"].min() + 1e-12)
    return largest


def run(lake: Path, output: Path, *more: str) -> Result:
    """Run on this process's Ray."""
    return score_lake(parse([*flags(settings(lake, output)), *more]))


def test_a_run_leaves_what_readers_need(plain: Path) -> None:
    folder = plain / "runs" / "run_id=test"
    assert sorted(path.name for path in folder.iterdir()) == [
        "catalog.parquet",
        "families.parquet",
        "maps",
        "metrics.json",
        "metrics.parquet",
        "parts.parquet",
        "pixels.parquet",
        "regions.parquet",
        "report",
        "run.json",
        "scores",
    ]
    assert (plain / "latest.json").exists() and not (plain / "work" / "run_id=test").exists()
    scores = read_scores(plain)
    assert len(scores) == 24 and (scores["status"] == "scored").all()
    assert (scores["references"] == 11).all() and (scores["stderr"] == 0).all()  # nothing was drawn
    assert all((plain / name.partition("#")[0]).exists() for name in scores["map_uri"])


@dataclass(frozen=True)
class Again:
    """The same run by a plain `python jobs/score_dataset.py`: a Ray of its own, and as many workers as is usual."""

    output: Path
    printed: str
    log: str


@pytest.fixture(scope="module")
def again(plain_run: PlainRun, tmp_path_factory: pytest.TempPathFactory) -> Again:
    output = tmp_path_factory.mktemp("again")
    values = settings(plain_run.lake, output)
    usual = {name: value for name, value in values.items() if not name.startswith(("ray.", "report."))}
    done = run_job(*flags(usual), "--log=json")
    assert done.returncode == 0, done.stderr
    return Again(output, done.stdout, done.stderr)


def test_log_lines_are_for_machines(again: Again) -> None:
    lines = [json.loads(line) for line in again.log.splitlines()]  # not even Ray says a word of another kind
    assert {line["run_id"] for line in lines} == {"test"} and all(line["time"] and line["level"] for line in lines)
    units = [line for line in lines if "unit" in line]
    assert len(units) == 2 and all(line["stage"] == "score" and line["seconds"] > 0 for line in units)
    ends = {line["stage"]: line for line in lines if "total" in line}
    assert ends["extract"]["done"] == ends["extract"]["total"] == 24


def test_the_same_run_twice_gives_identical_bytes(plain: Path, again: Again) -> None:
    assert "brick" in again.printed and str(again.output) in again.printed
    compared = 0
    for path in plain.rglob("*"):
        if path.is_file() and path.name not in ("run.json", "run.js", "part-00000.parquet"):  # they hold times
            assert path.read_bytes() == (again.output / path.relative_to(plain)).read_bytes(), path
            compared += 1
    report = sum(path.is_file() for path in plain.glob("runs/*/report/**/*")) - 1  # run.js
    assert report > 24 * (4 + 14)
    others = (
        2 + 7 + 1 + 6 + 1
    )  # maps; catalog, pixels, regions, families, parts, two of metrics; latest.json; features, index; encoder
    assert compared == others + report
    one, other = (read_scores(output).drop(columns="scored_at") for output in (plain, again.output))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_either_search_gives_the_same_scores(lake: Path, plain: Path, tmp_path: Path) -> None:
    result = run(lake, tmp_path, "--search.kind=faiss")
    assert result.run.search.kind == "faiss"
    assert largest_difference(read_scores(plain), read_scores(tmp_path)) <= 1e-5


def test_more_workers_on_smaller_units_give_the_same_scores(lake: Path, plain: Path, tmp_path: Path) -> None:
    pools = [f"--ray.{stage}.{end}=4" for stage in ("encode", "score") for end in ("min", "max")]
    result = run(lake, tmp_path, *pools, "--search.memory_gb=0.0002")
    assert sum(result.run.nodes.units.values()) > 2  # a unit for each category holds it whole
    assert largest_difference(read_scores(plain), read_scores(tmp_path)) <= 1e-6


def test_a_quadratic_run_is_refused_and_a_sample_of_references_taken_instead(
    lake: Path, plain: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"'brick' has 12 images.*about \d+ s.*references\.quadratic") as caught:
        run(lake, tmp_path, "--references.mode=all", "--references.limit=11")
    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())  # the run id is still free
    run(lake, tmp_path, "--references.mode=sample", "--references.count=4")
    sampled, scores = read_scores(tmp_path), read_scores(plain)
    assert largest_difference(scores, sampled) > 1e-3
    for _, category in sampled.groupby("category"):
        assert sorted(category["references"]) == [3] * 4 + [4] * 8
    assert np.isfinite(sampled["stderr"]).all() and (sampled["stderr"] > 0).all()
    # the error is of one patch, and of a score that the largest of all patches makes: what it tells is a size
    assert np.abs(sampled["score_raw"] - scores["score_raw"]).mean() < 3 * sampled["stderr"].mean()


def test_pinned_references_are_taken_with_fused_and_projected_vectors_in_units_of_any_size(
    lake: Path, tmp_path: Path
) -> None:
    chosen = sorted(str(path) for path in (lake / "brick" / "test").rglob("*.png"))[::2]
    chosen += sorted(str(path) for path in (lake / "gravel" / "test").rglob("*.png"))[:3]
    lines = [f"{uri},{Path(uri).parents[2].name}\n" for uri in [*chosen, "/another/lake/brick/test/good/1.png"]]
    (tmp_path / "pinned.csv").write_text("".join(["uri,category\n", *lines]))
    more = [
        "--references.source=pinned",
        f"--references.pinned={tmp_path / 'pinned.csv'}",
        "--references.near_duplicates=1",
    ]
    more += ["--method.preset=paper", "--method.fuse_degrees=true"]
    more += ["--method.projection=pca", "--method.projection_width=8", "--search.memory_gb=0.0001"]
    result = run(lake, tmp_path / "out", *more)
    assert sum(result.run.nodes.units.values()) > 8
    scores = read_scores(tmp_path / "out")
    assert scores["stderr"].isna().all()  # nobody knows how they were chosen
    references = scores["uri"].isin(chosen)
    assert (scores["references"] == scores["category"].map({"brick": 6, "gravel": 3}) - references).all()

    for _, rows in scores.groupby("category"):
        store, places = stored(result, rows)
        own = np.flatnonzero(references[rows.index])
        patch_scores = []
        for layer in store.layers:
            tokens = torch.from_numpy(store.tokens(places, layer))
            [vectors] = Aggregation(store.grid, (1, 3, 5), fuse=True)(tokens[own])
            paper = Aggregation(store.grid, (1, 3, 5), fuse=True, projection=pca(vectors.flatten(0, 1), 8))
            position = torch.tensor([int(np.searchsorted(own, i)) if i in own else -1 for i in range(12)])
            scored = query_scores(tokens, position, [[tokens[own]]], len(own), len(own), paper, 0.3, FaissSearch())
            patch_scores.append(scored.scores)
        maps = anomaly_maps(torch.stack(patch_scores).mean(dim=0), View((112, 112), store.grid))
        np.testing.assert_allclose(rows["score_raw"], maps.amax(dim=(1, 2)), rtol=0, atol=1e-5)


def test_a_renamed_copy_as_another_category_changes_nothing(lake: Path, plain: Path, tmp_path: Path) -> None:
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    renamed = {}
    for place, path in enumerate(sorted((lake / "brick" / "test").rglob("*.png"))):
        defect = path.parent.name
        target = copy / "a #1% copy" / "test" / defect / f"{999 - place} é.png"  # another order, too
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        renamed[str(target)] = str(path)
    run(copy, tmp_path / "out")
    found, before = (
        {row["uri"]: row["score_raw"] for row in read_scores(output).to_dict("records")}
        for output in (tmp_path / "out", plain)
    )
    for name, source in renamed.items():
        assert found[name] == pytest.approx(before[source], abs=1e-6)
    for original, scores in before.items():
        kept = str(copy / Path(original).relative_to(lake))
        assert found[kept] == pytest.approx(scores, abs=1e-6)


def test_a_finished_run_is_read_and_not_done_again(lake: Path, plain: Path) -> None:
    before = (plain / "latest.json").stat().st_mtime_ns
    # starts no Ray; what a run may cost does not tell runs apart
    result = score_lake(parse([*flags(settings(lake, plain)), "--references.quadratic=true"]))
    assert result.scores.num_rows == 24 and result.metrics["brick"]["image_auroc"].value is not None
    assert (plain / "latest.json").stat().st_mtime_ns == before


def test_a_run_killed_after_run_json_is_finished_by_the_next_start(lake: Path, plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    (tmp_path / "latest.json").unlink()
    (tmp_path / "work" / "run_id=test").mkdir(parents=True)
    score_lake(parse(flags(settings(lake, tmp_path))))  # starts no Ray
    assert (tmp_path / "latest.json").read_bytes() == (plain / "latest.json").read_bytes()
    assert not (tmp_path / "work" / "run_id=test").exists()


def test_the_next_run_encodes_only_what_is_new(lake: Path, plain: Path, tmp_path: Path) -> None:
    first = json.loads((plain / "runs" / "run_id=test" / "run.json").read_bytes())
    assert first["counts"]["features_reused"] == 0
    output, grown, new = tmp_path / "out", tmp_path / "lake.csv", tmp_path / "new.png"
    shutil.copytree(plain / "features", output / "features")
    shutil.copy(lake / "brick" / "test" / "good" / "000.png", new)
    rows = [f"{path},{path.relative_to(lake).parts[0]}\n" for path in sorted(lake.glob("*/test/**/*.png"))]
    grown.write_text("".join(["uri,category\n", *rows, f"{new},brick\n"]))
    roots = f"--input.roots=[{lake},{tmp_path}]"
    second = run(grown, output, roots)
    assert second.run.counts.features_reused == 24 and second.run.counts.scored == 25
    # what is stored obeys this run's limits, too
    third = run(grown, output, roots, "--output.run_id=third", "--input.max_pixels=1000")
    assert third.run.counts.reasons == {"too_large": 25}
