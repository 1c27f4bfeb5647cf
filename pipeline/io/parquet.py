"""Tables from Parquet files, whose columns are held to types that are data.

A file can name types that a library in this process has registered: values of Ray's type for Python objects are
unpickled by whoever looks at them, and a pickle runs code.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns; raises `pa.ArrowException`, also for a type that a library has made."""
    # Arrow's own threads may outlive a read: a process that ends at once after it would abort, whatever it did before
    table = pq.ParquetFile(pa.BufferReader(content)).read(columns=columns, use_threads=False)
    for field in table.schema:
        if not _is_data(field.type):
            raise pa.ArrowInvalid(f"the column {field.name!r} has the type {field.type}, whose values may run code")
    return table


def _is_data(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.ExtensionType):  # made in Python; Arrow's own, such as uuid, are other classes
        return False
    if pa.types.is_dictionary(kind):
        return _is_data(kind.value_type)
    return all(_is_data(kind.field(place).type) for place in range(kind.num_fields))
