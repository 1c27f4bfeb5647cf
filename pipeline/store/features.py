"""The feature store: patch tokens and embeddings of every encoded image, kept between runs.

    features/<fingerprint>/tokens/category=<c>/<block>.parquet    a binary column for each layer
                           images/category=<c>/<block>.parquet    key, uri, size and stats of each image, embedding
                           index/category=<c>/<part>.parquet      what images/ says of many blocks (`feature_index.py`)

Two files for each block, with the same rows: the small one is read whole, to find images and to compare them; of the
large one, whose row groups are single images, a unit of work reads its layer of its images and nothing else. Files are
named by what is in them (`checks.py`): writing them again after a crash replaces them by the same bytes, and what is
read is held to it. `images` is written last, and makes a block count; where it is empty, the block was dropped.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import DamagedFile
from pipeline.io import traffic
from pipeline.io.names import partition
from pipeline.io.parquet import open_parquet, read_parquet, write_parquet
from pipeline.io.storage import Location
from pipeline.schema.table import records, set_columns
from pipeline.schema.tables import FEATURES, INDEXED
from pipeline.store.checks import About, about_in, bits, check, counted_in, crc, crc_of_images, held_to
from pipeline.store.feature_index import FEW, FeatureIndex
from pipeline.store.int8 import pack, unpack

BLOCK_BYTES = 128e6  # one file, and one task of the encoder
BLOCK_IMAGES = 32
READERS = 8  # files read at a time: a store answers many requests as fast as one

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """An image in the store: `file` and `row` say where its features lie, the rest is of FEATURES.

    `rows` and `columns` are those of its grid of patches, and `counted` says which of these count; None: all.
    """

    file: str
    row: int
    rows: int
    columns: int
    counted: str | None
    uri: str
    width: int
    height: int
    brightness: float
    contrast: float
    sharpness: float


def feature_key(uri: str, etag: str, fingerprint: str, seen: str = "") -> str:
    """Name the features of one content of one image by one encoder, and what of the image is `seen`.

    That is nothing for the whole image, at the size that the fingerprint names and with the usual values.
    """
    parts = (uri, etag, fingerprint, seen) if seen else (uri, etag, fingerprint)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def block_images(bytes_per_image: int, batch: int) -> int:
    """Return how many images share a file, so that it can be held in memory a few times: whole batches of `batch`."""
    # The encoder fills up a file's last batch: 11 images in batches of 8 would cost as much as 16
    most = min(BLOCK_IMAGES, int(BLOCK_BYTES // bytes_per_image))
    return max(1, most // batch) * batch


@dataclass(frozen=True)
class Found:
    """The images of a category by feature key, and the files (as `Stored.file`) that are damaged."""

    images: Mapping[str, Stored]
    damaged: Sequence[str]


@dataclass(frozen=True)
class FeatureStore:
    """The features of one encoder fingerprint, below `root`.

    `grid` (H, W) in patches is that of images whose file says no other one, `width` the tokens' D.
    """

    root: Location
    grid: tuple[int, int]
    width: int
    layers: tuple[int, ...]
    dtype: str  # numpy's name: float16, float32, or int8

    @property
    def precision(self) -> str:
        """What tokens are in memory, by numpy's name."""
        return "float16" if self.dtype == "int8" else self.dtype

    @property
    def fingerprint(self) -> str:
        """The encoder's, by which the store's folder is called."""
        return _fingerprint(self.root)

    def find(self, category: str) -> Found:
        """Return what is stored for a category; what is damaged is named by a warning each."""
        folder = partition("category", category)
        entries = [entry for entry in (self.root / "images" / folder).files() if entry.size]  # others were dropped
        there = sorted(f"{folder}/{entry.path}" for entry in entries)
        index = FeatureIndex(self.root, category)
        parts = index.parts()
        indexed = index.read(parts)
        indexed = indexed.filter(pc.is_in(indexed["file"], value_set=pa.array(there, pa.string())))
        known = set(indexed["file"].unique().to_pylist())
        files = [file for file in there if file not in known]

        def read(file: str) -> list[tuple[str, Stored]] | None:
            try:
                return self._stored(file)
            except DamagedFile as error:
                log.warning("%s; images in it are encoded again where they are listed", error)
                return None

        with ThreadPoolExecutor(READERS) as readers:
            found = dict(zip(files, readers.map(read, files), strict=True))
        images = dict(zip(indexed["key"].to_pylist(), records(indexed, Stored), strict=True))
        images |= {key: stored for of_file in found.values() for key, stored in of_file or ()}
        if max(len(files), len(parts)) > FEW:
            every = INDEXED.rows({"key": key, **vars(stored)} for key, stored in images.items())
            index.write(every, instead_of=parts)
        return Found(images, [file for file, of_file in found.items() if of_file is None])

    def _stored(self, file: str) -> list[tuple[str, Stored]]:
        location = self.root / "images" / file
        with held_to(location):
            table = read_parquet(location.read_bytes(), FEATURES.names)
            keys: list[str] = table["key"].to_pylist()
            if about := about_in(table.schema, file, self.fingerprint):
                check(crc_of_images(table), about.images, "its images")
            elif not all(np.isfinite(table[name].to_numpy()).all() for name in FEATURES.names[2:]):
                raise ValueError("it has values that are no numbers")
            rows, columns = about.grid if about and about.grid else self.grid
            places = {
                "file": pa.array([file] * len(keys), pa.string()),
                "row": pa.array(range(len(keys)), pa.int32()),
                "rows": pa.array([rows] * len(keys), pa.int32()),
                "columns": pa.array([columns] * len(keys), pa.int32()),
                "counted": pa.array(about.counted if about and about.counted else [None] * len(keys), pa.string()),
            }
            return list(zip(keys, records(set_columns(table, places), Stored), strict=True))

    def drop(self, file: str) -> None:
        """Have a block count no more: an empty file in its place, since who may write a store need not delete in it."""
        (self.root / "images" / file).write_bytes(b"")

    def write(
        self,
        category: str,
        rows: Mapping[str, Sequence[object]],
        tokens: NDArray[np.floating],
        embeddings: NDArray[np.float32],
        grid: tuple[int, int] | None = None,
        counted: Sequence[NDArray[np.bool_]] | None = None,
    ) -> str:
        """Write a block of images and return the path of its files.

        Args:
            category: the partition.
            rows: the columns of FEATURES, B values each.
            tokens: (B, L, P, D).
            embeddings: (B, E), fp32.
            grid: (rows, columns) of patches of all of them. Default: the store's.
            counted: (B, P) which patches count. Default: all.
        """
        columns, checksums = {}, {}
        for index, layer in enumerate(self.layers):
            if self.dtype == "int8":
                stored = pack(tokens[:, index])
            else:
                stored = np.ascontiguousarray(tokens[:, index], dtype=self.dtype)  # (B, P, D)
            offsets = np.arange(len(stored) + 1, dtype=np.int64) * stored[0].nbytes
            columns[f"tokens_{layer}"] = pa.LargeBinaryArray.from_buffers(
                pa.large_binary(), len(stored), [None, pa.py_buffer(offsets), pa.py_buffer(stored)]
            )
            checksums[layer] = [crc(of_image.data) for of_image in stored]
        images, vectors = FEATURES.of(rows), np.ascontiguousarray(embeddings)
        about = About(
            category,
            self.fingerprint,
            [str(key) for key in rows["key"]],
            checksums,
            crc_of_images(images),
            crc(vectors.data),
            None if grid == self.grid else grid,
            None if counted is None else [bits(of) for of in counted],
        )
        file = f"{partition('category', category)}/{about.name}.parquet"
        _write(self.root / "tokens" / file, pa.table(columns), about, row_group_size=1)
        column = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
        _write(self.root / "images" / file, images.append_column("embedding", column), about)
        return file

    def tokens(
        self, refs: Sequence[tuple[str, int]], layer: int, grid: tuple[int, int] | None = None
    ) -> NDArray[np.floating]:
        """Read one layer of images: refs are (file, row); returns (N, P, D) in their order.

        Patches that do not count are NaN, and so are those of a `grid` (rows, columns; default: the store's) that an
        image with fewer has not: its own lie in the upper left. Raises `DamagedFile`, and `StorageError`.
        """
        canvas = self.grid if grid is None else grid
        result = np.empty((len(refs), *canvas, self.width), self.precision)

        def read(file: str, indices: list[int]) -> None:
            location = self.root / "tokens" / file
            with held_to(location), location.open() as opened:
                parquet = open_parquet(opened, checksums=False)
                about = about_in(parquet.schema_arrow, file, self.fingerprint)
                rows, columns = about.grid if about and about.grid else self.grid
                for index in indices:
                    row = refs[index][1]
                    [value] = parquet.read_row_group(row, [f"tokens_{layer}"], use_threads=False).column(0)
                    content = _checked_tokens(value, about, layer, row)
                    if self.dtype == "int8":
                        found = unpack(content, rows * columns, self.width)
                    else:
                        found = np.frombuffer(content, self.dtype).reshape(rows * columns, self.width)
                    if about is None and not np.isfinite(found).all():
                        raise ValueError(f"image {row} has values that are no numbers")
                    if (rows, columns) != canvas:
                        result[index] = np.nan
                    result[index, :rows, :columns] = found.reshape(rows, columns, self.width)
                    if about is not None and about.counted is not None:
                        counted = counted_in(about.counted[row], rows * columns).reshape(rows, columns)
                        result[index, :rows, :columns][~counted] = np.nan

        _of_each_file(refs, read)
        traffic.moved("read", result.nbytes)
        return result.reshape(len(refs), -1, self.width)

    def embeddings(self, refs: Sequence[tuple[str, int]]) -> NDArray[np.float32]:
        """Read the embeddings of images: refs are (file, row); returns (N, E) in their order.

        Raises `DamagedFile`, and `StorageError`.
        """
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(refs)

        def read(file: str, indices: list[int]) -> None:
            location = self.root / "images" / file
            with held_to(location):
                table = read_parquet(location.read_bytes(), ["embedding"])
                about = about_in(table.schema, file, self.fingerprint)
                vectors = _checked_embeddings(table, about)
                if about is None and not np.isfinite(vectors).all():
                    raise ValueError("it has embeddings that are no numbers")
                for index in indices:
                    found[index] = vectors[refs[index][1]]

        _of_each_file(refs, read)
        return np.stack(found)


