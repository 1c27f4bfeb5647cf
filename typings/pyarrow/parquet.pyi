from collections.abc import Iterator, Sequence
from io import RawIOBase
from os import PathLike
from typing import IO, TypeAlias

from pyarrow import NativeFile, RecordBatch, Schema, Table

_Source: TypeAlias = str | PathLike[str] | NativeFile | IO[bytes] | RawIOBase

class ColumnSchema:
    @property
    def path(self) -> str: ...
    @property
    def physical_type(self) -> str: ...
    @property
    def length(self) -> int: ...

class ParquetSchema:
    def column(self, i: int) -> ColumnSchema: ...

class ColumnChunkMetaData:
    @property
    def num_values(self) -> int: ...
    @property
    def total_uncompressed_size(self) -> int: ...

class RowGroupMetaData:
    def column(self, i: int) -> ColumnChunkMetaData: ...

class FileMetaData:
    @property
    def num_columns(self) -> int: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def num_row_groups(self) -> int: ...
    @property
    def schema(self) -> ParquetSchema: ...
    def row_group(self, i: int) -> RowGroupMetaData: ...

class ParquetFile:
    def __init__(
        self,
        source: _Source,
        *,
        read_dictionary: Sequence[str] | None = None,
        pre_buffer: bool = True,
        page_checksum_verification: bool = False,
    ) -> None: ...
    @property
    def metadata(self) -> FileMetaData: ...
    @property
    def num_row_groups(self) -> int: ...
    @property
    def schema_arrow(self) -> Schema: ...
    def iter_batches(
        self, batch_size: int = 65536, *, columns: Sequence[str] | None = None, use_threads: bool = True
    ) -> Iterator[RecordBatch]: ...
    def read(self, columns: Sequence[str] | None = None, use_threads: bool = True) -> Table: ...
    def read_row_group(self, i: int, columns: Sequence[str] | None = None, use_threads: bool = True) -> Table: ...

def read_table(source: _Source, columns: Sequence[str] | None = None) -> Table: ...
def write_table(
    table: Table,
    where: _Source,
    row_group_size: int | None = None,
    *,
    use_dictionary: bool | list[str] = True,
    compression: str = "snappy",
    write_statistics: bool = True,
    write_page_checksum: bool = False,
    store_schema: bool = True,
) -> None: ...
