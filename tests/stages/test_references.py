"""The list of references that a run reads before it starts."""

from pathlib import Path

import pytest

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.stages.references import read_list


def config(uris: Path) -> ScoreConfig:
    references = {"mode": "list", "uris": str(uris)}
    return ScoreConfig.model_validate({"input": {"uri": "in"}, "output": {"uri": "out"}, "references": references})


def test_a_list_may_end_its_lines_as_on_windows(tmp_path: Path) -> None:
    path = tmp_path / "references.txt"
    path.write_bytes("/lake/ä b.png\r\n/lake/c.png\n".encode())
    assert {"/lake/ä b.png", "/lake/c.png"} <= read_list(config(path))


def test_a_list_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "references.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="references.txt is not UTF-8"):
        read_list(config(path))
