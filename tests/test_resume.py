"""What makes two runs the same."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.io.storage import Location
from pipeline.resume import begin, identity
from pipeline.schema.record import Settings, box_of, setting
from pipeline.store.run_folder import RunFolder


def identity_of(**changed: dict[str, Any]) -> Settings:
    groups: dict[str, dict[str, Any]] = {"input": {"uri": "lake"}, "output": {"uri": "out"}}
    for name, values in changed.items():
        groups[name] = groups.get(name, {}) | values
    return identity(ScoreConfig.model_validate(groups))


@pytest.mark.parametrize(
    "changed",
    [
        {"input": {"max_seconds": 5}},
        {"output": {"run_id": "other"}},
        {"references": {"quadratic": True}},
        {"search": {"memory_gb": 1}},
        {"ray": {"score": {"max": 7}}},
        {"report": {"images": 0}},
    ],
    ids=str,
)
def test_where_and_how_fast_a_run_is_computed_does_not_make_it_another(changed: dict[str, Any]) -> None:
    assert identity_of(**changed) == identity_of()


@pytest.mark.parametrize(
    "changed",
    [
        {"input": {"max_pixels": 5}},
        {"input": {"max_bytes": 5}},
        {"input": {"bits": 16}},
        {"input": {"channels": [2, 1, 0]}},
        {"input": {"box": ["x0", "y0", "x1", "y1"]}},
        {"input": {"group": "serial"}},
        {"search": {"dtype": "int8"}},
    ],
    ids=str,
)
def test_settings_that_may_change_a_result_make_it_another(changed: dict[str, Any]) -> None:
    assert identity_of(**changed) != identity_of()


def test_a_run_that_says_neither_group_bits_nor_channels_is_that_of_before_there_were_any() -> None:
    assert setting(identity_of(), "input.group") is None and identity_of(input={"group": "group"}) == identity_of()
    assert setting(identity_of(), "input.bits") is setting(identity_of(), "input.channels") is None
    assert identity_of(input={"bits": "auto", "channels": None}) == identity_of()


def test_a_run_by_the_usual_columns_of_boxes_is_that_of_before_there_were_any() -> None:
    assert setting(identity_of(), "input.box") is None
    assert identity_of(input={"box": ["left", "top", "right", "bottom"]}) == identity_of()
    assert box_of(identity_of()) is None
    assert box_of(identity_of(input={"box": ["a", "b", "c", "d"]})) == ("a", "b", "c", "d")


@pytest.mark.parametrize("pixels", [100_000_000, 100_000_001])
def test_a_run_that_was_begun_is_taken_up_whatever_its_most_pixels(pixels: int, tmp_path: Path) -> None:
    """The first is what it was where nobody set it, and is left out of settings of earlier versions."""
    folder, settings = RunFolder(Location.parse(str(tmp_path)), "run"), identity_of(input={"max_pixels": pixels})
    assert setting(settings, "input.max_pixels") == pixels
    begin(folder, settings)
    begin(folder, settings)
    with pytest.raises(ConfigError, match=r"other settings \(input\)"):
        begin(folder, identity_of(input={"max_pixels": 5}))
