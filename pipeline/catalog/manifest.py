"""A table of images, and of boxes of photographs, made by somebody else: Parquet or CSV."""

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv

from pipeline.boxes import LARGEST, PixelBox, box_uri, split_box
from pipeline.catalog.size import too_large
from pipeline.catalog.words import WORDS, said
from pipeline.config import InputConfig
from pipeline.errors import CatalogError, ConfigError, StorageError
from pipeline.io.parquet import DAMAGE, read_parquet
from pipeline.io.storage import Entry, Location
from pipeline.schema.scores import with_manifest
from pipeline.schema.table import set_columns
from pipeline.schema.tables import MANIFEST

DEFAULT_GROUP = "group"  # of input.group
_UNKNOWN = frozenset({"", "none", "null", "nan"})
USUAL_BOX: tuple[str, ...] = InputConfig.model_fields["box"].default


def read_manifest(location: Location, box: Sequence[str] = USUAL_BOX, group: str | None = DEFAULT_GROUP) -> pa.Table:
    """Read a manifest: columns uri and category, optionally label, mask_uri, region_uri, a box, a group, and any more.

    Relative uris are taken from the manifest's folder. Rows with a box are images cut out of photographs.

    Args:
        location: of the manifest.
        box: names of the columns left, top, right, bottom, which count where it has all four.
        group: column with the names of the parts that images are views of; where it is the usual one, it may be absent.

    Returns:
        MANIFEST, whose uris are those of files, the columns of the box as `boxes` reads them, and the further columns.

    Raises:
        CatalogError: for a table that cannot be read or is too large, a column that is missing, a label that is no
            usual word, a box that is none, or a uri that stands twice, with the same box.
    """
    content = location.read_bytes()
    columns_of = {name: group if name == "group" else name for name in MANIFEST.names}
    try:
        if location.path.lower().endswith(".csv"):
            table = pyarrow.csv.read_csv(
                io.BytesIO(content),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                # names such as 007 are names, and an empty field is no value
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={name: pa.string() for name in columns_of.values() if name is not None},
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
    if group not in (None, DEFAULT_GROUP, *columns):
        raise CatalogError(
            f"{location} lacks the column {group}, which input.group names; it has {_short(', '.join(columns))}"
        )

    texts = {name: _strings(location, table, column) for name, column in columns_of.items()}
    uris, categories = texts["uri"], texts["category"]
    for name, values in (("uri", uris), ("category", categories)):
        if None in values:
            raise CatalogError(f"{location}: row {values.index(None) + 1} has no {name}")
    folder = Location(location.protocol, location.path.rpartition("/")[0])
    resolved = [_resolve(folder, uri) for uri in uris if uri is not None]
    if all(name in columns for name in box):
        table = _with_boxes(location, table, box)
    addresses = map(box_uri, resolved, boxes(table, box))
    if twice := [uri for uri, count in Counter(addresses).items() if count > 1]:
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
            "group": [_name(value) for value in texts["group"]],
        }
    )
    return with_manifest(known, {name: table[name] for name in columns if name not in columns_of.values()})


def boxes(table: pa.Table, box: Sequence[str]) -> list[PixelBox | None]:
    """Return the box of each row of a manifest that was read; None of whole images."""
    if not all(name in table.column_names for name in box):
        return [None] * table.num_rows
    edges = zip(*(table[name].to_pylist() for name in box), strict=True)
    return [None if left is None else (left, top, right, bottom) for left, top, right, bottom in edges]


def describe(uris: list[str]) -> list[Entry]:
    """Ask the store for size and tag of each file, many at a time; one that is not there says so in `problem`."""

    def one(uri: str) -> Entry:
        try:
            return Location.parse(uri).entry()
        except StorageError as error:
            return Entry(uri, 0, "", problem=str(error))

    files = list(dict.fromkeys(uris))  # of boxes many are in one
    with ThreadPoolExecutor(32) as pool:
        found = dict(zip(files, pool.map(one, files), strict=True))
    return [found[uri] for uri in uris]


def forbidden(uri: str, mask: str | None, roots: Sequence[Location]) -> str | None:
    """Say why an image must not be read: it or its mask lies below none of the roots; None where it may.

    `uri` is that of its file, which must not look like the address of a box: in all tables it would be one.
    """
    if (why := looks_like_a_box(uri)) is not None:
        return why
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


def looks_like_a_box(uri: str) -> str | None:
    """Say why the address of a file cannot be used: it would mean a box of another file; None where it may."""
    if split_box(uri)[1] is None:
        return None
    return f"{uri} ends as the address of a box does: give the file another name, or its box the columns of input.box"


def _with_boxes(location: Location, table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return a manifest whose columns of boxes are whole numbers: those of a box in each row, or none."""
    edges = {name: _whole_numbers(location, table, name) for name in names}
    for row, (left, top, right, bottom) in enumerate(zip(*edges.values(), strict=True), 1):
        if left is None and top is None and right is None and bottom is None:
            continue
        where = f"{location}: row {row}"
        if left is None or top is None or right is None or bottom is None:
            lacking = [name for name, value in zip(names, (left, top, right, bottom), strict=True) if value is None]
            raise CatalogError(f"{where} has no {lacking[0]}; a box has all of {', '.join(names)}, a whole image none")
        if not (0 <= left < right <= LARGEST and 0 <= top < bottom <= LARGEST):
            raise CatalogError(
                f"{where} has the box {left}, {top}, {right}, {bottom}, which is none: {names[0]} < {names[2]} and "
                f"{names[1]} < {names[3]} are pixels, from 0 to {LARGEST}"
            )
    return set_columns(table, {name: pa.array(values, pa.int64()) for name, values in edges.items()})


def _whole_numbers(location: Location, table: pa.Table, name: str) -> list[int | None]:
    """Return the numbers of a column: whole ones, whatever type it has, and None for gaps."""
    found: list[int | None] = []
    floats = pa.types.is_floating(table.schema.field(name).type)
    for row, value in enumerate(table[name].to_pylist(), 1):
        if value is None or (floats and value != value):  # pandas has gaps as nan
            found.append(None)
        elif _is_whole(value):
            found.append(int(value))
        else:
            raise CatalogError(f"{location}: row {row} has {name} {_short(repr(value))}, which is no whole number")
    return found


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"-?[0-9]{1,18}", value.strip(), re.ASCII) is not None
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and value % 1 == 0


def _resolve(folder: Location, uri: str) -> str:
    """Return the address of a manifest's uri as results write it; what is no address of ours stays as it is."""
    if "://" not in uri and not uri.startswith("/"):
        uri = (folder / uri).uri
    try:
        return Location.parse(uri).uri
    except ConfigError:
        return uri


def _strings(location: Location, table: pa.Table, name: str | None) -> list[str | None]:
    if name is None or name not in table.column_names:
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


def _name(value: str | None) -> str | None:
    """Return the name of a part; None where there is none."""
    return unicodedata.normalize("NFC", value).strip() or None if value else None


def _label(location: Location, value: str | None) -> bool | None:
    if value is None or value.strip().lower() in _UNKNOWN:
        return None
    if (anomalous := said(value)) is None:
        raise CatalogError(f"{location}: label {_short(repr(value))} is neither normal nor defect: {WORDS}")
    return anomalous


def _short(text: str) -> str:
    """Return what a library or a table says, in one line that can be read."""
    return " ".join(text.split())[:200]
