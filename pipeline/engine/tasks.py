"""Small results of tasks over blocks of rows."""

import logging
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import ray

from pipeline.engine.cluster import map_on_tasks
from pipeline.engine.progress import Progress, results

SAID = 5  # images that are named in the log where something of them could not be done

log = logging.getLogger(__name__)

Function = Callable[[pa.Table], pa.Table]
Run = Callable[[list[pa.Table], Function, Progress], pa.Table]


def run_tasks(blocks: list[pa.Table], function: Function, progress: Progress) -> pa.Table:
    """Give each block to a task, and return all rows that come back; their column `count` is counted as progress."""
    return results(map_on_tasks(ray.data.from_arrow(blocks), function), progress)


def run_here(blocks: list[pa.Table], function: Function, progress: Progress) -> pa.Table:
    """Do the same in this process, which needs no Ray."""
    tables = []
    for block in blocks:
        tables.append(function(block))
        progress.add(sum(tables[-1]["count"].to_pylist()))
    return pa.concat_tables(tables).drop_columns("count")


def missed(what: str, rows: pa.Table) -> pa.Table:
    """Return the rows whose `detail` says why an image lacks something, and say so of some of them in the log.

    Tasks send the reasons along, since what they log stays in the log of their node.
    """
    lost = rows.filter(pc.is_valid(rows["detail"]))
    for row in lost.slice(0, SAID).to_pylist():
        log.warning("no %s of %r: %s", what, row["uri"], row["detail"])
    if lost.num_rows > SAID:
        log.warning("no %s of %d more images", what, lost.num_rows - SAID)
    return lost
