"""What each category is compared with: its own images, those of earlier nights, or pinned ones."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.geometry import LakeGeometry
from pipeline.images import Reason
from pipeline.plan.sampling import choose_references, expected_references, samples
from pipeline.plan.units import Members
from pipeline.schema.tables import COMPARED, INDEX, REFERENCES
from pipeline.store.features import FeatureStore, feature_key
from pipeline.store.run_folder import RunFolder, write_table


@dataclass(frozen=True)
class Chooser:
    """Chooses the references of each category, and lists images and references for the workers.

    `earlier` has rows of the window's runs; `fingerprint` is the encoder's; `settings` are what units depend on;
    `geometry` says what is seen of images.
    """

    config: ScoreConfig
    store: FeatureStore
    run: RunFolder
    fingerprint: str
    earlier: pa.Table | None
    settings: Mapping[str, Any]
    geometry: LakeGeometry

    def expected(self, images: pa.Table, pinned: Mapping[str, int]) -> dict[str, Members]:
        """Return what each category of a table of images will be compared with, as if all could be encoded.

        `pinned` is the number of pinned references of each category. Raises `ConfigError` as choosing does.
        """
        found = {}
        earlier = _count(self.earlier)
        for category, total in _count(images).items():
            self._need_pinned(category, pinned.get(category, 0))
            candidates = self._candidate_count(total, earlier.get(category, 0), pinned.get(category, 0))
            references = expected_references(self.config.references, candidates)
            if references > 1 or candidates > total:
                grid = self.geometry.grid(category)
                found[category] = Members(
                    total,
                    references,
                    candidates,
                    "",
                    grid,
                    mutual=candidates == total,
                    turns=self.config.references.turns,
                    nearest=self._nearest,
                )
        return found

    def __call__(self, encoded: pa.Table) -> tuple[pa.Table, dict[str, Members]]:
        """Choose among encoded images.

        Args:
            encoded: rows of INDEX but for position, which is given here.

        Returns:
            rows of COMPARED for images that are compared with none, and why; and what each category has.

        Raises:
            ConfigError: for source pinned, when a category has fewer than two.
        """
        members, counted = {}, []
        for category in pc.unique(encoded["category"]).to_pylist():
            index = encoded.filter(pc.equal(encoded["category"], category))
            references, population = self._choose(category, index)
            own = np.flatnonzero(references["position"].to_numpy() >= 0)
            if references.num_rows - (len(own) > 0) < 1:
                nothing, alone = [None] * index.num_rows, [str(Reason.ALONE)] * index.num_rows
                counted.append(pa.table({"image": index["image"], "references": nothing, "reason": alone}))
                continue
            content = json.dumps([index.select(["file", "row"]).to_pylist(), references.to_pylist(), self.settings])
            members[category] = Members(
                index.num_rows,
                references.num_rows,
                population,
                hashlib.sha256(content.encode()).hexdigest()[:16],
                largest_grid(self.config.references.turns, index, references),
                mutual=len(own) == references.num_rows,
                turns=self.config.references.turns,
                nearest=self._nearest,
            )
            numbered = index.append_column("position", pa.array(np.arange(index.num_rows)))
            write_table(self.run.index(category), INDEX.cast(numbered))
            write_table(self.run.references(category), references)
        tables = [COMPARED.cast(table) for table in counted]
        return pa.concat_tables([COMPARED.empty(), *tables]), members

    @property
    def _nearest(self) -> int:
        return self.config.references.count if self.config.references.mode == "nearest" else 0

    def _candidate_count(self, own: int, earlier: int, pinned: int) -> int:
        source = self.config.references.source
        if source == "pinned":
            return pinned
        if source == "window" and earlier >= self.config.references.count:
            return earlier
        return own + earlier if source == "window" else own

    def _choose(self, category: str, index: pa.Table) -> tuple[pa.Table, int]:
        """Return the references of a category, and the number of images that they were chosen from."""
        config = self.config.references
        own = ["uri", "etag", "file", "row", "rows", "columns", "region_uri", "region_etag"]
        candidates = index.select(own).append_column("position", pa.array(np.arange(index.num_rows)))
        for name in ("score_raw", "anomalous", "turned"):
            candidates = candidates.append_column(name, pa.nulls(index.num_rows, REFERENCES[name].type))
        if config.source == "pinned":
            candidates = candidates.filter(index["pinned"])
            self._need_pinned(category, candidates.num_rows)
        if config.source == "window" and self.earlier is not None:
            earlier = self._earlier(category, index)
            enough = earlier.num_rows >= config.count
            candidates = earlier if enough else pa.concat_tables([REFERENCES.cast(candidates), earlier])
        chosen = choose_references(config, candidates["uri"].to_pylist())
        population = candidates.num_rows if samples(config, candidates.num_rows) else len(chosen)
        return REFERENCES.cast(candidates.take(pa.array(chosen, pa.int64()))), population

    def _need_pinned(self, category: str, count: int) -> None:
        config = self.config.references
        if config.source == "pinned" and count < 2:
            raise ConfigError(
                f"category {category!r} has {count} images that can be used in {config.pinned}; "
                "at least two references are needed"
            )

    def _earlier(self, category: str, index: pa.Table) -> pa.Table:
        """Return the window's images of a category whose features are still stored, and that are not scored now."""
        assert self.earlier is not None
        rows = self.earlier.filter(pc.equal(self.earlier["category"], category))
        stored = self.store.find(category).images
        now = set(zip(index["uri"].to_pylist(), index["etag"].to_pylist(), strict=True))
        masks = ("region_uri", "region_etag")
        tonight = set(zip(*(index[name].to_pylist() for name in masks), strict=True))
        found = []
        for row in rows.select(["uri", "etag", "score_raw", "anomalous", "region_uri", "region_etag"]).to_pylist():
            seen = self.geometry.key(category, row["region_uri"], row["region_etag"])
            kept = stored.get(feature_key(row["uri"], row["etag"], self.fingerprint, seen))
            # where all of tonight's are looked at alike, what was looked at otherwise is none of them
            alike = len(tonight) > 1 or (row["region_uri"], row["region_etag"]) in tonight
            if kept is not None and alike and (row["uri"], row["etag"]) not in now:
                where = {name: value for name, value in vars(kept).items() if name in REFERENCES.names}
                found.append(row | where | {"position": -1})
        return REFERENCES.rows(found)


def largest_grid(turns: int, *tables: pa.Table) -> tuple[int, int]:
    """Return the smallest grid (rows, columns) that holds those of all images of tables with these columns.

    With `turns` it holds those of images that lie on their sides, too.
    """
    rows, columns = (max(pc.max(table[name]).as_py() or 0 for table in tables) for name in ("rows", "columns"))
    return (rows, columns) if turns == 1 else (max(rows, columns), max(rows, columns))


def feature_refs(table: pa.Table) -> list[tuple[str, int]]:
    """Return where the features of a table's images lie, from its columns file and row."""
    return list(zip(table["file"].to_pylist(), table["row"].to_pylist(), strict=True))


def _count(table: pa.Table | None) -> dict[str, int]:
    """Return the number of rows of each category."""
    if table is None:
        return {}
    return {str(row["values"]): row["counts"] for row in pc.value_counts(table["category"]).to_pylist()}
