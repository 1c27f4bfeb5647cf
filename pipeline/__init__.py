"""LakeScore: image lakes scored for anomalies. Importing it costs nothing; what is asked for is imported then.

import pipeline

run = pipeline.open_run("s3://lake/scores")
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.report.notebook import Run

__all__ = ["open_run"]


def open_run(uri: str, run_id: str | None = None) -> "Run":
    """Open a published run below an output.uri, the newest by default.

    Raises `ConfigError` when there is no such run, and `StorageError` when it cannot be read.
    """
    from pipeline.report.notebook import open_run

    return open_run(uri, run_id)
