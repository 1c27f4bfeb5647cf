"""The search is measured on a worker, once."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.config import ScoreConfig
from pipeline.engine import calibrate
from pipeline.engine.calibrate import estimate
from pipeline.engine.cluster import pool
from pipeline.io.storage import Location
from pipeline.plan.units import Members
from pipeline.scoring.scorer import Layer, make_scorer
from pipeline.scoring.search.tuning import TILES

LAYER = Layer((8, 8), 32, 2)


def test_what_was_measured_is_kept_below_the_output_for_the_next_run(
    ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "WORTH_MEASURING", 0)
    config = ScoreConfig.model_validate({"input": {"uri": "in"}, "output": {"uri": "out"}, "search": {"dtype": "bf16"}})
    scorer, output = make_scorer(config, LAYER), Location.parse(str(tmp_path))
    units = scorer.units(0, {"bottle": Members(20, 20, 20, "d1", LAYER.grid)}, (2, 5), 4e9, 4e12)
    workers = pool(config.ray.score)
    first, tuning = estimate(units, scorer, config, LAYER, workers, output)
    [kept] = (tmp_path / "calibration").iterdir()  # and no probe
    answer = json.loads(kept.read_bytes())
    assert answer["tuning"] == asdict(tuning)
    assert tuning.kind == "gemm" and tuning.tile in TILES["cpu"]
    assert answer["question"]["dtype"] == "bf16" and answer["question"]["cpus"] == workers.cpus

    # The next run reads it, and asks no worker. Another tile and other rates are those of the file.
    answer["tuning"] |= {"tile": 12345, "products": tuning.products / 2, "aggregated": tuning.aggregated / 2}
    answer["read"] /= 2
    kept.write_text(json.dumps(answer))
    monkeypatch.delattr(calibrate, "measure")
    second, again = estimate(units, scorer, config, LAYER, workers, output)
    assert again.tile == 12345
    assert second.cost == first.cost and second.seconds == pytest.approx(2 * first.seconds)
