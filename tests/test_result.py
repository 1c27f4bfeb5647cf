"""A published run is read back, by whoever has neither Ray nor torch at hand."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.io.storage import Location
from pipeline.metrics.category import Metric
from pipeline.result import read_result
from pipeline.store.run_folder import RunFolder
from tests.published import publish, row


def test_a_run_is_read_back_with_metrics_that_were_written_before_they_had_errors(tmp_path: Path) -> None:
    metrics: list[dict[str, Any]] = [
        {"category": "a", "name": "image_auroc", "value": 0.5, "reason": None},
        {"category": "b", "name": "image_auroc", "value": None, "reason": "no labels"},
        {"category": None, "name": "image_auroc", "value": 0.5, "reason": None},  # the mean, which is no category
    ]
    folder = publish(tmp_path, "one", [row("a", "x", 0.25)], metrics)
    result = read_result(folder)
    assert result.scores["uri"].to_pylist() == ["x"] and result.run.run_id == "one"
    assert result.metrics == {"a": {"image_auroc": Metric(0.5)}, "b": {"image_auroc": Metric(None, "no labels")}}


def test_a_run_that_was_never_published_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no finished run at .*run_id=two"):
        read_result(RunFolder(Location.parse(str(tmp_path)), "two"))


def test_reading_a_run_imports_neither_ray_nor_torch() -> None:
    code = "import sys, pipeline.result; sys.exit(sorted({'ray', 'torch'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
