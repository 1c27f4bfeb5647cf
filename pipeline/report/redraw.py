"""A report anew, for a run that was published: with other settings, or by a newer page."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from pydantic import ValidationError

from pipeline.config import ReportConfig, ScoreConfig
from pipeline.errors import ConfigError
from pipeline.io.storage import Location
from pipeline.report.build import add_pixels, draw_report, drawing_of, window_scores
from pipeline.report.page import write_page
from pipeline.report.report_images import READ
from pipeline.result import Result
from pipeline.stage import Here
from pipeline.store.history import read_history
from pipeline.store.run_folder import read_table
from pipeline.tables.rows import EXPLAINED, KEPT

NEEDED = (*(name for name in READ if name not in EXPLAINED.names), "score", "score_raw", "anomalous", "scored_by")

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
        config = ScoreConfig.model_validate(run["config"] | {"output": {"uri": folder.output.uri}})
        layout, grid, started = run["layout"], run["encoder"]["grid"], datetime.fromisoformat(run["started"])
        scores.select(NEEDED)
    except (KeyError, ValidationError) as error:
        raise ConfigError(f"run {folder.run_id} was made by a version whose reports are not known here") from error
    if (report / "index.html").exists():
        log.warning("%s holds a report already: pictures that the new one does not have will stay beside it", report)
    since = started - timedelta(days=config.references.days)
    history = read_history(folder.output, since, run["encoder"]["fingerprint"], run["settings"], KEPT, until=started)
    own = read_table(folder.results / "pixels.parquet").to_pylist()
    scores, extras = draw_report(
        drawing_of(config, layout, grid, report),
        scores,
        read_table(folder.results / "catalog.parquet"),
        add_pixels({row["category"]: np.asarray(row["counts"]) for row in own}, history.pixels),
        folder.run_id,
        images if images is not None else config.report.images or ReportConfig().images,
        Here(),
    )
    write_page(report, run, scores, result.metrics, replace(extras, window=window_scores(history)))
