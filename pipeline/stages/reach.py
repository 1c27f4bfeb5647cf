"""Reach: how far from its own place the nearest patch of another image is looked for, category by category."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from pipeline.config import ScoreConfig
from pipeline.plan.units import Members, Reach
from pipeline.schema.table import records
from pipeline.schema.tables import REACHES, with_count
from pipeline.scoring.scorer import Layer, Scorer, make_scorer
from pipeline.stage import Runner
from pipeline.stages.score import lists_of
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder

MADE = with_count(REACHES)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Found:
    """A row of REACHES."""

    category: str
    radius: int | None
    kept: float | None
    products: float
    thin: int


def find_reaches(members: Mapping[str, Members], stage: "FindReach", runner: Runner) -> dict[str, Reach]:
    """Return the reach of each category; nothing is looked at where the settings or the method say it."""
    scorer = make_scorer(stage.config, stage.layer)
    usual = {category: scorer.usual_reach(of.grid) for category, of in members.items()}
    if stage.config.search.radius != "auto" or all(reach.radius is None for reach in usual.values()):
        return usual
    blocks = [pa.table({"category": [category]}) for category in members]
    with runner.progress("reach", "categories", len(blocks)) as progress:
        rows = records(runner(stage, blocks, progress), _Found)
    found = {row.category: Reach(row.radius, row.kept, row.products, row.thin) for row in rows}
    for category, reach in found.items():
        if reach.radius is None or reach.kept is None:
            log.info("reach    of %r: the whole image, more products than the plan has", category)
        else:
            kept = 100 * reach.kept
            log.info("reach    of %r: %d patches, which keep %.1f %% of the distances", category, reach.radius, kept)
    return {category: found[category] for category in members}


def within(members: Mapping[str, Members], reaches: Mapping[str, Reach]) -> dict[str, Members]:
    """Return the members of each category with its reach."""
    return {
        category: replace(
            of, radius=reaches[category].radius, share=reaches[category].products, thin=reaches[category].thin
        )
        for category, of in members.items()
    }


@dataclass
class FindReach:
    """A worker's part: finds the reach of one category."""

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
        """Return a row of REACHES, and `count`."""
        [category] = block["category"].to_pylist()
        found = self._scorer.reach(lists_of(self.store, self.run, category).features, self.store.layers)
        return MADE.rows([{"category": category, **vars(found), "count": 1}])
