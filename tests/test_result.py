"""A published run is read back, by whoever has neither Ray nor torch at hand."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, StorageError
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.parquet", b"PAR1 and nothing more"),
        ("metrics.parquet", pa.table({"category": [["a"]], "value": ["much"]})),
        ("metrics.parquet", None),
        ("scores/part-00000.parquet", b"no Parquet"),
        ("scores/part-00000.parquet", "cut short"),
    ],
    ids=str,
)
def test_a_run_that_is_damaged_is_named_with_what_to_do(
    tmp_path: Path, name: str, content: bytes | str | pa.Table | None
) -> None:
    folder = publish(tmp_path, "one", [row("a", "x", 0.25)], [])
    path = Path(str(folder.results / name))
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    elif content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else _with_a_damaged_page(path.read_bytes()))
    with pytest.raises(StorageError, match=r"run one cannot be read: .*--run_id"):
        read_result(folder)


def _with_a_damaged_page(content: bytes) -> bytes:
    """Return a Parquet file whose footer is whole, and whose values are not."""
    return content[:4] + b"\xff" * (len(content) // 4) + content[4 + len(content) // 4 :]


def test_reading_a_run_imports_neither_ray_nor_torch() -> None:
    code = "import sys, pipeline.result; sys.exit(sorted({'ray', 'torch'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
