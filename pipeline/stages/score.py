"""Score: mutual scoring in units of work, each written as it is done and never done again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import ray
import torch

from pipeline.config import ScoreConfig
from pipeline.encoders import EncoderSpec
from pipeline.lake.features import FeatureStore
from pipeline.lake.run import RunFolder, read_table, write_array, write_table
from pipeline.method import mutual_scores, query_scores
from pipeline.plan.units import UNIT_OPERATIONS, Members, Shape, Unit, plan_units
from pipeline.search import make_search
from pipeline.stages.cluster import map_on_actors, pool, this_node
from pipeline.stages.progress import Progress, check_rows, results


def score(
    categories: Mapping[str, Members], config: ScoreConfig, spec: EncoderSpec, store: FeatureStore, run: RunFolder
) -> Counter[str]:
    """Write the patch scores of every unit that is not written yet; return how many each node did.

    Args:
        categories: the encoded images of each, at least two; `run.index` lists them.
        config: settings.
        spec: the encoder.
        store: where the tokens lie.
        run: where patch scores go.
    """
    workers = pool(config.ray.score)
    units = plan(config, spec, categories, workers.device)
    for category in categories:
        write_table(run.units(category), pa.Table.from_pylist([vars(u) for u in units if u.category == category]))
    nodes: Counter[str] = Counter()
    done = {entry.path for entry in (run.work / "patch_scores").files()}
    todo = [index for index, unit in enumerate(units) if f"{unit.id}.npy" not in done]
    with Progress("score", "units", len(units), already=len(units) - len(todo)) as progress:
        if todo:
            blocks = [pa.table({"unit": [index], **{k: [v] for k, v in vars(units[index]).items()}}) for index in todo]
            arguments = {"config": config, "store": store, "run": run}
            scored = map_on_actors(ray.data.from_arrow(blocks), len(blocks), ScoreUnit, arguments, workers)
            rows = results(scored, progress)
            check_rows("score", todo, rows["unit"].to_pylist())
            nodes.update(rows["node"].to_pylist())
    return nodes


def plan(config: ScoreConfig, spec: EncoderSpec, categories: Mapping[str, Members], device: str) -> list[Unit]:
    """Return the units of work for a device, "cpu" or "cuda"; raises `ConfigError` when the memory is too small."""
    return plan_units(
        categories,
        spec.layers,
        Shape(spec.patches, spec.width, {"fp16": 2, "fp32": 4}[config.encoder.store]),
        degrees=len(config.method.degrees),
        memory=config.search.memory_gb * 1e9,
        operations=UNIT_OPERATIONS[device],
    )


class ScoreUnit:
    """An actor that loads tokens, applies LNAMD and scores units against their references."""

    def __init__(self, config: ScoreConfig, store: FeatureStore, run: RunFolder, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._method, self._store, self._run, self._device = config.method, store, run, device
        self._search = make_search(config.search, device)
        self._category = ""
        self._places: list[tuple[str, int]] = []

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = block.to_pylist()
        for row in rows:
            self._score(Unit(**{name: value for name, value in row.items() if name != "unit"}))
        return pa.table(
            {"unit": [row["unit"] for row in rows], "node": [this_node()] * len(rows), "count": [1] * len(rows)}
        )

    @torch.inference_mode()
    def _score(self, unit: Unit) -> None:
        if unit.category != self._category:
            index = read_table(self._run.index(unit.category))
            self._places = list(zip(index["file"].to_pylist(), index["row"].to_pylist(), strict=True))
            self._category = unit.category
        settings: dict[str, Any] = {
            "grid": self._store.grid,
            "degrees": self._method.degrees,
            "interval": self._method.interval,
            "search": self._search,
        }
        queries = self._tokens(self._places[unit.start : unit.stop], unit.layer)
        if unit.whole:
            patch_scores = mutual_scores(queries, **settings)
        else:
            step = unit.reference_block
            references = (
                self._tokens(self._places[start : start + step], unit.layer) for start in range(0, unit.total, step)
            )
            patch_scores = query_scores(queries, unit.start, references, unit.total, **settings)
        write_array(self._run.patch_scores(unit.id), patch_scores.cpu().numpy())

    def _tokens(self, places: Sequence[tuple[str, int]], layer: int) -> torch.Tensor:
        return torch.from_numpy(self._store.tokens(places, layer)).to(self._device)
