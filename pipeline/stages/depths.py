"""Depths: how many bits count in a category's 16-bit files, by a look at some of them before any is encoded."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.boxes import FRAGMENT
from pipeline.config import InputConfig
from pipeline.errors import StorageError, StoreUnavailable
from pipeline.images import Quarantine, decode_depth
from pipeline.images.files import decoder_of, read_ahead
from pipeline.schema.table import set_columns
from pipeline.schema.tables import DEPTHS, with_count
from pipeline.stage import Runner
from pipeline.views import View

SAMPLE = 16  # files of a category that are looked at
BLOCK = 64  # files of one task
# Of these formats, or of what is called so, no file has 16 bits: they are looked at where there are no others
OF_8_BITS = r"\.(jpe?g|bmp|gif|webp|ico|avif)$"
ROWS = 100_000  # of a lake that are gone through at a time
STAND_OUT = 8  # of so many files one may take far more bits than the others, and decides nothing
FAR = 2  # bits

MADE = with_count(DEPTHS)


def find_depths(images: pa.Table, config: InputConfig, view: View, runner: Runner) -> dict[str, int | None]:
    """Return how many bits count in each category, None where no file that was looked at says it.

    The same files are looked at whatever their order, and most of them again when more have come.

    Args:
        images: rows of CATALOG.
        config: limits of decoding.
        view: whose channels count.
        runner: gives blocks to workers.
    """
    found: dict[str, list[int]] = {category: [] for category in pc.unique(images["category"]).to_pylist()}
    sample = sample_of_each(_photographs(images.filter(pc.is_null(images["reason"]))))
    blocks = [sample.slice(at, BLOCK) for at in range(0, sample.num_rows, BLOCK)]
    if blocks:
        with runner.progress("depths", "images", sample.num_rows) as progress:
            looked_at = runner(MeasureDepths(config, view), blocks, progress)
        for row in looked_at.filter(pc.is_valid(looked_at["bits"])).to_pylist():
            found[row["category"]].append(row["bits"])
    return {category: depth_of_sample(bits) for category, bits in found.items()}


def depth_of_sample(bits: Sequence[int]) -> int | None:
    """Return the bits that count by those that files take: what most need, but for files that stand out by far.

    One file with 16 bits among many with 12 is a stray, and would leave the others nearly black.
    """
    if not bits:
        return None
    rising = sorted(bits)
    strays = max(1, len(bits) // STAND_OUT) if len(bits) >= STAND_OUT // 2 else 0
    usual = rising[len(bits) - 1 - strays]
    return usual if rising[-1] - usual > FAR else rising[-1]


@dataclass
class MeasureDepths:
    """A worker's part: tells the bits that files with uri, etag and size take."""

    config: InputConfig
    view: View

    def setup(self, device: str, threads: int) -> None:
        """Nothing: the decoder is the process's."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return a row of DEPTHS, and `count`, for each file; what cannot be read is found so when it is encoded."""
        decoder = decoder_of(self.config, decode_depth)
        rows: list[dict[str, Any]] = []
        for category, content in zip(
            block["category"].to_pylist(), read_ahead(block, self.config.max_bytes), strict=True
        ):
            bits = None
            try:
                found, _ = decoder(content.result(), self.view, self.config.max_pixels)
                bits = int(found[0]) if found.size else None
            except StoreUnavailable:
                raise
            except (Quarantine, StorageError):
                pass
            rows.append({"category": category, "bits": bits, "count": 1})
        return MADE.rows(rows)


def _photographs(images: pa.Table) -> pa.Table:
    """Return images with the uris of their files, each file of a category once."""
    images = images.select(["category", "uri", "etag", "size"])
    files = pc.replace_substring_regex(images["uri"], FRAGMENT, "")
    if files.equals(images["uri"]):
        return images
    names = ["category", "uri", "etag", "size"]
    return set_columns(images, {"uri": files}).group_by(names, use_threads=False).aggregate([]).select(names)


def sample_of_each(images: pa.Table) -> pa.Table:
    """Return the images of each category that are looked at: those that come first by a hash of their uris."""
    first: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    place = 0
    for batch in images.select(["category", "uri"]).to_batches(max_chunksize=ROWS):
        of_8_bits = pc.match_substring_regex(batch["uri"], OF_8_BITS, ignore_case=True).to_numpy(zero_copy_only=False)
        hashes = [zlib.crc32(uri.encode()) for uri in batch["uri"].to_pylist()]
        ranks = np.array(hashes, np.int64) + (of_8_bits.astype(np.int64) << 32)
        categories = batch["category"].to_numpy(zero_copy_only=False)
        for category in batch["category"].unique().to_pylist():
            rows = np.flatnonzero(categories == category)
            rows = rows[np.argsort(ranks[rows])[:SAMPLE]]
            found = zip(ranks[rows].tolist(), (place + rows).tolist(), strict=True)
            first[category] = sorted([*first[category], *found])[:SAMPLE]
        place += batch.num_rows
    chosen = [place for of in first.values() for _, place in of]
    return images.select(["category", "uri", "etag", "size"]).take(pa.array(chosen, pa.int64()))
