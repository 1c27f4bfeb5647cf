"""A published run for whoever works in a notebook: tables, maps, and a look at itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.io.storage import Location
from pipeline.metrics.category import Metric
from pipeline.report.stored_map import read_map
from pipeline.report.summary import Summary, summarise
from pipeline.result import Result, read_result
from pipeline.schema.record import RunRecord
from pipeline.screen import printable
from pipeline.store.run_folder import RunFolder, latest_run

WORST = 10  # images that a run shows of itself


def open_run(uri: str, run_id: str | None = None) -> "Run":
    """Open a published run below an output.uri, the newest by default; raises `ConfigError` and `StorageError`."""
    output = Location.parse(uri)
    return Run(read_result(RunFolder(output, run_id or latest_run(output))))


@dataclass(frozen=True, repr=False)
class Run:
    """A published run.

    run = open_run("s3://lake/scores")
    run.to_pandas().sort_values("score_raw")
    run.map("s3://lake/parts/bottle/7.png")
    """

    result: Result

    @property
    def scores(self) -> pa.Table:
        """A row for each input, in the order of its catalog."""
        return self.result.scores

    @property
    def regions(self) -> pa.Table:
        """A row for each region of the anomalous images; raises `StorageError` when they cannot be read."""
        return self.result.published.regions()

    @property
    def families(self) -> pa.Table:
        """A row for each family of defects that the run knew; raises `StorageError` when they cannot be read."""
        return self.result.published.families()

    @property
    def parts(self) -> pa.Table:
        """A row for each part that images are views of; raises `StorageError` when they cannot be read."""
        return self.result.published.parts()

    @property
    def metrics(self) -> dict[str, dict[str, Metric]]:
        """By category (of parts: by product), then name: a value, or the reason why there is none."""
        return self.result.metrics

    @property
    def run(self) -> RunRecord:
        """What run.json holds: settings, counts, versions, seconds."""
        return self.result.run

    def to_pandas(self) -> pd.DataFrame:
        """Return the scores as a frame."""
        return self.scores.to_pandas()

    def map(self, image: "str | Mapping[Any, Any] | pd.Series[Any]") -> NDArray[np.float32]:
        """Return the anomaly map [height, width] of a uri, or of a row of scores, in distances from 0 to 2.

        It covers the whole image, squeezed to the size that the encoder saw. Raises `ConfigError` for an image that the
        run has not, or that has no map, and `StorageError` when the map cannot be read.
        """
        uri = image if isinstance(image, str) else image["uri"]
        rows = self.scores.filter(pc.equal(self.scores["uri"], uri)).to_pylist()
        if not rows:
            raise ConfigError(f"there is no image {uri!r} in run {self.result.folder.run_id}; uris are those of scores")
        return read_map(self.result, rows[0])

    def __repr__(self) -> str:
        return f"<Run {self.result.folder.run_id} in {self.result.folder.output}: {_counts(self._summary)}>"

    def _repr_html_(self) -> str:
        summary = self._summary
        categories = pd.DataFrame(
            [[of.category, of.scored, of.lowest, of.median, of.highest, of.anomalous] for of in summary.categories],
            columns=["category", "scored", "lowest", "median", "highest", "anomalous"],
        )
        worst = pd.DataFrame(
            [[of.category, of.uri, of.score_raw, of.stderr] for of in summary.worst],
            columns=["category", "uri", "score_raw", "stderr"],
        )
        title = f"<p><b>{_safe(summary.run_id)}</b> {_safe(str(self.result.folder.output))}: {_counts(summary)}</p>"
        return "\n".join([title, _table(categories, "score_raw by category"), _table(worst, "worst images")])

    @property
    def _summary(self) -> Summary:
        return summarise(self.result, WORST)


def _counts(summary: Summary) -> str:
    counts = summary.counts
    anomalous = sum(of.anomalous or 0 for of in summary.categories)
    return (
        f"{counts['images']} images = {counts['scored']} scored + {counts['quarantined']} quarantined, "
        f"{anomalous} anomalous"
    )


def _table(frame: pd.DataFrame, title: str) -> str:
    cells: list[Callable[[object], str]] = [_safe] * frame.shape[1]
    with pd.option_context("display.max_colwidth", None):
        table = frame.to_html(index=False, escape=False, formatters=cells, border=0, justify="left")
    return f"<p>{title}</p>\n{table}"


def _safe(value: Any) -> str:
    """Return a cell that is text to a browser and moves nothing, whatever a file may be called."""
    if value is None or value != value:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else escape(printable(str(value)))
