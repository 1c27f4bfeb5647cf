"""What a run has to do: what it lists, less what the window has scored already, and the references that are pinned."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import Catalog, build_catalog
from pipeline.config import InputConfig, ScoreConfig
from pipeline.errors import CatalogError
from pipeline.store.history import History


@dataclass(frozen=True)
class Selection:
    """`todo` has the catalog's columns, and for each image whether it is `pinned`, and an `input` of this run at all.

    `carried` has rows of earlier scores with `image`, their position in this run's catalog.
    """

    todo: pa.Table
    carried: pa.Table | None

    @property
    def pinned(self) -> Mapping[str, int]:
        """How many pinned references each category has."""
        rows = self.todo.filter(self.todo["pinned"])
        return {row["values"]: row["counts"] for row in pc.value_counts(rows["category"]).to_pylist()}


def select(catalog: Catalog, config: ScoreConfig, history: History) -> Selection:
    """Sort out what is to be done with the images of a catalog; raises what reading the pinned manifest raises.

    Images that somebody labelled are few, and scored again: metrics and fitted thresholds are of this run's scores.
    """
    table, carried = catalog.table, None
    if config.references.source == "window" and (rows := history.of_these_settings()) is not None:
        carried = _carried(table.filter(pc.invert(table["reviewed"])), rows.filter(pc.equal(rows["status"], "scored")))
        table = table.filter(pc.invert(pc.is_in(table["image"], value_set=carried["image"].combine_chunks())))
    table = table.append_column("input", pa.array([True] * table.num_rows, pa.bool_()))
    if config.references.pinned is None:
        return Selection(table.append_column("pinned", pa.array([False] * table.num_rows, pa.bool_())), carried)
    lake = config.input.uri.rpartition("/")[0] if catalog.layout == "manifest" else config.input.uri
    roots = (lake, *config.input.roots)
    try:
        chosen = build_catalog(InputConfig(uri=config.references.pinned, roots=roots, layout="manifest")).table
    except CatalogError as error:
        raise CatalogError(f"references.pinned: {error}") from error
    both = set(zip(chosen["category"].to_pylist(), chosen["uri"].to_pylist(), strict=True))
    names = list(zip(table["category"].to_pylist(), table["uri"].to_pylist(), strict=True))
    table = table.append_column("pinned", pa.array([name in both for name in names], pa.bool_()))
    wanted = set(table["category"].to_pylist())
    there = set(names)
    others = [
        row | {"image": len(catalog) + place, "label": None, "masks": [], "input": False, "pinned": True}
        for place, row in enumerate(chosen.to_pylist())
        if row["category"] in wanted and (row["category"], row["uri"]) not in there
    ]
    return Selection(pa.concat_tables([table, pa.Table.from_pylist(others, schema=table.schema)]), carried)


def _carried(table: pa.Table, scored: pa.Table) -> pa.Table:
    """Return the earlier rows of images that are listed again, unchanged, with `image`."""
    known: dict[tuple[Any, ...], int] = {
        key: place
        for place, key in enumerate(
            zip(*(scored[name].to_pylist() for name in ("category", "uri", "etag")), strict=True)
        )
    }
    listed = zip(*(table[name].to_pylist() for name in ("image", "category", "uri", "etag")), strict=True)
    found = [(image, known[key]) for image, *rest in listed if (key := tuple(rest)) in known]
    rows = scored.take(pa.array([place for _, place in found], pa.int64()))
    return rows.append_column("image", pa.array([image for image, _ in found], pa.int64()))


def window_of(history: History, since: datetime, count: int) -> pa.Table | None:
    """Return the images that were scored since a time; in categories with fewer than `count`, older ones too.

    Rows that runs carried over are older: where nothing is new for long, they are all there is to compare with.
    """
    scored = history.scored()
    if scored is None:
        return None
    recent = pc.greater_equal(scored["scored_at"], pa.scalar(since))
    many = [
        row["values"]
        for row in pc.value_counts(scored["category"].filter(recent)).to_pylist()
        if row["counts"] >= count
    ]
    few = pc.invert(pc.is_in(scored["category"], value_set=pa.array(many, pa.string())))
    return scored.filter(pc.or_(recent, few))


def unseen(scores: pa.Table, history: History) -> pa.Table:
    """Return the rows of images that no run of the window has seen."""
    if history.rows is None:
        return scores
    seen = set(zip(history.rows["uri"].to_pylist(), history.rows["etag"].to_pylist(), strict=True))
    names = zip(scores["uri"].to_pylist(), scores["etag"].to_pylist(), strict=True)
    return scores.filter(pa.array([name not in seen for name in names], pa.bool_()))
