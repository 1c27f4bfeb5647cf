"""Sizes: how large a category's images usually are, by a look at some of them before any is encoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.boxes import own_size
from pipeline.config import InputConfig
from pipeline.errors import StorageError, StoreUnavailable
from pipeline.images import Quarantine, decode_size
from pipeline.images.files import decoder_of, read_ahead
from pipeline.schema.tables import SIZES, with_count
from pipeline.stage import Runner
from pipeline.stages.depths import sample_of_each
from pipeline.views import View

BLOCK = 64  # files of one task

MADE = with_count(SIZES)

Size = tuple[int, int]  # width, height


def find_sizes(images: pa.Table, config: InputConfig, runner: Runner) -> dict[str, Size]:
    """Return the usual (width, height) of each category, of those in which a file could be read.

    The same files are looked at whatever their order, and most of them again when more have come.

    Args:
        images: rows of CATALOG.
        config: limits of decoding.
        runner: gives blocks to workers.
    """
    found: dict[str, list[Size]] = {}
    sample = sample_of_each(images.filter(pc.is_null(images["reason"])))
    blocks = [sample.slice(at, BLOCK) for at in range(0, sample.num_rows, BLOCK)]
    if blocks:
        with runner.progress("sizes", "images", sample.num_rows) as progress:
            looked_at = runner(MeasureSizes(config), blocks, progress)
        for row in looked_at.filter(pc.is_valid(looked_at["width"])).to_pylist():
            found.setdefault(row["category"], []).append((row["width"], row["height"]))
    return {category: usual_size(sizes) for category, sizes in sorted(found.items())}


def usual_size(sizes: Sequence[Size]) -> Size:
    """Return the size whose aspect is in the middle of those of all (width, height), one at least.

    Of several with that aspect it is the one in the middle.
    """
    rising = sorted(sizes, key=lambda size: (size[0] / size[1], size))
    return rising[(len(rising) - 1) // 2]


@dataclass
class MeasureSizes:
    """A worker's part: tells the size of images with uri, etag, size and category, of boxes their own."""

    config: InputConfig

    def setup(self, device: str, threads: int) -> None:
        """Nothing: the decoder is the process's."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return a row of SIZES, and `count`, for each file; what cannot be read is found so when it is encoded."""
        decoder = decoder_of(self.config, decode_size)
        rows: list[dict[str, Any]] = []
        images = zip(block["category"].to_pylist(), block["uri"].to_pylist(), strict=True)
        for (category, uri), content in zip(images, read_ahead(block, self.config.max_bytes), strict=True):
            row: dict[str, Any] = {"category": category, "count": 1}
            try:
                _, size = decoder(content.result(), View((1, 1)), self.config.max_pixels)
                row["width"], row["height"] = own_size(uri, size)
            except StoreUnavailable:
                raise
            except (Quarantine, StorageError):
                pass
            rows.append(row)
        return MADE.rows(rows)
