"""Regions in tables: whose are looked for, and what of earlier nights is carried over."""

from typing import Any

import pyarrow as pa

from pipeline.schema.tables import DECIDED, FLAGGED, FOUND, INDEX, REGIONS
from pipeline.tables.regions import flagged, regions_table, with_regions


def decided() -> pa.Table:
    usual: dict[str, Any] = {"status": "scored", "pixel_threshold": 0.5, "width": 20, "height": 10, "map_uri": "m.png"}
    rows: list[dict[str, Any]] = [
        {"image": 3, "anomalous": True},
        {"image": 1, "anomalous": False},
        {"image": 2, "anomalous": True},
    ]
    rows.append({"image": 4, "anomalous": None})
    return DECIDED.rows([usual | row for row in rows] + [{"image": 5, "status": "quarantined"}])


def images() -> pa.Table:
    return INDEX.rows([{"image": n, "category": "nut", "uri": f"/{n}", "etag": f"e{n}"} for n in range(1, 6)])


def test_those_that_are_called_anomalous_are_looked_at_in_the_order_of_the_catalog() -> None:
    rows = flagged(images(), decided())
    assert (
        rows.schema == FLAGGED.arrow and rows["image"].to_pylist() == [2, 3] and rows["uri"].to_pylist() == ["/2", "/3"]
    )


def test_each_row_says_how_many_regions_it_has_or_nothing_where_that_is_not_known() -> None:
    found = FOUND.rows([{"image": 3, "region": n, "regions": 60, "all_share": 0.25} for n in (1, 2)])
    told = with_regions(decided(), flagged(images(), decided()), found)
    assert told["regions"].to_pylist() == [60, 0, None, 0, None]
    assert told["area_share"].to_pylist() == [0.25, 0, None, 0, None]
    assert told.schema == DECIDED.arrow


def region(uri: str, number: int, **more: Any) -> dict[str, Any]:
    return {"category": "nut", "uri": uri, "etag": "1", "region": number} | more


def test_regions_of_carried_images_come_along() -> None:
    found = FOUND.rows([region("/b", 1), region("/b", 2)]).append_column("family", pa.array(["family-1"] * 2))
    earlier = REGIONS.rows(
        [region("/c", 1, scored_by="monday"), region("/a", 1, scored_by="monday"), region("/a", 1, etag="2")]
    )
    carried = pa.table({"uri": ["/a", "/d"], "etag": ["1", "1"]})
    table = regions_table(found, earlier, carried, "tonight")
    assert table.schema == REGIONS.arrow
    assert [(row["uri"], row["region"], row["scored_by"]) for row in table.to_pylist()] == [
        ("/a", 1, "monday"),
        ("/b", 1, "tonight"),
        ("/b", 2, "tonight"),
    ]
    assert regions_table(found, earlier, None, "tonight")["uri"].to_pylist() == ["/b", "/b"]
