"""Score: mutual scoring in units of work, each written as it is done and never done again."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import ray
import torch

from pipeline.config import MethodConfig, ScoreConfig
from pipeline.encoders import EncoderSpec
from pipeline.engine.cluster import Pool, map_on_actors, this_node
from pipeline.engine.progress import Progress, check_rows, results
from pipeline.engine.telemetry import count_traffic, observe_unit
from pipeline.errors import ConfigError, LakeScoreError
from pipeline.memory import is_out_of_memory
from pipeline.plan.units import UNIT_OPERATIONS, Members, Shape, Unit, plan_units
from pipeline.scoring.musc import Aggregation, PatchScores, mutual_scores, pca, query_scores, random_projection
from pipeline.scoring.search import Tuning, make_search
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_table, write_array, write_table
from pipeline.tables.references import feature_refs

log = logging.getLogger(__name__)

FITTED_ON = 16  # reference images whose vectors a PCA is fitted on


def score(
    units: Sequence[Unit], config: ScoreConfig, tuning: Tuning, workers: Pool, store: FeatureStore, run: RunFolder
) -> Counter[str]:
    """Write the patch scores of every unit that is not written yet; return how many each node did.

    Args:
        units: of all categories; `run.index` lists the images of each.
        config: settings.
        tuning: the search to use.
        workers: the pool.
        store: where the tokens lie.
        run: where patch scores go.
    """
    for category in dict.fromkeys(unit.category for unit in units):
        write_table(run.units(category), pa.Table.from_pylist([vars(u) for u in units if u.category == category]))
    nodes: Counter[str] = Counter()
    done = {entry.path for entry in (run.work / "patch_scores").files()}
    todo = [index for index, unit in enumerate(units) if f"{unit.id}.npy" not in done]
    with Progress("score", "units", len(units), already=len(units) - len(todo)) as progress:
        if todo:
            blocks = [pa.table({"unit": [index], **{k: [v] for k, v in vars(units[index]).items()}}) for index in todo]
            arguments = {"config": config, "tuning": tuning, "store": store, "run": run}
            scored = map_on_actors(ray.data.from_arrow(blocks), len(blocks), ScoreUnit, arguments, workers)
            rows = results(scored, progress)
            check_rows("score", todo, rows["unit"].to_pylist())
            nodes.update(rows["node"].to_pylist())
    return nodes


def shape_of(config: ScoreConfig, spec: EncoderSpec) -> Shape:
    """Return what is compared; raises `ConfigError` when vectors cannot be projected to the width asked for."""
    method, compared = config.method, spec.width
    if method.projection != "none":
        compared = method.projection_width
        if compared > spec.width:
            raise ConfigError(
                f"method.projection_width {compared} is more than the {spec.width} values of {config.encoder.name}"
            )
    degrees = len(method.degrees)
    stored = {"fp32": 4}.get(config.encoder.store, 2)  # bytes in memory; int8 is read as fp16
    return Shape(spec.patches, spec.width, stored, degrees, 1 if method.fuse_degrees else degrees, compared)


def plan(config: ScoreConfig, spec: EncoderSpec, categories: Mapping[str, Members], device: str) -> list[Unit]:
    """Return the units of work for a device, "cpu" or "cuda"; raises `ConfigError` when the memory is too small."""
    memory = config.search.memory_gb * 1e9
    return plan_units(categories, spec.layers, shape_of(config, spec), memory, UNIT_OPERATIONS[device])


def aggregation_of(
    method: MethodConfig, store: FeatureStore, references: Sequence[tuple[str, int]], layer: int, device: str
) -> Aggregation:
    """Return how a layer's tokens become the vectors that are compared.

    `references` are refs in the store; a PCA is fitted on the first of them.
    """
    plain = Aggregation(store.grid, method.degrees, method.fuse_degrees)
    if method.projection == "none":
        return plain
    if method.projection == "random":
        projection = random_projection(store.width, method.projection_width).to(device)
    else:
        sample = torch.from_numpy(store.tokens(references[:FITTED_ON], layer)).to(device)
        projection = pca(torch.cat([vectors.flatten(0, 1) for vectors in plain(sample)]), method.projection_width)
    return replace(plain, projection=projection)


class ScoreUnit:
    """An actor that loads tokens, applies LNAMD and scores units against their references."""

    def __init__(
        self, config: ScoreConfig, tuning: Tuning, store: FeatureStore, run: RunFolder, device: str, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        self._method, self._store, self._run, self._device = config.method, store, run, device
        self._search = make_search(tuning, config.search.dtype, device)
        self._category, self._layer = "", -1
        self._images: list[tuple[str, int]] = []  # where the features of the category's images lie
        self._references: list[tuple[str, int]] = []
        self._place_of = np.empty(0, np.int64)  # of each image among the references, -1 where it is none of them
        self._near_duplicates = np.empty((0, 2), np.int64)
        self._aggregation = Aggregation(store.grid, self._method.degrees, self._method.fuse_degrees)

    def __call__(self, block: pa.Table) -> pa.Table:
        [row] = block.to_pylist()
        number, unit = row.pop("unit"), Unit(**row)
        start = time.perf_counter()
        self._score(unit)
        seconds = time.perf_counter() - start
        observe_unit(seconds)
        count_traffic()
        return pa.table({"unit": [number], "id": [unit.id], "seconds": [seconds], "node": [this_node()], "count": [1]})

    @torch.inference_mode()
    def _score(self, unit: Unit) -> None:
        self._turn_to(unit)
        found = self._scores(unit)
        write_array(self._run.patch_scores(unit.id), torch.stack([found.scores, found.errors]).cpu().numpy())

    def _scores(self, unit: Unit) -> PatchScores:
        """Score a unit, in smaller parts where memory runs out."""
        try:
            return self._at_once(unit)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            middle = (unit.start + unit.stop) // 2
            if middle == unit.start:
                raise LakeScoreError(
                    f"one image of category {unit.category!r} against {unit.references} references is more than this "
                    "worker's memory: lower references.count, or take workers with more"
                ) from error
        log.warning("memory ran out for images %d to %d of %r: scoring halves", unit.start, unit.stop, unit.category)
        block = max(1, unit.reference_block // 2)
        halves = (replace(unit, stop=middle, reference_block=block), replace(unit, start=middle, reference_block=block))
        first, second = (self._scores(half) for half in halves)
        return PatchScores(torch.cat([first.scores, second.scores]), torch.cat([first.errors, second.errors]))

    def _at_once(self, unit: Unit) -> PatchScores:
        queries = self._tokens(self._images[unit.start : unit.stop], unit.layer)
        if unit.whole:
            scores = mutual_scores(
                queries, self._aggregation, self._method.interval, self._search, self._excluded_pairs(unit)
            )
            return PatchScores(scores, torch.zeros_like(scores))
        step = unit.reference_block
        return query_scores(
            queries,
            self._self_index(unit),
            (self._tokens(self._references[i : i + step], unit.layer) for i in range(0, unit.references, step)),
            unit.references,
            unit.population,
            self._aggregation,
            self._method.interval,
            self._search,
            self._excluded_pairs(unit),
        )

    def _turn_to(self, unit: Unit) -> None:
        """Load what units of one category and layer share."""
        if unit.category != self._category:
            references = read_table(self._run.references(unit.category))
            self._images, self._references = (
                feature_refs(read_table(self._run.index(unit.category))),
                feature_refs(references),
            )
            positions = references["position"].to_numpy()
            self._place_of = np.full(unit.total, -1)
            self._place_of[positions[positions >= 0]] = np.flatnonzero(positions >= 0)
            pairs = read_table(self._run.near_duplicates(unit.category))
            self._near_duplicates = np.stack([pairs["image"].to_numpy(), pairs["reference"].to_numpy()], axis=1)
        elif unit.layer == self._layer:
            return
        self._category, self._layer = unit.category, unit.layer
        self._aggregation = aggregation_of(self._method, self._store, self._references, unit.layer, self._device)

    def _self_index(self, unit: Unit) -> torch.Tensor:
        """Return each query's position among the references, -1 where it is none of them."""
        return torch.from_numpy(self._place_of[unit.start : unit.stop]).to(self._device)

    def _excluded_pairs(self, unit: Unit) -> torch.Tensor:
        """Return the pairs (K, 2) of a query and a reference that are near duplicates."""
        image = self._near_duplicates[:, 0]
        pairs = self._near_duplicates[(image >= unit.start) & (image < unit.stop)] - (unit.start, 0)
        return torch.from_numpy(pairs).to(self._device)

    def _tokens(self, refs: Sequence[tuple[str, int]], layer: int) -> torch.Tensor:
        return torch.from_numpy(self._store.tokens(refs, layer)).to(self._device)
