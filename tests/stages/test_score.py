"""What the settings make of an encoder's tokens."""

from typing import Any

import pytest

from pipeline.config import ScoreConfig
from pipeline.encoders import EncoderSpec
from pipeline.errors import ConfigError
from pipeline.plan.units import Members, Shape
from pipeline.stages.score import plan, shape_of

SPEC = EncoderSpec("any", grid=(3, 4), width=32, embedding=5, layers=(2, 5), fingerprint="f")


def config(store: str = "fp16", **method: Any) -> ScoreConfig:
    encoder = {"name": "timm:any", "store": store}
    return ScoreConfig.model_validate(
        {"input": {"uri": "in"}, "output": {"uri": "out"}, "encoder": encoder, "method": method}
    )


@pytest.mark.parametrize(
    ("method", "passes", "compared"),
    [
        ({}, 3, 32),
        ({"projection_width": 8}, 3, 32),
        ({"projection": "pca", "projection_width": 8}, 3, 8),
        ({"projection": "random", "projection_width": 32, "degrees": [1]}, 1, 32),
        ({"fuse_degrees": True}, 1, 32),
    ],
)
@pytest.mark.parametrize(("store", "stored"), [("fp16", 2), ("fp32", 4), ("int8", 2)])  # int8 is read as fp16
def test_the_settings_say_what_is_compared(
    method: dict[str, Any], passes: int, compared: int, store: str, stored: int
) -> None:
    degrees = len(method.get("degrees", (1, 3, 5)))
    assert shape_of(config(store, **method), SPEC) == Shape(12, 32, stored, degrees, passes, compared)


def test_vectors_cannot_be_projected_to_more_values_than_they_have() -> None:
    wide = config(projection="pca", projection_width=33)
    with pytest.raises(ConfigError, match="projection_width 33 is more than the 32 values of timm:any"):
        plan(wide, SPEC, {"bottle": Members(3, 3, 3, "d1")}, "cpu")
    assert shape_of(config(projection="none", projection_width=33), SPEC).compared == 32
