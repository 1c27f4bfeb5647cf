"""A table of images made by somebody else: Parquet or CSV."""

import io
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.csv

from pipeline.catalog.size import too_large
from pipeline.catalog.words import WORDS, said
from pipeline.errors import CatalogError, ConfigError, StorageError
from pipeline.io.parquet import DAMAGE, read_parquet
from pipeline.io.storage import Entry, Location
from pipeline.schema.table import set_columns
from pipeline.schema.tables import MANIFEST

_UNKNOWN = frozenset({"", "none", "null", "nan"})


def read_manifest(location: Location) -> pa.Table:
    """Read a manifest: columns uri and category, optionally label, mask_uri, region_uri, and any more, which are kept.

    Relative uris are taken from the manifest's folder.

    Returns:
        MANIFEST, and the further columns.

    Raises:
        CatalogError: for a table that cannot be read or is too large, a column that is missing, a label that is no
            usual word, or a uri that stands twice.
    """
    content = location.read_bytes()
    try:
        if location.path.lower().endswith(".csv"):
            table = pyarrow.csv.read_csv(
                io.BytesIO(content),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                # names such as 007 are names, and an empty field is no value
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={name: pa.string() for name in MANIFEST.names},
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
        elif why := too_large(content):
            raise CatalogError(f"{location} is too large for a manifest: {why}")
        else:
            table = read_parquet(content)
        table.validate(full=True)  # text that is not UTF-8
        columns = table.column_names
    except DAMAGE as error:
        raise CatalogError(f"{location} is not a manifest that can be read: {_short(str(error))}") from error
    if again := [name for name, count in Counter(columns).items() if count > 1]:
        raise CatalogError(f"{location} has the column {again[0]!r} more than once")
    if missing := [name for name in ("uri", "category") if name not in columns]:
        raise CatalogError(f"{location} lacks the column {missing[0]}; it has {_short(', '.join(columns))}")

    texts = {name: _strings(location, table, name) for name in MANIFEST.names}
    uris, categories = texts["uri"], texts["category"]
    for name, values in (("uri", uris), ("category", categories)):
        if None in values:
            raise CatalogError(f"{location}: row {values.index(None) + 1} has no {name}")
    folder = Location(location.protocol, location.path.rpartition("/")[0])
    resolved = [_resolve(folder, uri) for uri in uris if uri is not None]
    if twice := [uri for uri, count in Counter(resolved).items() if count > 1]:
        some = ", ".join(repr(uri) for uri in twice[:5])
        raise CatalogError(f"{location}: {len(twice)} uris stand more than once, such as {some}; keep one row each")

    known = MANIFEST.of(
        {
            "uri": resolved,
            "category": categories,
            "label": [_label(location, value) for value in texts["label"]],
            **{
                name: [_resolve(folder, uri) if uri else None for uri in texts[name]]
                for name in ("mask_uri", "region_uri")
            },
        }
    )
    return set_columns(known, {name: table[name] for name in columns if name not in MANIFEST.names})


def describe(uris: list[str]) -> list[Entry]:
    """Ask the store for size and tag of each uri, many at a time; one that is not there says so in `problem`."""

    def one(uri: str) -> Entry:
        try:
            return Location.parse(uri).entry()
        except StorageError as error:
            return Entry(uri, 0, "", problem=str(error))

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(one, uris))


def forbidden(uri: str, mask: str | None, roots: Sequence[Location]) -> str | None:
    """Say why an image must not be read: it or its mask lies below none of the roots; None where it may."""
    for found in (uri, mask):
        if found is None:
            continue
        try:
            allowed = any(Location.parse(found).is_below(root) for root in roots)
        except ConfigError as error:  # another scheme, or no bucket
            return str(error)
        except ValueError:  # a NUL byte: no file's name, as reading will say
            continue
        if not allowed:
            places = ", ".join(map(str, roots))
            return f"{found} is not below {places}; input.roots names more places that a manifest may point to"
    return None


def _resolve(folder: Location, uri: str) -> str:
    """Return the address of a manifest's uri as results write it; what is no address of ours stays as it is."""
    if "://" not in uri and not uri.startswith("/"):
        uri = (folder / uri).uri
    try:
        return Location.parse(uri).uri
    except ConfigError:
        return uri


def _strings(location: Location, table: pa.Table, name: str) -> list[str | None]:
    if name not in table.column_names:
        return [None] * table.num_rows
    column = table[name]
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        values: list[str | None] = column.cast(pa.string()).to_pylist()
        if pa.types.is_floating(column.type):  # a column of gaps alone is one of floats
            values = [None if value == "nan" else value for value in values]
    except pa.ArrowException as error:
        raise CatalogError(f"{location}: the column {name} is not text: {_short(str(error))}") from error
    return values


def _label(location: Location, value: str | None) -> bool | None:
    if value is None or value.strip().lower() in _UNKNOWN:
        return None
    if (anomalous := said(value)) is None:
        raise CatalogError(f"{location}: label {_short(repr(value))} is neither normal nor defect: {WORDS}")
    return anomalous


def _short(text: str) -> str:
    """Return what a library or a table says, in one line that can be read."""
    return " ".join(text.split())[:200]
