"""MuSc behind the seam for methods: what the settings make of an encoder's tokens."""

from typing import Any

import pytest

from pipeline.config import ScoreConfig, SearchConfig
from pipeline.errors import ConfigError
from pipeline.plan.units import Shape
from pipeline.scoring.musc.scorer import MuscScorer
from pipeline.scoring.scorer import Layer


def config(**method: Any) -> ScoreConfig:
    groups = {"encoder": {"name": "timm:any"}, "method": {"preset": "paper"} | method}
    return ScoreConfig.model_validate({"input": {"uri": "in"}, "output": {"uri": "out"}} | groups)


@pytest.mark.parametrize(
    ("method", "comparisons", "compared"),
    [
        ({}, 3, 32),
        ({"projection_width": 8}, 3, 32),
        ({"projection": "pca", "projection_width": 8}, 3, 8),
        ({"projection": "random", "projection_width": 32, "degrees": [1]}, 1, 32),
        ({"fuse_degrees": True}, 1, 32),
        ({"projection": "none", "projection_width": 33}, 3, 32),
    ],
)
@pytest.mark.parametrize("stored", [2, 4])
def test_the_settings_say_what_is_compared(
    method: dict[str, Any], comparisons: int, compared: int, stored: int
) -> None:
    degrees = len(method.get("degrees", (1, 3, 5)))
    found = MuscScorer(config(**method), Layer((3, 4), 32, stored)).shape
    assert found == Shape(32, stored, degrees, comparisons, compared)


def test_vectors_cannot_be_projected_to_more_values_than_they_have() -> None:
    with pytest.raises(ConfigError, match="projection_width 33 is more than the 32 values of timm:any"):
        MuscScorer(config(projection="pca", projection_width=33), Layer((3, 4), 32, 2))


@pytest.mark.parametrize("kind", ["auto", "gemm", "faiss"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_not_measured_is_what_the_settings_name(kind: str, device: str) -> None:
    named = config().model_copy(update={"search": SearchConfig.model_validate({"kind": kind})})
    found = MuscScorer(named, Layer((3, 4), 32, 2)).untuned(device)
    assert found.kind == ("faiss" if kind == "faiss" else "gemm")
    assert found.tile > 0 and found.products > 0 and found.aggregated > 0
    assert found.dtype == "fp32"  # on GPUs too: its numbers are those of the official code
