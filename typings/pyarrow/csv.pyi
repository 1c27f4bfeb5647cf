from collections.abc import Mapping, Sequence
from os import PathLike
from typing import IO

from pyarrow import DataType, Table

class ParseOptions:
    def __init__(self, *, newlines_in_values: bool = False) -> None: ...

class ConvertOptions:
    def __init__(
        self,
        *,
        column_types: Mapping[str, DataType] | None = None,
        strings_can_be_null: bool = False,
        null_values: Sequence[str] | None = None,
    ) -> None: ...

def read_csv(
    input_file: str | PathLike[str] | IO[bytes],
    parse_options: ParseOptions | None = None,
    convert_options: ConvertOptions | None = None,
) -> Table: ...
def write_csv(data: Table, output_file: str | PathLike[str] | IO[bytes]) -> None: ...
