"""Rescore: the final scores of a category's images, by those that look alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import ScoreConfig
from pipeline.schema.tables import RESCORED, with_count
from pipeline.scoring.scorer import Among, Layer, Scorer, Scores, make_scorer, own_places
from pipeline.stage import Runner
from pipeline.stages.ranges import range_in, ranges
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_array, read_table, write_array
from pipeline.tables.references import feature_refs

ROWS = 4096  # images of one task, where they are not re-scored by each other

MADE = with_count(RESCORED)


def rescore(raw: Mapping[str, Scores], stage: "RescoreImages", runner: Runner) -> pa.Table:
    """Return rows of RESCORED for all images of categories, by their raw scores (N,) in the order of positions.

    Up to `references.limit` images of a category are re-scored by each other, in one task; more of them by the
    references, in ranges.
    """
    limit, blocks = stage.config.references.limit, list[pa.Table]()
    for category, scores in raw.items():
        write_array(stage.run.raw_scores(category), scores)
        blocks += ranges(category, len(scores), len(scores) if len(scores) <= limit else ROWS)
    with runner.progress("rescore", "images", sum(map(len, raw.values()))) as progress:
        return RESCORED.cast(runner(stage, blocks, progress))


@dataclass
class RescoreImages:
    """A worker's part: re-scores images [start, stop) of a category."""

    config: ScoreConfig
    layer: Layer
    store: FeatureStore
    run: RunFolder
    _scorer: Scorer = field(init=False)
    _known: Callable[[str], "_Known"] = field(init=False)

    def setup(self, device: str, threads: int) -> None:
        self._scorer = make_scorer(self.config, self.layer)
        self._known = lru_cache(maxsize=1)(self._read)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of RESCORED, and `count`.

        References of earlier nights take part with the raw scores that they had then.
        """
        of = range_in(block)
        known = self._known(of.category)
        images, raw = known.index.slice(of.start, of.stop - of.start), known.raw[of.start : of.stop]
        if len(known.raw) <= self.config.references.limit:
            earlier = known.references.filter(pc.less(known.references["position"], 0))
            refs = feature_refs(images) + feature_refs(earlier)
            together = np.concatenate([raw, earlier["score_raw"].to_numpy()])
            scores = self._scorer.rescore(together, lambda: self.store.embeddings(refs))
        else:
            among = replace(known.among, own=known.among.own[of.start : of.stop])
            scores = self._scorer.rescore(raw, lambda: self.store.embeddings(feature_refs(images)), among)
        return MADE.of(
            {
                "image": images["image"],
                "score_final": pa.nulls(len(raw), pa.float64()) if scores is None else scores[: len(raw)],
                "count": [1] * len(raw),
            }
        )

    def _read(self, category: str) -> "_Known":
        index, references = read_table(self.run.index(category)), read_table(self.run.references(category))
        raw = read_array(self.run.raw_scores(category))
        positions, earlier = references["position"].to_numpy(), references["score_raw"].to_numpy()
        of_references = np.where(positions < 0, earlier, raw[positions])
        among = Among(
            own_places(positions, len(raw)),
            of_references,
            lru_cache(maxsize=1)(lambda: self.store.embeddings(feature_refs(references))),
            min(raw.min(), of_references.min()),
            max(raw.max(), of_references.max()),
        )
        return _Known(index, references, raw, among)


@dataclass(frozen=True)
class _Known:
    """What a worker keeps of a category: its lists, the raw scores (N,) of its images, and its references."""

    index: pa.Table
    references: pa.Table
    raw: Scores
    among: Among
