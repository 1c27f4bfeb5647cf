from collections.abc import Iterator, Sequence
from io import RawIOBase
from os import PathLike
from typing import IO, TypeAlias

from pyarrow import NativeFile, RecordBatch, Schema, Table

_Source: TypeAlias = str | PathLike[str] | NativeFile | IO[bytes] | RawIOBase

class ParquetFile:
    def __init__(self, source: _Source, *, page_checksum_verification: bool = False) -> None: ...
    @property
    def num_row_groups(self) -> int: ...
    @property
    def schema_arrow(self) -> Schema: ...
    def iter_batches(
        self, batch_size: int = 65536, *, columns: Sequence[str] | None = None, use_threads: bool = True
    ) -> Iterator[RecordBatch]: ...
    def read(self, columns: Sequence[str] | None = None, use_threads: bool = True) -> Table: ...
    def read_row_group(self, i: int, columns: Sequence[str] | None = None) -> Table: ...

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
) -> None: ...
