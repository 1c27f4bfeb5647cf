"""Where to look in images: masks for categories, and for images that a manifest gives one of their own."""

from collections.abc import Mapping

import pyarrow as pa

from pipeline.catalog.manifest import describe
from pipeline.errors import CatalogError
from pipeline.io.storage import Location
from pipeline.schema.table import set_columns
from pipeline.schema.tables import CATALOG


def with_regions(table: pa.Table, of_categories: Mapping[str, str]) -> pa.Table:
    """Return rows of CATALOG that know their region, an image's own before that of its category, and its tag.

    Raises `CatalogError` where a mask is not there, of a category's and of an image's alike: who looks elsewhere than
    was asked for finds other defects.
    """
    own: list[str | None] = table["region_uri"].to_pylist()
    if not of_categories and not any(own):
        return table
    usual = {category: Location.parse(uri).uri for category, uri in of_categories.items()}
    uris = [uri or usual.get(category) for uri, category in zip(own, table["category"].to_pylist(), strict=True)]
    entries = describe(sorted({uri for uri in uris if uri is not None}))
    if gone := [entry for entry in entries if entry.problem]:
        raise CatalogError(f"the mask of where to look cannot be read: {gone[0].problem}")
    names = sorted({uri for uri in uris if uri is not None})
    tags = {uri: entry.etag for uri, entry in zip(names, entries, strict=True)}
    columns = {"region_uri": uris, "region_etag": [None if uri is None else tags[uri] for uri in uris]}
    return set_columns(table, {name: pa.array(values, CATALOG[name].type) for name, values in columns.items()})
