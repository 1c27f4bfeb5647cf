"""Windows: how far from its own place the nearest patch of another image is looked for, category by category."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from pipeline.config import ScoreConfig
from pipeline.plan.units import Members, Window
from pipeline.schema.table import records
from pipeline.schema.tables import WINDOWS, with_count
from pipeline.scoring.scorer import Layer, Scorer, make_scorer
from pipeline.stage import Runner
from pipeline.stages.score import features_of
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder

MADE = with_count(WINDOWS)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Found:
    """A row of WINDOWS."""

    category: str
    radius: int | None
    kept: float
    products: float


def find_windows(members: Mapping[str, Members], stage: "FindWindow", runner: Runner) -> dict[str, Window]:
    """Return the window of each category; nothing is looked at where the method takes the whole image anyhow."""
    usual = make_scorer(stage.config, stage.layer).usual_window
    if usual.radius is None or not members:
        return dict.fromkeys(members, usual)
    blocks = [pa.table({"category": [category]}) for category in members]
    with runner.progress("windows", "categories", len(blocks)) as progress:
        rows = records(runner(stage, blocks, progress), _Found)
    found = {row.category: Window(row.radius, row.kept, row.products) for row in rows}
    for category, window in found.items():
        where = "in the whole image" if window.radius is None else f"within {window.radius} patches"
        log.info("window   of %r: %s, %.1f %% of the distances stay", category, where, 100 * window.kept)
    return {category: found[category] for category in members}


def within(members: Mapping[str, Members], windows: Mapping[str, Window]) -> dict[str, Members]:
    """Return the members of each category with its window."""
    return {
        category: replace(of, radius=windows[category].radius, share=windows[category].products)
        for category, of in members.items()
    }


@dataclass
class FindWindow:
    """A worker's part: finds the window of one category."""

    config: ScoreConfig
    layer: Layer
    store: FeatureStore
    run: RunFolder
    _scorer: Scorer = field(init=False)

    def setup(self, device: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._scorer = make_scorer(self.config, self.layer)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return a row of WINDOWS, and `count`."""
        [category] = block["category"].to_pylist()
        found = self._scorer.window(features_of(self.store, self.run, category), self.store.layers)
        return MADE.rows([{"category": category, **vars(found), "count": 1}])
