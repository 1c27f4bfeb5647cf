"""A report anew, for a run that was published: with other settings, or by a newer page."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.lake.history import History, read_history
from pipeline.lake.run import read_table
from pipeline.lake.storage import Location
from pipeline.report.page import write_page
from pipeline.result import Result
from pipeline.stages.report import artist_of, draw_report, window_scores
from pipeline.stages.rows import COLUMNS
from pipeline.stages.tasks import run_here


def redraw(result: Result, report: Location, images: int | None = None) -> None:
    """Draw the report of a published run in this process.

    Of the evidence it shows what the run kept. Raises `ConfigError` where the run is of a version whose settings or
    columns are not known, `StoreUnavailable`, and `StorageError` when something cannot be read or written.

    Args:
        result: the run.
        report: where to write; not the run's own report, which nobody changes.
        images: worst images of each category. Default: the run's setting.
    """
    folder, run = result.folder, result.run
    if report == folder.results or report.is_below(folder.results):
        raise ConfigError(f"{report} belongs to a published run, which is never changed; choose another folder")
    try:
        config = ScoreConfig.model_validate(run["config"] | {"output": {"uri": folder.output.uri}})
        layout, grid = run["layout"], run["encoder"]["grid"]
        started, finished = (datetime.fromisoformat(run[name]) for name in ("started", "finished"))
    except (KeyError, ValidationError) as error:
        raise ConfigError(f"run {folder.run_id} was made by a version whose reports are not known here") from error
    since = started - timedelta(days=config.references.days)
    history = read_history(folder.output, since, run["encoder"]["fingerprint"], run["settings"], COLUMNS, finished)
    scores, extras = draw_report(
        artist_of(config, layout, grid, report),
        result.scores,
        read_table(folder.results / "catalog.parquet"),
        {name: np.asarray(counts) for name, counts in history.pixels.items()},  # this run's are among them
        folder.run_id,
        config.report.images if images is None else images,
        run=run_here,
    )
    write_page(report, run, scores, result.metrics, replace(extras, window=window_scores(_before(history, started))))


def _before(history: History, started: datetime) -> History:
    """Return what was scored before a run started."""
    if history.rows is None:
        return history
    return replace(history, rows=history.rows.filter(pc.less(history.rows["scored_at"], pa.scalar(started))))
