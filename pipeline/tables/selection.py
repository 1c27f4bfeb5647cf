"""What a run has to do: what it lists, less what the window has scored already, and the references that are pinned."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import Catalog, build_catalog
from pipeline.config import InputConfig, ScoreConfig
from pipeline.errors import CatalogError
from pipeline.schema.table import count_by, set_columns
from pipeline.schema.tables import SELECTION
from pipeline.store.history import History


@dataclass(frozen=True)
class Selection:
    """`todo` follows SELECTION; `carried` has rows of earlier scores with `image`, their row in this run's catalog."""

    todo: pa.Table
    carried: pa.Table | None

    @property
    def pinned(self) -> Mapping[str, int]:
        """How many pinned references each category has."""
        return count_by(self.todo.filter(self.todo["pinned"]), "category")


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
        own = {"box": config.input.box, "group": None, "region": config.input.region}
        listed = InputConfig(uri=config.references.pinned, roots=roots, layout="manifest", **own)
        chosen = build_catalog(listed).table
    except CatalogError as error:
        raise CatalogError(f"references.pinned: {error}") from error
    pinned, names = _names(chosen), _names(table)
    both, there, wanted = set(pinned), set(names), {category for category, _ in names}
    table = table.append_column("pinned", pa.array([name in both for name in names], pa.bool_()))
    unlisted = [name[0] in wanted and name not in there for name in pinned]
    others = chosen.filter(pa.array(unlisted, pa.bool_()))
    count = others.num_rows
    others = set_columns(
        others,
        {
            "image": pc.add(others["image"], len(catalog)),
            "label": pa.nulls(count, pa.bool_()),
            "masks": pa.array([[]] * count, SELECTION["masks"].type),
            "input": pa.array([False] * count, pa.bool_()),
            "pinned": pa.array([True] * count, pa.bool_()),
        },
    )
    return Selection(pa.concat_tables([table, others]), carried)


def _names(table: pa.Table) -> list[tuple[str, str]]:
    """Return category and uri of each row."""
    return list(zip(table["category"].to_pylist(), table["uri"].to_pylist(), strict=True))


def _carried(table: pa.Table, scored: pa.Table) -> pa.Table:
    """Return the earlier rows of images that are listed again, unchanged, with `image`."""
    known = {key: place for place, key in enumerate(_contents(scored))}
    images: list[int] = table["image"].to_pylist()
    found = [(image, known[key]) for image, key in zip(images, _contents(table), strict=True) if key in known]
    rows = scored.take(pa.array([place for _, place in found], pa.int64()))
    return rows.append_column("image", pa.array([image for image, _ in found], pa.int64()))


def _contents(table: pa.Table) -> Iterator[tuple[str, ...]]:
    """Yield category, uri and etag of each row, and where it is looked at."""
    names = ("category", "uri", "etag", "region_uri", "region_etag")
    return zip(*(table[name].to_pylist() for name in names), strict=True)


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
