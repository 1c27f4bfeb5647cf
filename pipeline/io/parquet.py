"""Tables from Parquet files, whose columns are held to types that are data.

A file can name types that a library in this process has registered: values of Ray's type for Python objects are
unpickled by whoever looks at them, and a pickle runs code.
"""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

DAMAGE = (pa.ArrowException, OSError, ValueError, LookupError, OverflowError)  # what reading a damaged file may raise


def read_parquet(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns, and check the checksums of their pages, where the file has any.

    Raises `pa.ArrowException` and `OSError` where it is damaged, and for a type that a library has made.
    """
    file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    # Arrow's own threads may outlive a read: a process that ends at once after it would abort, whatever it did before
    table = file.read(columns=columns, use_threads=False)
    for field in table.schema:
        if not _is_data(field.type):
            raise pa.ArrowInvalid(f"the column {field.name!r} has the type {field.type}, whose values may run code")
    return table


def open_parquet(opened: io.RawIOBase, checksums: bool) -> pq.ParquetFile:
    """Open a file whose parts are read one by one, each of a column in one piece; the caller closes it.

    Nothing is read ahead, which Arrow would do by threads of its own: see `read_parquet`. `checksums` says whether
    those of pages are checked.
    """
    return pq.ParquetFile(opened, pre_buffer=False, page_checksum_verification=checksums)


def write_parquet(table: pa.Table, row_group_size: int | None = None, plain: bool = False) -> bytes:
    """Return a table as one Parquet file with checksums of its pages; the same table gives the same bytes.

    `plain` is for values that nothing makes shorter: they are not compressed, and counted by no statistics.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size,
        compression="none" if plain else "zstd",
        use_dictionary=not plain,
        write_statistics=not plain,
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


def _is_data(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.ExtensionType):  # made in Python; Arrow's own, such as uuid, are other classes
        return False
    if pa.types.is_dictionary(kind):
        return _is_data(kind.value_type)
    return all(_is_data(kind.field(place).type) for place in range(kind.num_fields))
