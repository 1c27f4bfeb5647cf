"""Night after night: only what is new is encoded and scored, against the nights before or what somebody pinned."""

import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.engine import telemetry
from pipeline.io.storage import Location
from pipeline.result import Result
from pipeline.run import score_lake
from pipeline.scoring.maps import anomaly_maps
from pipeline.scoring.musc.lnamd import Aggregation
from pipeline.scoring.musc.mutual import query_scores
from pipeline.scoring.search.faiss import FaissSearch
from pipeline.views import View
from tests.conftest import PlainRun
from tests.running import flags, parse, read_scores, settings, small_lake, stored

IMAGES = 12  # of each category

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture
def lake(plain_run: PlainRun) -> Path:
    return plain_run.lake


def night(lake: Path, output: Path, run_id: str, *more: str) -> Result:
    return score_lake(parse([*flags(settings(lake, output, output__run_id=run_id)), *more]))


def expected(result: Result, queries: pd.DataFrame, references: pd.DataFrame) -> np.ndarray:
    """Return raw scores of images against others, from the stored tokens, by the paper's way and another search."""
    (store, of_queries), (_, of_references) = stored(result, queries), stored(result, references)
    own = {uri: place for place, uri in enumerate(references["uri"])}
    position = torch.tensor([own.get(uri, -1) for uri in queries["uri"]])
    layers = []
    for layer in store.layers:
        of, against = (torch.from_numpy(store.tokens(places, layer)) for places in (of_queries, of_references))
        paper, many = Aggregation(store.grid, (1, 3, 5)), len(references)
        layers.append(query_scores(of, position, [[against]], many, many, paper, 0.3, FaissSearch()).scores)
    maps = anomaly_maps(torch.stack(layers).mean(dim=0), View((112, 112), store.grid))
    return np.asarray(maps.amax(dim=(1, 2)))


@pytest.mark.timeout(900)
def test_new_images_are_scored_against_the_window_and_the_others_keep_their_rows(lake: Path, tmp_path: Path) -> None:
    output, grown = tmp_path / "out", tmp_path / "lake"
    shutil.copytree(lake, grown)  # keeps the times of modification, by which a local file's content is known
    window = ["--references.source=window", "--references.count=10", "--references.near_duplicates=1"]
    window += ["--method.preset=paper", "--decision.image.rule=quantile"]
    first = night(grown, output, "monday", *window)
    assert first.run.counts.carried == 0 and first.run.counts.scored == 2 * IMAGES
    before = read_scores(output, "monday")

    new = small_lake(tmp_path / "new", categories=("brick", "gravel"), images=IMAGES + 3)
    fresh = [path for path in sorted(new.glob("brick/test/*/*.png")) if int(path.stem) >= IMAGES]
    for path in fresh:
        (target := grown / path.relative_to(new)).parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    (grown / "gravel" / "test" / "good" / "000.png").unlink()
    second = night(grown, output, "tuesday", *window)
    assert second.run.counts.model_dump() | {"anomalous": 0} == {
        "images": 2 * IMAGES + 2,
        "scored": 2 * IMAGES + 2,
        "carried": 2 * IMAGES - 1,
        "quarantined": 0,
        "reasons": {},
        "features_reused": 0,
        "other_files": 0,
        "anomalous": 0,
    }
    scores = read_scores(output, "tuesday")
    assert not scores["uri"].str.endswith("gravel/test/good/000.png").any()  # it left the lake
    added = scores[scores["scored_by"] == "tuesday"]
    assert len(added) == 3 and (added["references"] == IMAGES).all()
    brick = before[before["category"] == "brick"]
    np.testing.assert_allclose(added["score_raw"], expected(second, added, brick), rtol=0, atol=1e-5)
    kept = scores[scores["scored_by"] == "monday"].merge(before, on="uri", suffixes=("", "_before"))
    for name in ("score", "score_raw", "score_final", "anomalous", "threshold", "scored_at", "map_uri"):
        assert kept[name].equals(kept[f"{name}_before"]), name
    # the threshold is the quantile of the references' own scores
    assert added["threshold"].iloc[0] == pytest.approx(brick["score_raw"].quantile(0.95))
    assert (added["anomalous"] == (added["score_raw"] > added["threshold"])).all()
    assert set(second.run.drift) == {"brick"} and second.run.drifted == []

    third = night(grown, output, "wednesday", *window)  # nothing is new
    assert third.run.counts.carried == 2 * IMAGES + 2 and third.run.seconds["score"] < 1
    assert read_scores(output, "wednesday")["score"].equals(scores["score"])