def check_block(root: Location, file: str, quick: bool = False) -> list[str]:
    """Read all of a block of a store at `root`, and return its keys, none of one that was dropped.

    `quick` leaves out the tokens themselves. Raises `DamagedFile` that names the file, and `StorageError`.
    """
    fingerprint, images = _fingerprint(root), root / "images" / file
    with held_to(images):
        content = images.read_bytes()
        if not content:
            return []
        table = read_parquet(content)
        if about := about_in(table.schema, file, fingerprint):
            check(crc_of_images(table), about.images, "its images")
        _checked_embeddings(table, about)
        keys: list[str] = table["key"].to_pylist()
    tokens = root / "tokens" / file
    with held_to(tokens), tokens.open() as opened:
        parquet = open_parquet(opened, checksums=False)
        about = about_in(parquet.schema_arrow, file, fingerprint)
        if parquet.num_row_groups != len(keys):
            raise ValueError(f"it has {parquet.num_row_groups} images, and not {len(keys)}")
        for row in range(0 if quick else len(keys)):
            group = parquet.read_row_group(row, use_threads=False)
            for name in group.column_names:
                [value] = group[name]
                _checked_tokens(value, about, int(name.removeprefix("tokens_")), row)
    return keys


def _fingerprint(root: Location) -> str:
    return root.path.rpartition("/")[2]


