"""Whole runs: the job as a user starts it, on a small real lake."""

import hashlib
import io
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from pipeline.command import job_parser, parse_settings
from pipeline.config import ScoreConfig
from pipeline.encoders.weights import cache_folder
from pipeline.io.storage import Location
from pipeline.log import context
from pipeline.result import Result
from pipeline.sample.lake import samples
from pipeline.store.features import FeatureStore, feature_key

REPOSITORY = Path(__file__).parents[1]
JOB = REPOSITORY / "jobs" / "score_dataset.py"


def small_lake(folder: Path, categories: tuple[str, ...] = ("brick", "gravel"), images: int = 12) -> Path:
    """Write a lake of a few images of each category, as test/<defect>/ with masks."""
    for category in categories:
        for number, sample in zip(range(images), samples(category), strict=False):
            _save(folder / category / "test" / sample.defect / f"{number:03d}.png", sample.image)
            if sample.defect != "good":
                mask = folder / category / "ground_truth" / sample.defect / f"{number:03d}_mask.png"
                _save(mask, sample.mask * 255.0)
    return folder


def _save(path: Path, image: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.astype(np.uint8)).save(path)


def settings(lake: Path | str, output: Path | str, **more: Any) -> dict[str, Any]:
    """Return settings that score a lake by a tiny encoder on 8 x 8 patches, as dotted names.

    One worker for each stage, since to start a second one takes longer than what there is to do; and no report.
    """
    return {
        "input.uri": str(lake),
        "output.uri": str(output),
        "encoder.name": "tiny:any",
        "encoder.weights": str(tiny_weights()),
        "encoder.size": 112,
        "output.run_id": "test",
        "report.images": 0,
        "ray.encode.max": 1,
        "ray.score.max": 1,
    } | {name.replace("__", "."): value for name, value in more.items()}


def tiny_weights() -> Path:
    """Return a file with weights of the tiny encoder (tests/tiny), random and always the same ones."""
    rng = np.random.default_rng(0)
    shapes = {"filters.weight": (16, 3, 3, 3)} | {f"blocks.{block}.weight": (16, 16) for block in range(4)}
    arrays = {name: rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])) for name, shape in shapes.items()}
    content = save({name: array.astype(np.float32) for name, array in arrays.items()})
    path = cache_folder() / f"tiny-{hashlib.sha256(content).hexdigest()[:12]}.safetensors"
    if not path.exists():
        Location.parse(str(path)).write_bytes(content)  # whole, also where two processes do it at once
    return path


def parse(arguments: Sequence[str]) -> ScoreConfig:
    """Return the settings that a command line means."""
    return parse_settings(job_parser(None), arguments)[0]


def flags(values: Mapping[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def run_job(
    *arguments: str, env: Mapping[str, str] | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the job in a process of its own and wait for it; `before` is Python that runs there first."""
    whole = f"{before}\nimport runpy\nrunpy.run_path({str(JOB)!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, *(["-c", whole] if before else [str(JOB)]), *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def run_job_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the job in this process, on its Ray where it has one (fixture `ray_here`); return what it wrote."""
    out, err, root, ours = io.StringIO(), io.StringIO(), logging.getLogger(), logging.getLogger("pipeline")
    handlers, levels, on_sigterm = root.handlers[:], (root.level, ours.level), signal.getsignal(signal.SIGTERM)
    root.handlers.clear()  # those of pytest, which the job would close
    try:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", [str(JOB), *arguments])
            runpy.run_path(str(JOB), run_name="__main__")
    except SystemExit as end:
        assert isinstance(end.code, int)
        return subprocess.CompletedProcess(arguments, end.code, out.getvalue(), err.getvalue())
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        signal.signal(signal.SIGTERM, on_sigterm)
        context.clear()
    raise AssertionError("a job ends by an exit code")


def run_script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of the other jobs, which answer soon, in a process of its own."""
    command = [sys.executable, str(REPOSITORY / "jobs" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def stored(result: Result, rows: pd.DataFrame) -> tuple[FeatureStore, list[tuple[str, int]]]:
    """Return the features of a run, and where in them those of some rows of one category lie."""
    encoder = result.run.encoder
    store = FeatureStore(
        result.folder.features / encoder.fingerprint, encoder.grid, encoder.width, encoder.layers, "float16"
    )
    [category] = set(rows["category"])
    found = store.find(category).images
    keys = [feature_key(uri, etag, encoder.fingerprint) for uri, etag in zip(rows["uri"], rows["etag"], strict=True)]
    return store, [(found[key].file, found[key].row) for key in keys]


def read_scores(output: Path | str, run_id: str = "test") -> pd.DataFrame:
    """Return the scores of a local run, one row for each image, in the order of its catalog."""
    folder = Path(output) / "runs" / f"run_id={run_id}"
    listed = json.loads((folder / "run.json").read_bytes()).get(
        "files", {"scores": {"path": "scores/part-00000.parquet"}}
    )
    scores: pd.DataFrame = pq.read_table(folder / listed["scores"]["path"]).to_pandas()
    return scores
