"""The report of a run: which images it shows, their evidence, their pictures, and last the page."""

import logging
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import ScoreConfig
from pipeline.geometry import LakeGeometry
from pipeline.io.storage import Location
from pipeline.metrics.stream import MAP_SCALE
from pipeline.report.draw import Drawing, draw
from pipeline.report.evidence import FindPatches, explain
from pipeline.report.page import PageExtras
from pipeline.report.pictures import colours
from pipeline.report.summary import rank
from pipeline.stage import Runner, Stage
from pipeline.store.history import History
from pipeline.tables.rows import with_evidence
from pipeline.tables.thresholds import LARGEST, PIXEL_BINS

MOST = 5_000  # images with pictures in one report, each of them some 18 files

log = logging.getLogger(__name__)


def draw_report(
    drawing: Drawing,
    scores: pa.Table,
    listed: pa.Table,
    pixels: Mapping[str, NDArray[np.int64]],
    run_id: str,
    most: int,
    runner: Runner,
    find_evidence: Stage | None = None,
) -> tuple[pa.Table, PageExtras]:
    """Draw the `most` worst images of each category: all of the report but the page.

    Returns the scores with the evidence that was found, and what the page is to know.

    Args:
        drawing: what is drawn, and where.
        scores: of the run, a row for each input.
        listed: the same rows of the catalog.
        pixels: counts of the values of maps by category.
        run_id: the run's.
        most: images of each category.
        runner: gives blocks to workers.
        find_evidence: used while the run is at work; None for a published run, whose scores hold what there is.
    """
    chosen = worst_images(scores, most, run_id)
    rows = (
        scores.select(["category", "uri", "map_uri", "width", "height", "region_uri"])
        .take(chosen)
        .append_column("image", pa.array(chosen))
    )
    scored_now = pc.equal(scores["scored_by"], run_id).fill_null(False).to_numpy()[chosen]
    find_patches = FindPatches(drawing.output, drawing.map_scale, drawing.geometry)
    found = explain(rows, scored_now, find_patches, runner, find_evidence)
    scores = with_evidence(scores, found.filter(pc.is_valid(found["evidence"])))
    scales = colour_scales(scores, pixels)
    return scores, PageExtras(draw(drawing, scores, listed, found, scales, runner), scales, colours())


def worst_images(scores: pa.Table, most: int, run_id: str) -> NDArray[np.int64]:
    """Return the row numbers of the `most` worst images of each category, and other views of their parts, rising.

    Where they would be more than MOST, of each category fewer, but one at least.

    What this run calls anomalous comes first: in a window of many nights, this run's would else be hidden by the past.
    Of parts that it calls anomalous the other views are there, too, as far as MOST allows.
    """
    new = pc.and_(scores["anomalous"], pc.equal(scores["scored_by"], run_id)).fill_null(False)
    columns = {"category": scores["category"], "rank": rank(scores), "new": new, "image": np.arange(scores.num_rows)}
    frame = pa.table(columns).to_pandas().dropna(subset=["rank"])
    frame = frame.sort_values(["new", "rank"], ascending=False, kind="stable")
    sizes = frame.groupby("category").size().to_numpy()
    each = min(most, int(sizes.max(initial=0)))
    while each > 1 and np.minimum(sizes, each).sum() > MOST:
        each -= 1
    if each < min(most, int(sizes.max(initial=0))):
        log.info("report   %d images of each category, and not %d: %d of all together", each, most, MOST)
    chosen: NDArray[np.int64] = np.sort(frame.groupby("category").head(each)["image"].to_numpy())
    return np.sort(np.concatenate([chosen, _other_views(scores, chosen[new.to_numpy()[chosen]], chosen)]))


def _other_views(scores: pa.Table, anomalous: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row numbers of other views of the parts of `anomalous` images, those of the worst part first.

    With the `chosen` ones they are MOST at most.
    """
    ranks = rank(scores).take(pa.array(anomalous)).to_numpy()
    worst_first = anomalous[np.argsort(-ranks, kind="stable")]
    parts = pc.unique(scores["group"].take(pa.array(worst_first)).drop_null())
    place = pc.index_in(scores["group"], value_set=parts)
    scored = pc.and_(pc.is_valid(place), pc.is_valid(scores["score_raw"]))
    views = np.setdiff1d(np.flatnonzero(scored.to_numpy()), chosen)
    order = np.argsort(place.take(pa.array(views)).to_numpy(), kind="stable")
    found: NDArray[np.int64] = views[order][: max(0, MOST - len(chosen))]
    return found


def colour_scales(scores: pa.Table, pixels: Mapping[str, NDArray[np.int64]]) -> dict[str, tuple[float, float]]:
    """Return the distances that the colours of each category's maps begin and end with.

    They begin at the median of its pixels, so that what is as usual stays clear, and end at the largest value of its
    maps, so that no two defects look alike that are not; at the threshold on pixels where nothing is above it, or a
    category without a defect would glow.

    Args:
        scores: of all images, of any night.
        pixels: counts of values of maps, as `tables.thresholds.count_pixels` makes them.
    """
    frame = scores.select(["category", "score_raw", "pixel_threshold"]).to_pandas().dropna(subset=["score_raw"])
    scales = {}
    for category, of in frame.groupby("category"):
        counts = pixels.get(str(category), np.zeros(PIXEL_BINS, np.int64))
        middle = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) if counts.any() else 0
        low = middle * LARGEST / PIXEL_BINS
        high = float(np.nanmax(of[["score_raw", "pixel_threshold"]].to_numpy()))
        scales[str(category)] = (low, max(high, low + LARGEST / PIXEL_BINS))
    return scales


def add_pixels(
    one: Mapping[str, NDArray[np.int64]], other: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.int64]]:
    """Add counts by category."""
    return dict(one) | {category: counts + one.get(category, 0) for category, counts in other.items()}


def window_scores(history: History) -> dict[str, NDArray[np.float64]]:
    """Return the raw scores of earlier runs' images by category, as far as those had the settings of this one."""
    rows = history.of_these_settings()
    if rows is None:
        return {}
    scored = rows.filter(pc.is_valid(rows["score_raw"])).select(["category", "score_raw"]).to_pandas()
    return {str(category): of.to_numpy() for category, of in scored.groupby("category")["score_raw"]}


def drawing_of(config: ScoreConfig, layout: str, geometry: LakeGeometry, report: Location) -> Drawing:
    """Return what the images of a run have in common.

    Args:
        config: of the run.
        layout: that it found.
        geometry: how it saw images.
        report: where to draw.
    """
    roots = [Location.parse(root) for root in config.input.roots]
    lake = Location.parse(config.input.uri)
    roots.append(_folder(lake) if layout == "manifest" else lake)
    if config.references.pinned is not None:
        roots.append(_folder(Location.parse(config.references.pinned)))
    return Drawing(
        report,
        Location.parse(config.output.uri),
        config.input,
        tuple(roots),
        geometry,
        MAP_SCALE,
    )


def _folder(manifest: Location) -> Location:
    return Location(manifest.protocol, manifest.path.rpartition("/")[0] or "/")
