"""What there is to score: one row for each input, sorted by category and uri."""

import itertools
import logging
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.boxes import box_uri
from pipeline.catalog.labels import apply_labels, read_families, read_labels
from pipeline.catalog.layouts import SIDECARS, arrange, detect
from pipeline.catalog.manifest import boxes, describe, forbidden, looks_like_a_box, read_manifest
from pipeline.catalog.regions import with_regions
from pipeline.catalog.words import NORMAL
from pipeline.config import InputConfig
from pipeline.errors import CatalogError, NothingToScore
from pipeline.images import Reason
from pipeline.io.storage import Entry, Location
from pipeline.schema.table import TableSchema, count_by
from pipeline.schema.tables import CATALOG, MANIFEST

ROWS = 10_000  # built at a time
EXAMPLES = 5  # categories that a log line names
# What a run writes below its output, wherever that is
RESULTS = re.compile(
    r"/(runs/run_id=[^/]+/((maps|report|scores)(-\d+)?/|[^/]+$)|work/run_id=[^/]+/|features/[0-9a-f]{16}/(images|tokens|index)/)"
)

log = logging.getLogger(__name__)

UNNUMBERED = TableSchema(CATALOG.about, CATALOG.without("image"))


@dataclass(frozen=True)
class Catalog:
    """The images of a lake.

    `table` follows CATALOG; `kept` has a manifest's further columns, in the same order. `ignored` counts files that are
    no inputs: notes, hidden ones excepted, and what the layout does not test. `families` has what people call the
    families of images' defects, by uri.
    """

    layout: str
    table: pa.Table
    kept: pa.Table
    ignored: int
    families: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)


def build_catalog(config: InputConfig) -> Catalog:
    """List a lake or read a manifest, with the labels that people gave.

    Raises `CatalogError` when there is nothing at the address, it does not fit the layout, or the labels cannot be
    used, and `NothingToScore` when there is no image in it.
    """
    if config.labels is None:
        catalog = _listed(config)
    else:
        location = Location.parse(config.labels)
        labels, families = read_labels(location), read_families(location)  # before a lake is listed for minutes
        catalog = _listed(config)
        catalog = replace(catalog, table=apply_labels(catalog.table, labels, location), families=families)
    _say_without_normals(catalog.table)
    _say_parts(catalog.table)
    return replace(catalog, table=with_regions(catalog.table, config.region))


def _say_without_normals(table: pa.Table) -> None:
    """Warn of categories whose images all are labelled anomalous: more likely a name was not understood."""
    defects = table.select(["category"]).append_column("all", pc.fill_null(table["label"], False))
    found = defects.group_by("category").aggregate([("all", "min")])
    names = found.filter(found["all_min"])["category"].sort().to_pylist() if table.num_rows else []
    if names:
        log.warning(
            "labels   nothing is normal in %d categories: %s%s; folders of normal images are called %s",
            *(len(names), ", ".join(names[:EXAMPLES]), ", ..." * (len(names) > EXAMPLES), ", ".join(sorted(NORMAL))),
        )


def _say_parts(table: pa.Table) -> None:
    """Log how many images are views of how many parts, and that a camera's images are a category."""
    views = table.select(["category", "group"]).filter(pc.is_valid(table["group"]))
    if not views.num_rows:
        return
    counts, cameras = count_by(views, "group"), count_by(views, "category")
    fewest, most = min(counts.values()), max(counts.values())
    log.info(
        "parts    %d of %d images are views of %d parts, %s of each; they score within their categories: %s%s",
        *(views.num_rows, table.num_rows, len(counts), fewest if fewest == most else f"{fewest} to {most}"),
        *(", ".join(sorted(cameras)[:EXAMPLES]), ", ..." * (len(cameras) > EXAMPLES)),
    )


def _listed(config: InputConfig) -> Catalog:
    location, roots = Location.parse(config.uri), [Location.parse(root) for root in config.roots]
    if not location.exists():
        raise CatalogError(f"there is nothing at {location}; a folder, a bucket prefix, or a manifest is needed")
    is_table = location.path.lower().endswith((".parquet", ".csv")) and location.is_file()
    if config.layout == "manifest" or (config.layout == "auto" and is_table):
        return _from_manifest(location, roots, config.box, config.group)
    if location.is_file():
        raise CatalogError(f"{location} is one file; give the folder that holds the images, or a .parquet or .csv")
    return _from_listing(location, config.layout, config.max_bytes, config.region.values())


def _from_listing(location: Location, layout: str, max_bytes: int, regions: Collection[str]) -> Catalog:
    entries: dict[str, Entry] = {}
    for entry in location.files():
        path = entry.path
        while path in entries:  # two names that are not UTF-8 can look alike
            path += "~"
        entries[path] = entry
    _drop_markers(entries)
    _drop_results(entries, location)
    own = {Location.parse(uri).uri for uri in regions}
    for path in [path for path in entries if (location / path).uri in own] if own else []:
        del entries[path]  # masks of where to look are no images
    if layout == "auto":
        layout = detect(entries)
    elif layout == "folder" and (seen := detect(entries)) != "folder":
        log.warning("layout folder takes each image for one to score, masks too; this tree looks like %s", seen)
    root = location.path.rpartition("/")[2]

    def read(path: str) -> bytes:
        if entries[path].size > max_bytes:
            raise CatalogError(f"{location / path} has {entries[path].size} bytes, the limit is {max_bytes}")
        return (location / path).read_bytes(entries[path].etag)

    items = list(arrange(layout, entries, root, read))
    rows = (
        _row(
            uri=(location / item.path).uri,
            category=item.category,
            label=item.label,
            # a split file is the lake's: what it names and nobody listed may lie anywhere
            masks=[(location / mask).uri for mask in item.masks if mask in entries],
            group=item.group,
            entry=_entry(item.path, entries),
        )
        for item in items
    )
    taken = {item.path for item in items}
    taken.update(mask for item in items for mask in item.masks)
    ignored = sum(path not in taken for path in entries)
    if not items:
        seen = detect(entries)
        hint = f"; it looks like layout {seen}" if ignored and layout != seen else ""
        raise NothingToScore(
            f"no image in {location} (layout {layout}, {ignored} other files){hint}; "
            f"check input.uri and input.layout; files such as {' '.join(sorted(SIDECARS)[:4])} do not count"
        )
    return _catalog(layout, rows, pa.table({}), ignored)


