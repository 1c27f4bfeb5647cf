"""The search is measured on a worker, once."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.config import ScoreConfig
from pipeline.encoders import EncoderSpec
from pipeline.engine import calibrate
from pipeline.engine.calibrate import estimate
from pipeline.engine.cluster import pool
from pipeline.io.storage import Location
from pipeline.plan.units import Members
from pipeline.scoring.search.tuning import TILES
from pipeline.stages.score import plan, shape_of

SPEC = EncoderSpec("any", grid=(8, 8), width=32, embedding=5, layers=(2, 5), fingerprint="f")


def test_what_was_measured_is_kept_below_the_output_for_the_next_run(
    ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "WORTH_MEASURING", 0)
    config = ScoreConfig.model_validate({"input": {"uri": "in"}, "output": {"uri": "out"}, "search": {"dtype": "bf16"}})
    units = plan(config, SPEC, {"bottle": Members(20, 20, 20, "d1")}, "cpu")
    shape, output = shape_of(config, SPEC), Location.parse(str(tmp_path))
    workers = pool(config.ray.score)
    first, tuning = estimate(units, shape, config, SPEC, workers, output)
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
    second, again = estimate(units, shape, config, SPEC, workers, output)
    assert again.tile == 12345
    assert second.cost == first.cost and second.seconds == pytest.approx(2 * first.seconds)