def test_pinned_references_may_lie_elsewhere_and_are_no_rows(lake: Path, tmp_path: Path) -> None:
    only, elsewhere = tmp_path / "lake", tmp_path / "golden"
    shutil.copytree(lake / "brick", only / "brick")
    small_lake(elsewhere, categories=("brick",), images=IMAGES + 9)
    others = [path for path in sorted(elsewhere.rglob("good/*.png")) if int(path.stem) >= IMAGES]
    inside = sorted((only / "brick" / "test" / "good").glob("*.png"))[:2]
    chosen = [*others, *inside]
    (elsewhere / "pinned.csv").write_text("uri,category\n" + "".join(f"{path},brick\n" for path in chosen))
    more = ["--references.source=pinned", f"--references.pinned={elsewhere / 'pinned.csv'}", "--method.preset=paper"]
    result = night(only, tmp_path / "out", "pinned", *more)
    scores = read_scores(tmp_path / "out", "pinned")
    assert len(scores) == IMAGES and scores["stderr"].isna().all() and len(others) > 3
    itself = scores["uri"].isin([str(path) for path in inside])
    assert (scores["references"] == len(chosen) - itself).all()
    references = pd.DataFrame(
        [{"uri": str(path), "etag": Location.parse(str(path)).entry().etag, "category": "brick"} for path in chosen]
    )
    found = expected(result, scores, references)
    np.testing.assert_allclose(scores["score_raw"], found, rtol=0, atol=1e-5)


def test_a_burst_does_not_vouch_for_its_own_defect(plain_run: PlainRun, tmp_path: Path) -> None:
    twice = tmp_path / "lake"
    shutil.copytree(plain_run.lake / "brick", twice / "brick")
    [bad] = sorted((twice / "brick" / "test").glob("[!g]*/*.png"))[:1]
    for number in range(7):  # more than 30 % of the others
        shutil.copy(bad, bad.with_name(f"9{number}.png"))
    night(twice, tmp_path / "kept", "x", "--references.near_duplicates=0.999")
    kept = read_scores(tmp_path / "kept", "x").set_index("uri")
    alone = plain_run.scores.set_index("uri")
    copies = kept.loc[[uri for uri in kept.index if "/9" in uri] + [str(bad)]]
    assert (copies["references"] == IMAGES - 1).all() and (kept.drop(copies.index)["references"] == IMAGES + 6).all()
    original = alone["score_raw"].to_dict()[str(bad).replace(str(twice), str(plain_run.lake))]
    np.testing.assert_allclose(copies["score_raw"], original, rtol=0, atol=1e-5)


def test_drift_is_flagged_in_run_json_and_in_the_log_and_counted(
    plain_run: PlainRun, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, dark = tmp_path / "out", tmp_path / "dark"
    shutil.copytree(plain_run.output, output)
    for path in plain_run.lake.rglob("brick/test/*/*.png"):
        target = dark / path.relative_to(plain_run.lake)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).point(lambda value: value // 3).save(target)
    (dark / "brick" / "test" / "good" / "broken.png").write_bytes(b"no image")
    counted = Counter[tuple[str, ...]]()  # a Ray without a dashboard shows its counters to nobody

    def counter(name: str, *_: str) -> SimpleNamespace:
        return SimpleNamespace(inc=lambda value, tags=None: counted.update({(name, *(tags or {}).values()): value}))

    monkeypatch.setattr(telemetry, "_counter", counter)
    night(dark, output, "after")
    run = json.loads((output / "runs" / "run_id=after" / "run.json").read_bytes())
    assert run["drifted"] == ["brick"]
    assert run["drift"]["brick"]["brightness"]["drifted"] and not run["drift"]["brick"]["quarantined"]["drifted"]
    [line] = [record for record in caplog.records if getattr(record, "quantity", "") == "brightness"]
    assert line.levelname == "WARNING" and line.event == "drift"  # type: ignore[attr-defined]
    assert counted["images", "scored", ""] == IMAGES and counted["images", "quarantined", "not_an_image"] == 1
    assert counted["runs", "published"] == counted["drifted_categories",] == 1
    assert counted["bytes", "written"] > 1e4 and counted["stage_seconds", "score"] > 0
