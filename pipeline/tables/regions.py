"""Regions in tables: whose are looked for, what the rows of their images say of them, and those of earlier runs."""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema.table import set_columns
from pipeline.schema.tables import FLAGGED, REGIONS
from pipeline.tables.rows import boxes_of


def flagged(images: pa.Table, decided: pa.Table) -> pa.Table:
    """Return rows of FLAGGED: the images that are called anomalous, of rows of DECIDED and of images with names."""
    rows = decided.filter(pc.equal(decided["anomalous"], True))
    named = images.select(["image", "category", "uri", "etag", "region_uri"])
    return FLAGGED.cast(named.join(rows.select(_others(named)), "image", join_type="inner").sort_by("image"))


def _others(named: pa.Table) -> list[str]:
    return ["image", *(name for name in FLAGGED.names if name not in named.column_names)]


def with_regions(decided: pa.Table, rows: pa.Table, found: pa.Table) -> pa.Table:
    """Return rows of DECIDED with the number of their regions and how much of the image those cover.

    Args:
        decided: of this run.
        rows: those whose regions were looked for: others that were scored have none.
        found: rows of FOUND.
    """
    told = {row["image"]: row for row in found.select(["image", "regions", "all_share"]).to_pylist()}
    looked_at = set(rows["image"].to_pylist())
    counts: list[int | None] = []
    shares: list[float | None] = []
    for image, status in zip(decided["image"].to_pylist(), decided["status"].to_pylist(), strict=True):
        none = None if image in looked_at or status != "scored" else 0
        counts.append(told[image]["regions"] if image in told else none)
        shares.append(told[image]["all_share"] if image in told else none)
    return set_columns(decided, {"regions": pa.array(counts, pa.int64()), "area_share": pa.array(shares, pa.float64())})


def regions_table(found: pa.Table, earlier: pa.Table, carried: pa.Table | None, run_id: str) -> pa.Table:
    """Return REGIONS of a run, by category and image.

    Args:
        found: rows of FOUND of this run, with `family`.
        earlier: REGIONS of the images that the window knows.
        carried: the rows of scores that are carried over, None where there are none.
        run_id: this run's.
    """
    scored_by = pa.array([run_id] * found.num_rows, pa.string())
    regions = REGIONS.cast(set_columns(found, {"scored_by": scored_by} | boxes_of(found)))
    if carried is not None:
        kept = set(zip(carried["uri"].to_pylist(), carried["etag"].to_pylist(), strict=True))
        names = zip(earlier["uri"].to_pylist(), earlier["etag"].to_pylist(), strict=True)
        regions = pa.concat_tables([regions, earlier.filter(pa.array([name in kept for name in names], pa.bool_()))])
    return regions.sort_by([("category", "ascending"), ("uri", "ascending"), ("region", "ascending")]).combine_chunks()
