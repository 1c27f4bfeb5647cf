"""How large a table becomes in memory, found out before it is: a Parquet file of kilobytes may hold gigabytes."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

LIMIT = 2 << 30  # bytes; ten million rows of 200

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT96": 12}  # of values in memory; of any other kind 8, and its text


def too_large(content: bytes) -> str | None:
    """Say why a Parquet file should not be read, or None; raises `pa.ArrowException` and `OSError` when it cannot be.

    What its metadata says of pages and values comes first. Texts that repeat are stored once: those are read as they
    are stored, and added up.
    """
    metadata = pq.ParquetFile(pa.BufferReader(content)).metadata
    schema, total, texts = metadata.schema, 0, []
    for place in range(metadata.num_columns):
        column = schema.column(place)
        if column.physical_type == "BYTE_ARRAY":
            texts.append(column.path)
        width = column.length if column.length > 0 else _WIDTHS.get(column.physical_type, 8)
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(place)
            total += chunk.total_uncompressed_size + chunk.num_values * width
    if total <= LIMIT:
        stored = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts)
        for group in range(metadata.num_row_groups):
            table = stored.read_row_group(group, use_threads=False)
            total += sum(_text_bytes(chunk) for column in table.columns for chunk in column.chunks)
    if total > LIMIT:
        return f"{len(content)} bytes that hold {total} in {metadata.num_rows} rows, the limit is {LIMIT}"
    return None


def _text_bytes(array: pa.Array) -> int:
    """Return the bytes of the texts that an array stores once and names often."""
    if isinstance(array, pa.DictionaryArray):
        lengths = pc.binary_length(array.dictionary).take(array.indices)
        return int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0)
    if isinstance(array, pa.StructArray):
        return sum(map(_text_bytes, array.flatten()))
    if isinstance(array, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)):
        return _text_bytes(array.flatten())
    return 0
