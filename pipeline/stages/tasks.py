"""Small results of tasks over blocks of rows."""

from collections.abc import Callable

import pyarrow as pa
import ray

from pipeline.stages.cluster import map_on_tasks
from pipeline.stages.progress import Progress, results

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
