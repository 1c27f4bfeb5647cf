"""Rescore: the final scores of a category's images, and the threshold on their raw ones."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.config import ScoreConfig
from pipeline.schema.tables import RESCORED, with_count
from pipeline.scoring.scorer import Layer, Scorer, make_scorer
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_table
from pipeline.tables.known import Known
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
        """Return rows of RESCORED, for category, image and score_raw.

        References of earlier nights take part with the raw scores that they had then.
        """
        category = block["category"][0].as_py()
        index, references = read_table(self.run.index(category)), read_table(self.run.references(category))
        own = block["score_raw"].to_numpy()
        positions, raw = references["position"].to_numpy(), references["score_raw"].to_numpy()
        earlier = positions < 0
        embeddings = self.store.embeddings(feature_refs(index) + feature_refs(references.filter(pa.array(earlier))))
        scores = self._scorer.rescore(np.concatenate([own, raw[earlier]]), embeddings)
        inputs = index["input"].to_numpy(zero_copy_only=False)
        listed = index.filter(index["input"])
        of_references = np.concatenate([own[positions[~earlier]], raw[earlier]])
        known = Known(
            own=own[inputs],
            references=of_references,
            window=of_references if self.config.references.source == "pinned" else raw[earlier],
            labels=listed["label"].to_pylist(),
            reviewed=listed["reviewed"].to_pylist(),
        )
        found, count = threshold(self.config.decision.image, category, known), len(own)
        said = {
            "threshold": found.value,
            "threshold_low": found.low,
            "threshold_high": found.high,
            "false_alarms": found.false_alarms,
            "recall": found.recall,
        }
        return MADE.of(
            {
                "image": block["image"],
                "score_final": pa.nulls(count, pa.float64()) if scores is None else scores[:count],
                "rule": [found.rule] * count,
                **{name: pa.array([value] * count, pa.float64()) for name, value in said.items()},
                "count": [1] * count,
            }
        )
