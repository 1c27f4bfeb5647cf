"""What people said of images after they looked at them: labels that stand before the layout's."""

import csv
import io
import logging
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.boxes import split_box
from pipeline.catalog.manifest import USUAL_BOX
from pipeline.catalog.words import WORDS, said
from pipeline.errors import CatalogError, ConfigError
from pipeline.io.storage import Location
from pipeline.schema.table import set_columns
from pipeline.schema.tables import CATALOG, LABELS

EXAMPLES = 3  # unknown uris that a warning names

log = logging.getLogger(__name__)


def read_labels(location: Location) -> dict[str, bool]:
    """Read a CSV with the columns uri and label (normal, defect or another usual word): true for defects, by uri.

    Raises:
        CatalogError: for a file that is no such CSV, a label that is no usual word, and a uri that stands twice.
        StorageError: when it cannot be read.
    """
    found: dict[str, bool] = {}
    try:
        rows = csv.DictReader(io.StringIO(location.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
        if missing := [name for name in LABELS.names[:2] if name not in (rows.fieldnames or ())]:
            raise CatalogError(f"{location} lacks the column {missing[0]}; it has {', '.join(rows.fieldnames or ())}")
        for row in rows:
            uri, label = row["uri"], said(row["label"] or "")
            where = f"{location}, line {rows.line_num}"
            if not uri:
                raise CatalogError(f"{where}: there is no uri")
            if label is None:
                raise CatalogError(f"{where}: label {row['label']!r} of {uri} is neither normal nor defect: {WORDS}")
            if uri in found:
                raise CatalogError(f"{where}: {uri} stands twice; keep the label that holds")
            found[uri] = label
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{location} is not a CSV that can be read: {error}") from error
    return found


def read_families(location: Location) -> dict[str, str]:
    """Read what people call the families of images' defects, by uri, of a file that `read_labels` can read."""
    rows = csv.DictReader(io.StringIO(location.read_bytes().decode("utf-8-sig"), newline=""))
    found = {row["uri"]: (row.get("family") or "").strip() for row in rows}
    return {uri: family for uri, family in found.items() if family}


def apply_labels(table: pa.Table, labels: Mapping[str, bool], location: Location) -> pa.Table:
    """Return a catalog's table with labels, by uri, in place of the layout's, and these rows marked as reviewed.

    An image that is said to be normal has no masks any more. Uris that the lake does not have any more cost a warning
    that names `location`, where the labels are from; it is another lake's, and a `CatalogError`, where none is known.
    """
    uris = pa.array(list(labels), pa.string())
    unknown = _unknown(uris, table)
    if len(uris) and len(unknown) == len(uris):
        raise CatalogError(f"none of the {len(uris)} uris in {location} is in the lake, such as {uris[0]}")
    _say_unknown(unknown, len(uris), location, "the lake")
    given = pa.array(list(labels.values()), pa.bool_()).take(pc.index_in(table["uri"], value_set=uris).combine_chunks())
    normal = pc.fill_null(pc.invert(given), False)
    return set_columns(
        table,
        {
            "label": pc.coalesce(given, table["label"]),
            "masks": pc.if_else(normal, pa.scalar([], CATALOG["masks"].type), table["masks"]),
            "reviewed": pc.is_valid(given),
        },
    ).combine_chunks()


def confirmed_normals(
    scores: pa.Table, labels: Mapping[str, bool], location: Location, box: Sequence[str] = USUAL_BOX
) -> pa.Table:
    """Return uri and category of a run's scored images that are labelled normal: a manifest of references to pin.

    Where boxes of photographs are among them, it has those, in columns of some names.

    Raises:
        ConfigError: when there is none.
    """
    uris = pa.array([uri for uri, defect in labels.items() if not defect], pa.string())
    _say_unknown(_unknown(uris, scores), len(uris), location, "the run")
    chosen = pc.and_(pc.is_in(scores["uri"], value_set=uris), pc.equal(scores["status"], "scored"))
    found = scores.select(["uri", "category"]).filter(chosen)
    if not found.num_rows:
        raise ConfigError(f"none of the run's scored images is labelled normal in {location}; uris are as in scores")
    split = [split_box(uri) for uri in found["uri"].to_pylist()]
    if all(of is None for _, of in split):
        return found
    edges = {
        name: pa.array([None if of is None else of[edge] for _, of in split], pa.int64())
        for edge, name in enumerate(box)
    }
    return set_columns(found, {"uri": pa.array([file for file, _ in split], pa.string())} | edges)


def _say_unknown(unknown: pa.Array, count: int, location: Location, place: str) -> None:
    if len(unknown):
        some = ", ".join(unknown.slice(0, EXAMPLES).to_pylist())
        log.warning("labels   %d of %d uris in %s are not in %s: %s", len(unknown), count, location, place, some)


def _unknown(uris: pa.Array, table: pa.Table) -> pa.Array:
    return uris.filter(pc.invert(pc.is_in(uris, value_set=table["uri"].combine_chunks())))
