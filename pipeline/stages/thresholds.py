"""Thresholds: the raw score above which images of a category are anomalous."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.config import ScoreConfig
from pipeline.schema.tables import THRESHOLDS, with_count
from pipeline.store.run_folder import RunFolder, read_table
from pipeline.tables.known import Known
from pipeline.tables.thresholds import threshold

MADE = with_count(THRESHOLDS)


@dataclass
class FindThreshold:
    """A worker's part: finds the threshold of a category."""

    config: ScoreConfig
    run: RunFolder

    def setup(self, device: str, threads: int) -> None:
        """Nothing."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of THRESHOLDS, and `count`, for category, image and score_raw."""
        category = block["category"][0].as_py()
        index, references = read_table(self.run.index(category)), read_table(self.run.references(category))
        own = block["score_raw"].to_numpy()
        positions, raw = references["position"].to_numpy(), references["score_raw"].to_numpy()
        earlier = positions < 0
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
                "rule": [found.rule] * count,
                **{name: pa.array([value] * count, pa.float64()) for name, value in said.items()},
                "count": [1] * count,
            }
        )
