"""Evidence: which reference patches come nearest to an image's worst patch, and to its most normal one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.engine.progress import Progress
from pipeline.engine.tasks import Function, Run, missed, run_tasks
from pipeline.engine.telemetry import count_traffic
from pipeline.errors import StorageError, StoreUnavailable
from pipeline.io.storage import Location
from pipeline.report.stored_map import map_at
from pipeline.scoring.maps import extreme_patches
from pipeline.scoring.nearest import Evidence, compare, nearest
from pipeline.stages.score import aggregation_of
from pipeline.store.features import DAMAGE, FeatureStore
from pipeline.store.run_folder import RunFolder, read_table
from pipeline.tables.references import feature_refs
from pipeline.tables.rows import EVIDENCE, EXPLAINED

NEAREST = 6  # reference images for each patch
BLOCK = 256  # images of one task, for which each reference is read and aggregated once
LOOKED_AT = 1000  # references of a category among which evidence is looked for, however many there are
BYTES = 64e6  # of one layer of the images that are held at a time, in fp32; with what is made of them four times that

# The worst and the most normal patch of an image, null where its map is gone, and the references nearest to them, null
# where the image is not scored in this run; `detail` says what could not be read
FOUND = pa.schema(
    [
        ("n", pa.int64()),
        ("uri", pa.string()),
        ("detail", pa.string()),
        ("worst", pa.int64()),
        ("normal", pa.int64()),
        ("evidence", EVIDENCE),
        ("evidence_normal", EVIDENCE),
    ]
)

Named = list[dict[str, Any]]  # a value of EVIDENCE


def explain(
    rows: pa.Table, tonight: NDArray[np.bool_], look: Function, find: Function | None = None, run: Run = run_tasks
) -> pa.Table:
    """Return a row of FOUND for each image of a table with n, category, uri and map_uri.

    What cannot be read costs its own image its evidence, and the log says so.

    Args:
        rows: images of a run.
        tonight: (N,) whether they are scored in this run.
        look: finds the patches alone: `find_patches`.
        find: finds the evidence too, for images of one category that are scored in this run: an `EvidenceFinder`.
        run: gives blocks to tasks.
    """
    if find is None:
        tonight = np.zeros_like(tonight)
    mine, others = rows.filter(pa.array(tonight)), rows.filter(pa.array(~tonight))
    parts = [mine.filter(pc.equal(mine["category"], category)) for category in pc.unique(mine["category"])]
    blocks = [part.slice(at, BLOCK) for part in parts for at in range(0, part.num_rows, BLOCK)]
    found = [FOUND.empty_table()]
    with Progress("evidence", "images", rows.num_rows) as progress:
        if find is not None and blocks:
            found.append(run(blocks, find, progress))
        if others.num_rows:
            found.append(run([others.slice(at, BLOCK) for at in range(0, others.num_rows, BLOCK)], look, progress))
    table = pa.concat_tables(found).sort_by("n")
    mapped = pc.is_valid(table["worst"])
    missed("picture", table.filter(pc.invert(mapped)))
    missed("evidence", table.filter(mapped))
    return table


def find_patches(block: pa.Table, output: Location, map_scale: float, grid: tuple[int, int]) -> pa.Table:
    """Return the worst and the most normal patch of images of a run, by their maps: rows of FOUND, and `count`.

    `block` has n, uri and map_uri.
    """
    rows = []
    for image in block.select(["n", "uri", "map_uri"]).to_pylist():
        row = {"n": image["n"], "uri": image["uri"]}
        try:
            distances = map_at(output / image["map_uri"], map_scale)
        except StoreUnavailable:
            raise
        except StorageError as error:  # of an earlier run that somebody deletes
            row["detail"] = str(error)
        else:
            worst, normal = extreme_patches(torch.from_numpy(distances)[None], grid)[0].tolist()
            row |= {"worst": worst, "normal": normal}
        rows.append(row)
    count_traffic()
    return pa.Table.from_pylist(rows, schema=FOUND).append_column("count", pa.array([1] * len(rows)))


@dataclass(frozen=True)
class EvidenceFinder:
    """What tasks share that look for evidence among the references of a run at work."""

    config: ScoreConfig
    store: FeatureStore
    run: RunFolder
    map_scale: float

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows of FOUND for images of one category that this run scored: n, category, uri and map_uri."""
        found = find_patches(block, self.run.output, self.map_scale, self.store.grid)
        known = found.filter(pc.is_valid(found["worst"]))
        if not known.num_rows:
            return found
        try:
            lists = iter(self._evidence(block["category"][0].as_py(), known))
        except StoreUnavailable:
            raise
        except (StorageError, *DAMAGE) as error:  # features that somebody deletes meanwhile; scores need no evidence
            details = pc.coalesce(found["detail"], pa.scalar(f"its references cannot be read: {error}"))
            return found.set_column(found.schema.get_field_index("detail"), FOUND.field("detail"), details)
        explained = [next(lists) if worst is not None else (None, None) for worst in found["worst"].to_pylist()]
        for name, values in zip(EXPLAINED.names, zip(*explained, strict=True), strict=True):
            found = found.set_column(found.schema.get_field_index(name), name, pa.array(values, EVIDENCE))
        count_traffic()
        return found

    @torch.inference_mode()
    def _evidence(self, category: str, found: pa.Table) -> list[tuple[Named, Named]]:
        """Return the evidence for both patches of each image."""
        index, references = read_table(self.run.index(category)), read_table(self.run.references(category))
        pairs = read_table(self.run.near_duplicates(category)).to_pandas()
        of_image = dict(zip(index["image"].to_pylist(), index["position"].to_pylist(), strict=True))
        positions = [of_image[n] for n in found["n"].to_pylist()]
        patches = np.stack([found["worst"].to_numpy(), found["normal"].to_numpy()], axis=1)
        chosen = np.unique(np.linspace(0, references.num_rows - 1, LOOKED_AT).round().astype(np.int64))
        evidence = self._compare(feature_refs(index.take(positions)), patches, feature_refs(references), chosen)
        of_reference = references["position"].to_numpy()
        looked_at = references.take(chosen)
        explained = []
        for image, position in enumerate(positions):
            both = slice(2 * image, 2 * image + 2)
            excluded = of_reference == position
            excluded[pairs["reference"][pairs["image"] == position]] = True
            evidence.distances[both, torch.from_numpy(excluded[chosen])] = torch.inf
            worst, normal = (self._named(evidence, patch, looked_at) for patch in range(both.start, both.stop))
            explained.append((worst, normal))
        return explained

    def _compare(
        self,
        images: Sequence[tuple[str, int]],
        patches: NDArray[np.int64],
        references: Sequence[tuple[str, int]],
        chosen: NDArray[np.int64],
    ) -> Evidence:
        """Compare patches (A, K) of images with chosen references: K patches of the first image, then of the next."""
        store, layers = self.store, self.store.layers
        step = max(1, int(BYTES // (4 * store.grid[0] * store.grid[1] * store.width)))
        aggregations = [aggregation_of(self.config.method, store, references, layer, "cpu") for layer in layers]

        def vectors(refs: Sequence[tuple[str, int]], layer: int) -> Iterator[torch.Tensor]:
            return aggregations[layer](torch.from_numpy(store.tokens(refs, layers[layer])))

        def of_patches(layer: int) -> Iterator[torch.Tensor]:
            for start in range(0, len(images), step):
                chosen = torch.from_numpy(patches[start : start + step])  # (a, K)
                rows = torch.arange(len(chosen))[:, None]
                passes = [of_pass[rows, chosen] for of_pass in vectors(images[start : start + step], layer)]
                yield torch.stack(passes).flatten(1, 2)  # (r, a * K, D)

        looked_at = [references[place] for place in chosen]
        queries = [of_pass for layer in range(len(layers)) for of_pass in torch.cat(list(of_patches(layer)), dim=1)]
        blocks = (
            (of_pass for layer in range(len(layers)) for of_pass in vectors(looked_at[start : start + step], layer))
            for start in range(0, len(looked_at), step)
        )
        return compare(queries, blocks)

    def _named(self, evidence: Evidence, patch: int, references: pa.Table) -> Named:
        named = []
        for image, place, distance in nearest(evidence, patch, NEAREST):
            x, y = centre(place, self.store.grid)
            row = references.slice(image, 1).select(["uri", "etag"]).to_pylist()[0]
            named.append(row | {"x": x, "y": y, "distance": distance})
        return named


def centre(patch: int, grid: tuple[int, int]) -> tuple[float, float]:
    """Return the middle x, y of a patch in shares of the image's width and height."""
    row, column = divmod(patch, grid[1])
    return (column + 0.5) / grid[1], (row + 0.5) / grid[0]
