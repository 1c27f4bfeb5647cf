"""The feature store: patch tokens and embeddings of every encoded image, kept between runs.

    features/<fingerprint>/tokens/category=<c>/<block>.parquet    a binary column for each layer
                           images/category=<c>/<block>.parquet    key, uri, size and stats of each image, embedding

Two files for each block, with the same rows: the small one is read whole, to find images and to compare them; of the
large one, whose row groups are single images, a unit of work reads its layer of its images and nothing else. Files are
named by the keys in them: writing them again after a crash replaces them by the same bytes. `images` is written last,
and makes a block count.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.io import traffic
from pipeline.io.names import partition
from pipeline.io.parquet import read_parquet
from pipeline.io.storage import Location
from pipeline.schema.table import records, set_columns
from pipeline.schema.tables import FEATURES
from pipeline.store.int8 import pack, unpack
from pipeline.views import View

BLOCK_BYTES = 128e6  # one file, and one task of the encoder
BLOCK_IMAGES = 32
READERS = 8  # files read at a time: a store answers many requests as fast as one

DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError)  # what reading a damaged Parquet file may raise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """An image in the store: `file` and `row` say where its features lie, the rest is of FEATURES."""

    file: str
    row: int
    uri: str
    width: int
    height: int
    brightness: float
    contrast: float
    sharpness: float


def feature_key(uri: str, etag: str, fingerprint: str, view: View | None = None) -> str:
    """Name the features of one content of one image by one encoder, of another view than the encoder's own.

    Its own is the whole image at the size that the fingerprint names: None.
    """
    parts = (uri, etag, fingerprint) if view is None else (uri, etag, fingerprint, str(view))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


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
        files = [f"{folder}/{entry.path}" for entry in (self.root / "images" / folder).files()]
        with ThreadPoolExecutor(READERS) as readers:
            return {key: stored for of_file in readers.map(self._stored, files) for key, stored in of_file}

    def _stored(self, file: str) -> list[tuple[str, Stored]]:
        content = (self.root / "images" / file).read_bytes()
        try:
            table = read_parquet(content, FEATURES.names)
            keys: list[str] = table["key"].to_pylist()
            places = {"file": pa.array([file] * len(keys), pa.string()), "row": pa.array(range(len(keys)), pa.int32())}
            return list(zip(keys, records(set_columns(table, places), Stored), strict=True))
        except DAMAGE as error:  # or not ours: its images are encoded again
            log.warning("features %s cannot be used: %s", self.root / "images" / file, error)
            return []

    def write(
        self,
        category: str,
        rows: Mapping[str, Sequence[object]],
        tokens: NDArray[np.floating],
        embeddings: NDArray[np.float32],
    ) -> str:
        """Write a block of images and return the path of its files.

        Args:
            category: the partition.
            rows: the columns of FEATURES, B values each.
            tokens: (B, L, P, D).
            embeddings: (B, E), fp32.
        """
        name = hashlib.sha256("\0".join(map(str, rows["key"])).encode()).hexdigest()[:24]
        file = f"{partition('category', category)}/{name}.parquet"
        columns = {}
        for index, layer in enumerate(self.layers):
            if self.dtype == "int8":
                stored = pack(tokens[:, index])
            else:
                stored = np.ascontiguousarray(tokens[:, index], dtype=self.dtype)  # (B, P, D)
            offsets = np.arange(len(stored) + 1, dtype=np.int64) * stored[0].nbytes
            columns[f"tokens_{layer}"] = pa.LargeBinaryArray.from_buffers(
                pa.large_binary(), len(stored), [None, pa.py_buffer(offsets), pa.py_buffer(stored)]
            )
        _write(self.root / "tokens" / file, pa.table(columns), row_group_size=1)
        images = FEATURES.of(rows)
        vectors = pa.FixedSizeListArray.from_arrays(embeddings.ravel(), embeddings.shape[1])
        _write(self.root / "images" / file, images.append_column("embedding", vectors))
        return file

    def tokens(self, refs: Sequence[tuple[str, int]], layer: int) -> NDArray[np.floating]:
        """Read one layer of images: refs are (file, row); returns (N, P, D) in their order."""
        patches = self.grid[0] * self.grid[1]
        result = np.empty((len(refs), patches, self.width), self.precision)

        def read(file: str, indices: list[int]) -> None:
            with (self.root / "tokens" / file).open() as opened:
                parquet = pq.ParquetFile(opened)
                for index in indices:
                    group = parquet.read_row_group(refs[index][1], columns=[f"tokens_{layer}"])
                    content = memoryview(group.column(0).chunk(0)[0].as_buffer())
                    if self.dtype == "int8":
                        result[index] = unpack(content, patches, self.width)
                    else:
                        result[index] = np.frombuffer(content, self.dtype).reshape(patches, self.width)

        _of_each_file(refs, read)
        traffic.moved("read", result.nbytes)
        return result

    def embeddings(self, refs: Sequence[tuple[str, int]]) -> NDArray[np.float32]:
        """Read the embeddings of images: refs are (file, row); returns (N, E) in their order."""
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(refs)

        def read(file: str, indices: list[int]) -> None:
            content = (self.root / "images" / file).read_bytes()
            column = read_parquet(content, ["embedding"])["embedding"].combine_chunks()
            vectors: NDArray[np.float32] = column.flatten().to_numpy().reshape(len(column), -1)
            for index in indices:
                found[index] = vectors[refs[index][1]]

        _of_each_file(refs, read)
        return np.stack(found)


def _of_each_file(refs: Sequence[tuple[str, int]], read: Callable[[str, list[int]], None]) -> None:
    """Read each file once, several at a time: `read` gets it with the positions in `refs` that it answers."""
    by_file: dict[str, list[int]] = {}
    for index, (file, _) in enumerate(refs):
        by_file.setdefault(file, []).append(index)
    with ThreadPoolExecutor(min(READERS, len(by_file) or 1)) as readers:
        for _ in readers.map(read, by_file.keys(), by_file.values()):
            pass


def _write(location: Location, table: pa.Table, row_group_size: int | None = None) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size, compression="none", use_dictionary=False, write_statistics=False)
    location.write_bytes(sink.getvalue().to_pybytes())
