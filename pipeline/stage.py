"""What workers do: the one shape that all stages have, and who gives them blocks.

A stage is a dataclass: its settings are its fields, and it is sent to workers as it is. There it is set up once, and
then called for one block of rows after the other. No stage knows Ray, and none imports torch before it is set up: the
driver holds stages, and has no use for torch.
"""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from pipeline.progress import Progress


class Stage(Protocol):
    """Work on blocks of rows."""

    def setup(self, device: str, threads: int) -> None:
        """Get ready in a worker: load what all blocks need. `device` is "cpu" or "cuda"."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return rows for a block's; their column `count` is how much of the progress each stands for.

        A stage that prepares blocks for another one has no such column.
        """


class Runner(Protocol):
    """Gives blocks to workers."""

    def progress(self, stage: str, what: str, total: int, already: int = 0) -> Progress:
        """Return the line that says how far a stage is."""

    def __call__(self, stage: Stage, blocks: Sequence[pa.Table], progress: Progress) -> pa.Table:
        """Return all rows that a stage makes of some blocks, one at least, in no promised order, without `count`."""


class Here:
    """A runner in this process, which needs no Ray."""

    def progress(self, stage: str, what: str, total: int, already: int = 0) -> Progress:
        return Progress(stage, what, total, already)

    def __call__(self, stage: Stage, blocks: Sequence[pa.Table], progress: Progress) -> pa.Table:
        stage.setup("cpu", 1)
        tables = []
        for block in blocks:
            tables.append(stage(block))
            progress.add(sum(tables[-1]["count"].to_pylist()))
        return pa.concat_tables(tables).drop_columns("count")
