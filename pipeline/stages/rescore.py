"""Rescore: the final scores of a category's images, and the threshold on their raw ones."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.config import ScoreConfig
from pipeline.schema.tables import RESCORED, with_count
from pipeline.scoring.scorer import Layer, Scorer, make_scorer
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_table
from pipeline.tables.references import feature_refs
from pipeline.tables.thresholds import threshold

MADE = with_count(RESCORED)


@dataclass
class RescoreCategory:
    """A worker's part: re-scores a category, and finds its threshold."""

    config: ScoreConfig
    layer: Layer
    store: FeatureStore
    run: RunFolder
    _scorer: Scorer = field(init=False)

    def setup(self, device: str, threads: int) -> None:
        self._scorer = make_scorer(self.config, self.layer)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return image, score, threshold and rule, for category, image and score_raw.

        References of earlier nights take part with the raw scores that they had then.
        """
        category = block["category"][0].as_py()
        index, references = read_table(self.run.index(category)), read_table(self.run.references(category))
        own = block["score_raw"].to_numpy()
        positions, raw = references["position"].to_numpy(), references["score_raw"].to_numpy()
        earlier = positions < 0
        embeddings = self.store.embeddings(feature_refs(index) + feature_refs(references.filter(pa.array(earlier))))
        scores = self._scorer.rescore(np.concatenate([own, raw[earlier]]), embeddings)[: len(own)]
        of_references = np.concatenate([own[positions[~earlier]], raw[earlier]])
        inputs = index["input"].to_numpy(zero_copy_only=False)
        labels = index["label"].filter(index["input"]).to_pylist()
        found = threshold(self.config.decision.image, category, of_references, own[inputs], labels)
        return MADE.of(
            {
                "image": block["image"],
                "score": scores,
                "threshold": pa.array([found.value] * len(scores), pa.float64()),
                "rule": [found.rule] * len(scores),
                "count": [1] * len(scores),
            }
        )