def _entry(path: str, entries: Mapping[str, Entry]) -> Entry:
    """Return what is known of a file that a layout names."""
    if (why := looks_like_a_box(path)) is not None:
        return Entry(path, 0, "", problem=why)  # without its tag, which that box's photograph may have, too
    return entries.get(path) or Entry(path, 0, "", problem="named by the split file, but not there")


def _drop_markers(entries: dict[str, Entry]) -> None:
    """Leave out empty objects that stand for folders: tools write one named like the folder, with no slash behind."""
    empty = {path for path, entry in entries.items() if not entry.size and not entry.problem}
    if empty:
        folders = {path.rpartition("/")[0] for path in entries}
        for folder in list(folders):
            while folder := folder.rpartition("/")[0]:
                folders.add(folder)
        for path in empty & folders:
            del entries[path]


def _drop_results(entries: dict[str, Entry], location: Location) -> None:
    """Leave out what runs wrote, where an output lies in the lake: its maps would be scored as photographs."""
    own = [path for path in entries if ("/run_id=" in path or "features/" in path) and RESULTS.search(f"/{path}")]
    for path in own:
        del entries[path]
    if own:
        log.warning(
            "catalog  %d files below %s are results of runs, such as %s, and left out", len(own), location, own[0]
        )


def _from_manifest(location: Location, roots: list[Location], box: Sequence[str], group: str | None) -> Catalog:
    table = read_manifest(location, box, group)
    if not table.num_rows:
        raise NothingToScore(f"the manifest {location} has no rows")
    files: list[str] = table["uri"].to_pylist()
    uris = map(box_uri, files, boxes(table, box))
    categories: list[str] = table["category"].to_pylist()
    labels: list[bool | None] = table["label"].to_pylist()
    masks: list[str | None] = table["mask_uri"].to_pylist()
    groups: list[str | None] = table["group"].to_pylist()
    roots = [Location(location.protocol, location.path.rpartition("/")[0] or "/"), *roots]
    regions: list[str | None] = table["region_uri"].to_pylist()
    named = list(zip(files, masks, regions, strict=True))
    # of boxes many are in one file
    why_not = {of: forbidden(of[0], of[1], roots) or forbidden(of[0], of[2], roots) for of in dict.fromkeys(named)}
    outside = [why_not[of] for of in named]
    if all(outside):
        raise CatalogError(f"{location}: none of its {len(outside)} images may be read: {outside[0]}")
    entries = iter(describe([file for file, why in zip(files, outside, strict=True) if why is None]))
    rows = []
    columns = (uris, categories, labels, masks, regions, groups, outside)
    for uri, category, label, mask, region, part, why in zip(*columns, strict=True):
        own = [mask] if mask and why is None else []
        entry = next(entries) if why is None else Entry(uri, 0, "", problem=why)
        reason = Reason.UNREADABLE if why is None else Reason.FORBIDDEN
        row = _row(uri=uri, category=category, label=label, masks=own, group=part, entry=entry, reason=reason)
        rows.append(row if why else replace(row, region_uri=region))
    kept = table.drop_columns(MANIFEST.names)
    if set(box) <= set(kept.column_names):
        kept = kept.drop_columns(list(box))
    return _catalog("manifest", rows, kept, ignored=0)


@dataclass(frozen=True, slots=True)
class _Row:
    """An image before the catalog is sorted, and numbered."""

    uri: str
    category: str
    label: bool | None
    masks: list[str]
    reviewed: bool
    region_uri: str | None
    region_etag: str | None
    group: str | None
    size: int
    etag: str
    reason: str | None
    detail: str | None


def _row(
    *,
    uri: str,
    category: str,
    label: bool | None,
    masks: list[str],
    group: str | None,
    entry: Entry,
    reason: Reason = Reason.UNREADABLE,
) -> _Row:
    return _Row(
        uri=uri,
        category=unicodedata.normalize("NFC", category),  # one name may be written in two ways, and looks the same
        label=label,
        masks=masks,
        reviewed=False,
        region_uri=None,
        region_etag=None,
        group=group,
        size=entry.size,
        etag=entry.etag,
        reason=reason if entry.problem else None,
        detail=entry.problem,
    )


def _catalog(layout: str, rows: Iterable[_Row], kept: pa.Table, ignored: int) -> Catalog:
    rows = iter(rows)
    # Rows of Python are ten times as large as in Arrow: never all of them at once
    parts = [UNNUMBERED.empty()]
    while part := list(itertools.islice(rows, ROWS)):
        parts.append(UNNUMBERED.rows(part))
    table = pa.concat_tables(parts)
    order = pc.sort_indices(table, [("category", "ascending"), ("uri", "ascending")])
    table = table.take(order).combine_chunks().add_column(0, "image", pa.array(range(table.num_rows), pa.int64()))
    return Catalog(layout, table, kept.take(order) if kept.num_columns else kept, ignored)