def _checked_embeddings(table: pa.Table, about: About | None) -> NDArray[np.float32]:
    """Return the embeddings (N, E) of a file of images, held to their checksum where it has one."""
    column = table["embedding"].combine_chunks()
    vectors: NDArray[np.float32] = column.flatten().to_numpy().reshape(len(column), -1)
    if about is not None:
        check(crc(vectors.data), about.embeddings, "its embeddings")
    return vectors


def _checked_tokens(value: pa.Scalar, about: About | None, layer: int, row: int) -> memoryview:
    """Return the bytes of a layer of an image, held to their checksum where they have one."""
    content = memoryview(value.as_buffer())
    if about is not None:
        check(crc(content), about.tokens[layer][row], f"image {row}")
    return content


def _of_each_file(refs: Sequence[tuple[str, int]], read: Callable[[str, list[int]], None]) -> None:
    """Read each file once, several at a time: `read` gets it with the positions in `refs` that it answers."""
    by_file: dict[str, list[int]] = {}
    for index, (file, _) in enumerate(refs):
        by_file.setdefault(file, []).append(index)
    with ThreadPoolExecutor(min(READERS, len(by_file) or 1)) as readers:
        for _ in readers.map(read, by_file.keys(), by_file.values()):
            pass


def _write(location: Location, table: pa.Table, about: About, row_group_size: int | None = None) -> None:
    location.write_bytes(write_parquet(table.replace_schema_metadata(about.metadata), row_group_size, plain=True))
