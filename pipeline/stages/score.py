"""Score: units of work, each written as it is done and never done again; a barrier between two passes."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.errors import DamagedFile, LakeScoreError
from pipeline.io.storage import Location
from pipeline.memory import is_out_of_memory
from pipeline.plan.units import Unit
from pipeline.schema.table import records
from pipeline.schema.tables import SCORED, TO_SCORE, UNITS
from pipeline.scoring.scorer import CategoryFeatures, Layer, Scorer, Tuning, UnitResult, make_scorer, own_places
from pipeline.stage import Runner
from pipeline.stages.near_duplicates import read_nearest, read_pairs
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_array, read_table, write_array, write_table
from pipeline.tables.references import feature_refs, largest_grid
from pipeline.tables.rows import check_rows

log = logging.getLogger(__name__)


def layer_of(store: FeatureStore) -> Layer:
    """Return what a scorer is told of the layers in a store."""
    return Layer(store.grid, store.width, np.dtype(store.precision).itemsize, len(store.layers))


def score(passes: Sequence[Sequence[Unit]], stage: "ScoreUnits", runner: Runner) -> Counter[str]:
    """Write what every unit finds that is not written yet, pass by pass; return how many each node did.

    `run.index` lists the images of each category.
    """
    nodes: Counter[str] = Counter()
    run = stage.run
    categories = {unit.category for units in passes for unit in units}
    for of_pass, units in enumerate(passes):
        list_units(run, of_pass, units)
        for category in categories - {unit.category for unit in units}:
            run.units(category, of_pass).remove()  # an earlier try's, with less memory
        done = {entry.path for entry in run.unit_results(of_pass).files() if entry.problem is None}
        todo = [index for index, unit in enumerate(units) if f"{unit.id}.npy" not in done]
        name = "score" if of_pass == len(passes) - 1 else f"pass {of_pass + 1}"
        with runner.progress(name, "units", len(units), already=len(units) - len(todo)) as progress:
            if todo:
                blocks = [todo_row(index, of_pass, units[index]) for index in todo]
                rows = runner(stage, blocks, progress)
                check_rows("score", todo, rows["unit"].to_pylist())
                nodes.update(rows["node"].to_pylist())
    return nodes


def list_units(run: RunFolder, of_pass: int, units: Sequence[Unit]) -> None:
    """Write which units a pass has, category by category."""
    of_categories: dict[str, list[Unit]] = {}
    for unit in units:
        of_categories.setdefault(unit.category, []).append(unit)
    for category, own in of_categories.items():
        write_table(run.units(category, of_pass), UNITS.rows(own))


def todo_row(number: int, of_pass: int, unit: Unit) -> pa.Table:
    """Return the row of TO_SCORE of a unit, `number` in its pass."""
    return TO_SCORE.rows([{"unit": number, "pass": of_pass, **vars(unit)}])


@dataclass
class ScoreUnits:
    """A worker's part: reads the tokens of a unit's images and references, and writes what the scorer finds."""

    config: ScoreConfig
    layer: Layer
    tuning: Tuning
    store: FeatureStore
    run: RunFolder
    _scorer: Scorer | None = field(default=None, init=False)
    # no part of what is shown or compared, which Ray Data does before a stage is set up
    _listed: Callable[[str], "Listed"] = field(init=False, repr=False, compare=False)
    _device: str = field(default="cpu", init=False)

    def setup(self, device: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._device, self._scorer = device, make_scorer(self.config, self.layer)
        self._listed = kept_lists(self.store, self.run)

    def __call__(self, block: pa.Table) -> pa.Table:
        [unit], [number], [of_pass] = records(block, Unit), block["unit"].to_pylist(), block["pass"].to_pylist()
        start = time.perf_counter()
        write_array(self.run.unit_results(of_pass) / f"{unit.id}.npy", self.score_unit(of_pass, unit))
        seconds = time.perf_counter() - start
        return SCORED.rows([{"unit": number, "id": unit.id, "seconds": seconds, "count": 1}])

    def score_unit(self, of_pass: int, unit: Unit) -> UnitResult:
        """Return the result of a unit of a pass, in smaller parts where memory runs out."""
        assert self._scorer is not None, "setup comes first"
        try:
            features = self._listed(unit.category).features
            return self._scorer.score(of_pass, unit, features, self.tuning, self._device)
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
        return self._scorer.join(of_pass, [self.score_unit(of_pass, half) for half in halves])


@dataclass(frozen=True)
class Listed:
    """What a run at work lists of a category: its images, its references, and where the features of both lie."""

    index: pa.Table
    references: pa.Table
    features: CategoryFeatures

    def positions(self, images: Sequence[int]) -> NDArray[np.int64]:
        """Return the positions of images (A,), given by their numbers, which rise in the index."""
        found: NDArray[np.int64] = np.searchsorted(self.index["image"].to_numpy(), images)
        return found

    def grids(self, positions: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return the grids (rows, columns) of images by their positions (A,)."""
        chosen = self.index.select(["rows", "columns"]).take(pa.array(positions))
        return list(zip(chosen["rows"].to_pylist(), chosen["columns"].to_pylist(), strict=True))


def kept_lists(store: FeatureStore, run: RunFolder) -> Callable[[str], Listed]:
    """Return what reads the lists of a category and keeps the last ones: a worker's blocks are of one for long.

    To read them for each block would cost the square of the images.
    """
    return lru_cache(maxsize=1)(partial(lists_of, store, run))


def lists_of(store: FeatureStore, run: RunFolder, category: str) -> Listed:
    """Return what is listed of a category, and who of it is not compared with whom."""
    index, references = read_table(run.index(category)), read_table(run.references(category))
    positions = references["position"].to_numpy()
    turned = [of or [] for of in references["turned"].to_pylist()]
    grid = largest_grid(1 + len(turned[0]) if turned else 1, index, references)
    features = CategoryFeatures(
        feature_refs(index),
        feature_refs(references),
        own_places(positions, index.num_rows),
        read_pairs(run, category, index.num_rows),
        grid,
        partial(store.tokens, grid=grid),
        partial(earlier_results, run),
        [[(of["file"], of["row"]) for of in turn] for turn in zip(*turned, strict=True)],
        *(read_nearest(run, category, index.num_rows) or (None, None)),
    )
    return Listed(index, references, features)


def earlier_results(run: RunFolder, of_pass: int, of: Unit) -> list[UnitResult]:
    """Return the results of an earlier pass for the category and layers of a unit, in the order of their units.

    There are none where the pass had nothing to do for the category. One that is no numbers is dropped, and raises
    `DamagedFile`.
    """
    listed = run.units(of.category, of_pass)
    units = records(read_table(listed), Unit) if listed.exists() else []
    same = [unit for unit in units if (unit.layers, unit.digest) == (of.layers, of.digest)]
    ordered = sorted(same, key=lambda unit: unit.start)
    return [_read(run.unit_results(of_pass) / f"{unit.id}.npy") for unit in ordered]


def _read(location: Location) -> UnitResult:
    found = read_array(location)
    if not np.isfinite(found).all():
        location.remove()
        raise DamagedFile(f"{location} holds values that are no numbers")
    return found
