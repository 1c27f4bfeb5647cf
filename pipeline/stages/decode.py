"""Decode: files to pixels. Nothing heavy is imported here: every worker process would pay for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.boxes import own_size, split_box
from pipeline.config import InputConfig
from pipeline.errors import ObjectChanged, StorageError, StoreUnavailable
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.images import Quarantine, Reason, image_stats
from pipeline.images.files import decoder_of, read_ahead
from pipeline.images.region import patches_in
from pipeline.schema.table import set_columns
from pipeline.schema.tables import DECODED, IMAGE_STATS
from pipeline.store.checks import bits


@dataclass
class DecodeBlock:
    """A worker's part: adds the pixels that are seen of each image to a block with uri, etag, size and category."""

    config: InputConfig
    geometry: LakeGeometry

    def setup(self, device: str, threads: int) -> None:
        """Nothing: the decoder is the process's, and starts with its first image."""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Add DECODED's columns: `pixels` (height * width * 3 bytes of the view), or a reason why there are none.

        An image's failure never leaves this function: an exception here would cost its whole block. Raises
        `StoreUnavailable` when it is not the image's.
        """
        decoder = decoder_of(self.config)
        rows = []
        contents = read_ahead(block, self.config.max_bytes)
        images = block.select(["category", "uri", "region_uri", "region_etag"]).to_pylist()
        for image, content in zip(images, contents, strict=True):
            row: dict[str, Any] = dict.fromkeys(DECODED.names)
            geometry = self.geometry.of(image["category"]).of_box(split_box(image["uri"])[1])
            try:
                pixels, (row["width"], row["height"]) = decoder(content.result(), geometry, self.config.max_pixels)
                row["pixels"] = pixels.tobytes()
                row["rows"], row["columns"] = (side // geometry.patch for side in pixels.shape[:2])
                size = own_size(image["uri"], (row["width"], row["height"]))
                if (counts := self._counts(image, geometry, size)) is not None:
                    row["counted"] = bits(counts)
                row |= zip(IMAGE_STATS.names, image_stats(pixels), strict=True)
            except Quarantine as error:
                row |= {"pixels": None, "reason": str(error.reason), "detail": error.detail}
            except ObjectChanged as error:
                row |= {"reason": str(Reason.CHANGED), "detail": f"{error}; the next run takes it as it is then"}
            except StoreUnavailable:  # true of all files: the run ends, and is taken up when the store is back
                raise
            except StorageError as error:
                row |= {"reason": str(Reason.UNREADABLE), "detail": str(error)}
            rows.append(row)
        decoded = DECODED.rows(rows)
        return set_columns(block, {name: decoded[name] for name in DECODED.names})

    def _counts(self, image: Mapping[str, Any], geometry: Geometry, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Return which patches (P,) of an image of (width, height) count; None where all do."""
        if image["region_uri"] is None and not geometry.turned:
            return None
        view = geometry.on(size)
        inside = view.inside
        counts = inside
        if image["region_uri"] is not None:
            counts = patches_in(image["region_uri"], image["region_etag"], view, size, self.config)
            counts = counts if inside is None else counts & inside
        if counts is not None and not counts.any():  # of few patches, or of a region in a corner
            raise Quarantine(Reason.TOO_SMALL, f"turned by {geometry.turned} degrees, nothing of it is left to look at")
        return counts
