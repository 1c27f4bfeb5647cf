"""What is measured before a run starts, and what is said of its cost; tests/cluster measures on a real worker."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import ScoreConfig, SearchConfig
from pipeline.engine import calibrate
from pipeline.engine.calibrate import READ, WORTH_MEASURING, Estimate, announce, estimate, measure, memory_of
from pipeline.engine.cluster import Pool
from pipeline.errors import ConfigError
from pipeline.io.storage import Location
from pipeline.plan.cost import Cost
from pipeline.plan.units import UNIT_MEMORY, Members, Unit
from pipeline.scoring.scorer import Layer, Scorer, make_scorer

LAYER = Layer((8, 8), 32, 2)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def config(**references: object) -> ScoreConfig:
    return ScoreConfig.model_validate(
        {"input": {"uri": "in"}, "output": {"uri": "out"}, "search": {"dtype": "bf16"}, "references": references}
    )


def units(scorer: Scorer, images: int) -> list[Unit]:
    members = {"bottle": Members(images, images, images, "d1", LAYER.grid)}
    passes = range(scorer.passes)
    return [unit for of_pass in passes for unit in scorer.units(of_pass, members, (2, 5), 4e9, 4e12)]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("method", [{}, {"preset": "paper", "projection": "pca", "projection_width": 16}], ids=len)
def test_a_worker_answers_with_a_search_and_its_rates_and_leaves_nothing_behind(
    method: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "PROBE_BYTES", 1 << 20)
    config = ScoreConfig.model_validate(
        {
            "input": {"uri": "in"},
            "output": {"uri": "out"},
            "search": {"dtype": "int8"},
            "method": method,
        }
    )
    tuning, read = measure(config, LAYER, "cpu", 1, Location.parse(str(tmp_path / "calibration" / "a.probe")))
    assert torch.get_num_threads() == 1
    assert tuning.kind == "gemm" and tuning.products > 0 and tuning.aggregated > 0
    assert 1e3 < read < 1e12
    assert not list(tmp_path.rglob("*.*"))


def test_a_short_run_is_not_worth_measuring(tmp_path: Path) -> None:
    # Ray is not even up.
    scorer = make_scorer(config(), LAYER)
    planned = units(scorer, 20)
    cost = sum(map(scorer.cost, planned), Cost())
    assert 0 < cost.products < WORTH_MEASURING
    found, tuning = estimate(planned, scorer, config(), LAYER, Pool(4, 1, 0), Location.parse(str(tmp_path)))
    assert tuning == scorer.untuned("cpu") and not list(tmp_path.iterdir())
    assert found.cost == cost and found.workers == 4
    seconds = cost.products / tuning.products + cost.aggregated / tuning.aggregated + cost.read / READ
    assert found.seconds == pytest.approx(seconds / 4)


@pytest.mark.parametrize(("seconds", "said"), [(12.4, "12 s"), (359, "359 s"), (5400, "1.5 h")])
def test_an_estimate_is_said_in_one_line(seconds: float, said: str) -> None:
    text = str(Estimate(Cost(3.14e15, 1e9, 2.5e9), seconds, 3))
    assert text == f"3.1e+15 multiply-adds, 2.5 GB read, about {said} on 3 workers"


def test_an_estimate_is_announced_unless_it_is_of_a_quadratic_run_that_nobody_asked_for() -> None:
    found = Estimate(Cost(3e15, 1e9, 2.5e9), 5400, 3)
    with pytest.raises(ConfigError, match=f"'cable' has 21 images.*{re.escape(str(found))}.*references.quadratic"):
        announce(found, config(mode="all", limit=20).references, {"bottle": 20, "cable": 21})
    announce(found, config(mode="all", limit=20, quadratic=True).references, {"bottle": 20, "cable": 21})
    announce(found, config(mode="sample", limit=20).references, {"bottle": 20, "cable": 21})


@pytest.mark.parametrize("workers", [Pool(4, 1, 0), Pool(4, 1, 1)], ids=["cpu", "cuda"])
def test_a_worker_may_hold_what_the_settings_say(workers: Pool) -> None:
    assert memory_of(SearchConfig(memory_gb=1.5), workers) == 1.5e9


def test_a_worker_without_a_gpu_may_hold_the_same_everywhere() -> None:
    assert memory_of(SearchConfig(), Pool(4, 1, 0)) == UNIT_MEMORY


@pytest.mark.parametrize(("gpus", "share"), [(1, 0.7), (2, 0.7), (0.5, 0.35)])
def test_a_worker_with_a_gpu_may_hold_most_of_its_part_of_it(
    gpus: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[float | None]()

    class Remote:
        def options(self, num_cpus: int, num_gpus: float, max_retries: int) -> "Remote":
            asked.append(num_gpus)
            return self

        def remote(self) -> int:
            return 24 * 10**9

    monkeypatch.setattr("ray.remote", lambda function: Remote())
    monkeypatch.setattr("ray.get", lambda answer: answer)
    assert memory_of(SearchConfig(), Pool(4, 1, gpus)) == pytest.approx(share * 24e9)
    assert asked == [gpus]
