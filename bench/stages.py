"""What benches ask of pipeline/stages: units scored here or on workers, and what extraction leaves for them."""

import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.config import ScoreConfig
from pipeline.plan.units import Unit
from pipeline.schema.tables import IMAGE_STATS, NEAR_DUPLICATES, REFERENCES
from pipeline.scoring.scorer import make_scorer
from pipeline.stages.score import ScoreUnits, layer_of, list_units, score, todo_row
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, write_table


def feature_rows(names: Sequence[str]) -> dict[str, list[Any]]:
    """Return what the store keeps of images beside their features."""
    numbers: dict[str, list[Any]] = {name: [1] * len(names) for name in ("width", "height", *IMAGE_STATS.names)}
    return {"key": list(names), "uri": list(names), **numbers}


def write_lists(
    run: RunFolder,
    category: str,
    places: Sequence[tuple[str, int]],
    grid: tuple[int, int],
    references: Sequence[int],
) -> None:
    """List a category's images, by where their features lie and their grid, and which of them are references."""
    files = {"file": [file for file, _ in places], "row": pa.array([row for _, row in places], pa.int32())}
    sides = zip(("rows", "columns"), grid, strict=True)
    images = pa.table(files | {name: pa.array([side] * len(places), pa.int32()) for name, side in sides})
    write_table(run.index(category), images)
    chosen = pa.array(references, pa.int64())
    listed = images.take(chosen).append_column("position", chosen)
    write_table(
        run.references(category), listed.append_column("turned", pa.nulls(len(chosen), REFERENCES["turned"].type))
    )
    write_table(run.near_duplicates(category, 0), NEAR_DUPLICATES.empty())


def score_here(passes: Sequence[Sequence[Unit]], config: ScoreConfig, store: FeatureStore, run: RunFolder) -> float:
    """Score units of all passes without Ray, as one worker of all cores does; return its seconds."""
    import torch  # takes seconds, and memory that who only plans does not have

    worker = stage_of(config, store, run)
    worker.setup("cpu", torch.get_num_threads())
    start = time.perf_counter()
    for of_pass, units in enumerate(passes):
        list_units(run, of_pass, units)
        for number, unit in enumerate(units):
            worker(todo_row(number, of_pass, unit))
    return time.perf_counter() - start


def score_on(workers: int, units: Sequence[Unit], config: ScoreConfig, store: FeatureStore, run: RunFolder) -> None:
    """Score units as a run does, on so many workers of one thread."""
    from pipeline.engine.cluster import Pool
    from pipeline.engine.tasks import OnRay

    score([units], stage_of(config, store, run), OnRay(Pool(workers, 1, 0)))


def stage_of(config: ScoreConfig, store: FeatureStore, run: RunFolder) -> ScoreUnits:
    """Return what scores units, by the search that is taken where nothing was measured."""
    layer = layer_of(store)
    return ScoreUnits(config, layer, make_scorer(config, layer).untuned("cpu"), store, run)
