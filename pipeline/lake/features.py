"""The feature store: patch tokens and embeddings of every encoded image, kept between runs.

    features/<fingerprint>/category=<c>/<block>.parquet

One row, and one row group, for each image: `key`, `uri`, `width`, `height`, `embedding`, and a binary column for each
layer, so that a unit of work reads its layer of its images and nothing else. A file is named by the keys in it:
writing it again after a crash replaces it by the same bytes.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.lake.int8 import pack, unpack
from pipeline.lake.names import partition
from pipeline.lake.storage import Location

BLOCK_BYTES = 128e6  # one file, and one task of the encoder
BLOCK_IMAGES = 32
READERS = 16  # files looked into at a time: a store answers many requests as fast as one

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """Where an image's features lie: a file's path below the store, and the row in it. Sizes are in pixels."""

    file: str
    row: int
    width: int
    height: int


def feature_key(uri: str, etag: str, fingerprint: str) -> str:
    """Name the features of one content of one image by one encoder."""
    return hashlib.sha256("\0".join((uri, etag, fingerprint)).encode()).hexdigest()[:32]


def block_images(bytes_per_image: int, batch: int) -> int:
    """Return how many images share a file, so that it can be held in memory a few times: whole batches of `batch`."""
    # The encoder fills up a file's last batch: 11 images in batches of 8 would cost as much as 16
    most = min(BLOCK_IMAGES, int(BLOCK_BYTES // bytes_per_image))
    return max(1, most // batch) * batch


@dataclass(frozen=True)
class FeatureStore:
    """The features of one encoder fingerprint, below `root`. `grid` (H, W) in patches, `width` the tokens' D."""

    root: Location
    grid: tuple[int, int]
    width: int
    layers: tuple[int, ...]
    dtype: str  # numpy's name: float16, float32, or int8

    @property
    def precision(self) -> str:
        """What tokens are in memory, by numpy's name."""
        return "float16" if self.dtype == "int8" else self.dtype

    def find(self, category: str) -> dict[str, Stored]:
        """Return what is stored for a category, by feature key."""
        folder = partition("category", category)
        files = [f"{folder}/{entry.path}" for entry in (self.root / folder).files()]
        with ThreadPoolExecutor(READERS) as readers:
            return {key: stored for of_file in readers.map(self._keys, files) for key, stored in of_file}

    def _keys(self, path: str) -> list[tuple[str, Stored]]:
        try:
            with (self.root / path).open() as file:
                columns = pq.read_table(file, columns=["key", "width", "height"]).to_pydict()
        except pa.ArrowException as error:  # damaged, or not ours: its images are encoded again
            log.warning("features %s cannot be used: %s", self.root / path, error)
            return []
        rows = enumerate(zip(*columns.values(), strict=True))
        return [(key, Stored(path, row, width, height)) for row, (key, width, height) in rows]

    def write(
        self,
        category: str,
        rows: dict[str, list[str] | list[int]],
        tokens: NDArray[np.floating],
        embeddings: NDArray[np.float32],
    ) -> str:
        """Write a block of images and return its path below the store.

        Args:
            category: the partition.
            rows: columns key, uri, width, height, B values each.
            tokens: (B, L, P, D).
            embeddings: (B, E).
        """
        name = hashlib.sha256("\0".join(map(str, rows["key"])).encode()).hexdigest()[:24]
        columns = {name: pa.array(values) for name, values in rows.items()}
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(embeddings.ravel(), embeddings.shape[1])
        for index, layer in enumerate(self.layers):
            if self.dtype == "int8":
                stored = pack(tokens[:, index])
            else:
                stored = np.ascontiguousarray(tokens[:, index], dtype=self.dtype)  # (B, P, D)
            offsets = np.arange(len(stored) + 1, dtype=np.int64) * stored[0].nbytes
            columns[f"tokens_{layer}"] = pa.LargeBinaryArray.from_buffers(
                pa.large_binary(), len(stored), [None, pa.py_buffer(offsets), pa.py_buffer(stored)]
            )
        sink = pa.BufferOutputStream()
        form = {"row_group_size": 1, "compression": "none", "use_dictionary": False, "write_statistics": False}
        pq.write_table(pa.table(columns), sink, **form)
        path = f"{partition('category', category)}/{name}.parquet"
        (self.root / path).write_bytes(sink.getvalue().to_pybytes())
        return path

    def tokens(self, places: Sequence[tuple[str, int]], layer: int) -> NDArray[np.floating]:
        """Read one layer of images: places are (file, row); returns (N, P, D) in their order."""
        patches = self.grid[0] * self.grid[1]
        result = np.empty((len(places), patches, self.width), self.precision)
        for index, group in self._groups(places, f"tokens_{layer}"):
            content = group[0].as_buffer()
            if self.dtype == "int8":
                result[index] = unpack(content, patches, self.width)
            else:
                result[index] = np.frombuffer(content, self.dtype).reshape(patches, self.width)
        return result

    def embeddings(self, places: Sequence[tuple[str, int]]) -> NDArray[np.float32]:
        """Read the embeddings of images: places are (file, row); returns (N, E) in their order."""
        rows = [row for _, row in sorted(self._groups(places, "embedding"), key=lambda found: found[0])]
        return np.stack([group[0].values.to_numpy() for group in rows])

    def _groups(self, places: Sequence[tuple[str, int]], column: str) -> Iterator[tuple[int, pa.Array]]:
        """Yield (position in places, one-row column), each file opened once."""
        by_file: dict[str, list[int]] = {}
        for index, (file, _) in enumerate(places):
            by_file.setdefault(file, []).append(index)
        for name, indices in by_file.items():
            with (self.root / name).open() as opened:
                parquet = pq.ParquetFile(opened)
                for index in indices:
                    yield index, parquet.read_row_group(places[index][1], columns=[column])[column].chunk(0)
