"""A report anew, for a run that was published: with other settings, or by a newer page."""

import logging
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from pipeline.config import ReportConfig, ScoreConfig
from pipeline.errors import ConfigError
from pipeline.io.storage import Location
from pipeline.report.build import add_pixels, draw_report, drawing_of, window_scores
from pipeline.report.page import write_page
from pipeline.result import Result
from pipeline.schema.table import records
from pipeline.stage import Here
from pipeline.store.history import PixelCounts, read_history

NEEDED = ("width", "height", "map_uri", "scored_by")  # of each image that was scored

log = logging.getLogger(__name__)


def redraw(result: Result, report: Location, images: int | None = None) -> None:
    """Draw the report of a published run in this process.

    Of the evidence it shows what the run kept. Raises `ConfigError` where the run is of a version whose settings or
    columns are not known, `StoreUnavailable`, and `StorageError` when something cannot be read or written.

    Args:
        result: the run.
        report: where to write; not the run's own report, which nobody changes.
        images: worst images of each category. Default: the run's setting; the usual number where that is none.
    """
    folder, run, scores = result.folder, result.run, result.scores
    if report == folder.results or report.is_below(folder.results):
        raise ConfigError(f"{report} belongs to a published run, which is never changed; choose another folder")
    try:
        config = ScoreConfig.model_validate({**run.config, "output": {"uri": folder.output.uri}})
    except ValidationError as error:
        raise ConfigError(f"run {folder.run_id} was made by a version whose settings are not known here") from error
    if _lacks(scores):
        raise ConfigError(f"run {folder.run_id} was made by a version whose reports are not known here")
    if (report / "index.html").exists():
        log.warning("%s holds a report already: pictures that the new one does not have will stay beside it", report)
    since = run.started - timedelta(days=config.references.days)
    history = read_history(folder.output, since, run.encoder.fingerprint, run.taken, run.geometry, until=run.started)
    own = records(result.published.table("pixels"), PixelCounts)
    scores, extras = draw_report(
        drawing_of(config, run.layout, run.geometry, report),
        scores,
        result.published.table("catalog"),
        add_pixels({of.category: np.asarray(of.counts) for of in own}, history.pixels),
        folder.run_id,
        images if images is not None else config.report.images or ReportConfig().images,
        Here(),
    )
    write_page(report, run, scores, result.metrics, replace(extras, window=window_scores(history)))


def _lacks(scores: pa.Table) -> bool:
    """Tell whether scores are of a version that had not yet what a picture is drawn from."""
    scored = scores.filter(pc.equal(scores["status"], "scored"))
    return any(scored[name].null_count for name in NEEDED)
