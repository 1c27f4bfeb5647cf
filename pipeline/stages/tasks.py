"""Small results of tasks over blocks of rows."""

from collections.abc import Callable

import pyarrow as pa
import ray

from pipeline.stages.cluster import map_on_tasks
from pipeline.stages.progress import Progress, results


def run_tasks(blocks: list[pa.Table], function: Callable[[pa.Table], pa.Table], progress: Progress) -> pa.Table:
    """Give each block to a task, and return all rows that come back; their column `count` is counted as progress."""
    return results(map_on_tasks(ray.data.from_arrow(blocks), function), progress)
