"""Evidence of a run at work: which patches of references come nearest to an image's worst and most normal patch."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.errors import StorageError, StoreUnavailable
from pipeline.geometry import LakeGeometry
from pipeline.report.evidence import FindPatches
from pipeline.schema.table import set_columns
from pipeline.schema.tables import EXPLAINED, MATCHES
from pipeline.scoring.scorer import Layer, make_scorer
from pipeline.stages.explain import Explainer, Named
from pipeline.stages.score import kept_lists
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder

NEAREST = 6  # reference images for each patch


@dataclass
class FindEvidence:
    """A worker's part: looks for evidence among the references of a run at work."""

    config: ScoreConfig
    layer: Layer
    geometry: LakeGeometry
    store: FeatureStore
    run: RunFolder
    map_scale: float
    anomalous: NDArray[np.int64]
    _explain: Explainer = field(init=False)

    def setup(self, device: str, threads: int) -> None:
        scorer, listed = make_scorer(self.config, self.layer), kept_lists(self.store, self.run)
        self._explain = Explainer(scorer, self.store.layers, self.store.width, listed, self.anomalous)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of PATCHES for images of one category that this run scored: FindPatches' columns."""
        found = FindPatches(self.run.output, self.map_scale, self.geometry)(block)
        known = found.filter(pc.is_valid(found["worst"]))
        if not known.num_rows:
            return found
        try:
            evidence = iter(self._evidence(block["category"][0].as_py(), known))
        except StoreUnavailable:
            raise
        except StorageError as error:  # features that somebody deletes meanwhile; scores need no evidence
            details = pc.coalesce(found["detail"], pa.scalar(f"its references cannot be read: {error}"))
            return set_columns(found, {"detail": details})
        explained = [next(evidence) if worst is not None else (None, None) for worst in found["worst"].to_pylist()]
        lists = zip(EXPLAINED.names, zip(*explained, strict=True), strict=True)
        return set_columns(found, {name: pa.array(values, MATCHES) for name, values in lists})

    def _evidence(self, category: str, found: pa.Table) -> list[list[Named]]:
        """Return the evidence for both patches of each image."""
        patches = np.stack([found["worst"].to_numpy(), found["normal"].to_numpy()], axis=1)
        return self._explain(category, found["image"].to_pylist(), patches, NEAREST)
