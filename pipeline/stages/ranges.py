"""Ranges of the images of a category, each of them the work of one task."""

from dataclasses import dataclass

import pyarrow as pa

from pipeline.schema.table import records


@dataclass(frozen=True)
class Range:
    """Images [start, stop) of a category, by position."""

    category: str
    start: int
    stop: int

    def table(self) -> pa.Table:
        """Return it as a block for a worker."""
        return pa.table({"category": [self.category], "start": [self.start], "stop": [self.stop]})


def ranges(category: str, total: int, most: int) -> list[pa.Table]:
    """Return the blocks of a category of so many images: ranges of `most` images, and what is left."""
    return [Range(category, start, min(start + most, total)).table() for start in range(0, total, most)]


def range_in(block: pa.Table) -> Range:
    """Return the range that a block is."""
    [found] = records(block, Range)
    return found
