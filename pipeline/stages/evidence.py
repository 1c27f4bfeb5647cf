"""Evidence of a run at work: which patches of references come nearest to an image's worst and most normal patch."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import ScoreConfig
from pipeline.errors import StorageError, StoreUnavailable
from pipeline.report.evidence import FindPatches
from pipeline.schema.table import set_columns
from pipeline.schema.tables import EXPLAINED, MATCHES
from pipeline.scoring.scorer import Layer, Matches, Scorer, make_scorer
from pipeline.stages.score import features_of
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_table
from pipeline.views import View

NEAREST = 6  # reference images for each patch
LOOKED_AT = 1000  # references of a category among which evidence is looked for, however many there are
BYTES = 64e6  # of one layer of the images that are held at a time, in fp32; with what is made of them four times that

Named = list[dict[str, Any]]  # a value of MATCHES


@dataclass
class FindEvidence:
    """A worker's part: looks for evidence among the references of a run at work."""

    config: ScoreConfig
    layer: Layer
    view: View
    store: FeatureStore
    run: RunFolder
    map_scale: float
    _scorer: Scorer = field(init=False)

    def setup(self, device: str, threads: int) -> None:
        self._scorer = make_scorer(self.config, self.layer)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of PATCHES for images of one category that this run scored: image, category, uri and map_uri."""
        found = FindPatches(self.run.output, self.map_scale, self.view)(block)
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

    def _evidence(self, category: str, found: pa.Table) -> list[tuple[Named, Named]]:
        """Return the evidence for both patches of each image."""
        index, references = read_table(self.run.index(category)), read_table(self.run.references(category))
        features = features_of(self.store, self.run, category)
        of_image = dict(zip(index["image"].to_pylist(), index["position"].to_pylist(), strict=True))
        positions = [of_image[image] for image in found["image"].to_pylist()]
        patches = np.stack([found["worst"].to_numpy(), found["normal"].to_numpy()], axis=1)
        chosen = np.unique(np.linspace(0, references.num_rows - 1, LOOKED_AT).round().astype(np.int64))
        matches = self._scorer.explain(
            patches,
            [features.images[position] for position in positions],
            [features.references[place] for place in chosen],
            features,
            self.store.layers,
            max(1, int(BYTES // (4 * self.store.grid[0] * self.store.grid[1] * self.store.width))),
        )
        of_reference = references["position"].to_numpy()
        looked_at = references.take(chosen).select(["uri", "etag"]).to_pylist()
        explained = []
        for image, position in enumerate(positions):
            excluded = of_reference == position
            excluded[features.excluded_pairs[features.excluded_pairs[:, 0] == position, 1]] = True
            both = slice(2 * image, 2 * image + 2)
            matches.distances[both, excluded[chosen]] = np.inf
            worst, normal = (self._named(matches, patch, looked_at) for patch in range(both.start, both.stop))
            explained.append((worst, normal))
        return explained

    def _named(self, matches: Matches, patch: int, references: Named) -> Named:
        """Return what MATCHES says of the nearest references to a patch."""
        named = []
        for reference, place, distance in matches.nearest(patch, NEAREST):
            x, y = self.view.centre(place)
            named.append(references[reference] | {"x": x, "y": y, "distance": distance})
        return named
