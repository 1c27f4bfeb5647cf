"""What a table is made of, and rows of tables as values of Python."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Values = Sequence[object] | NDArray[np.generic] | pa.Array | pa.ChunkedArray
Row = TypeVar("Row", bound="DataclassInstance")


@dataclass(frozen=True)
class Column:
    """A column: its type, what it says in one sentence, and in which unit."""

    name: str
    type: pa.DataType
    about: str
    unit: str = ""


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table, in their order."""

    about: str
    columns: tuple[Column, ...]

    @cached_property
    def arrow(self) -> pa.Schema:
        """The same as Arrow has it."""
        return pa.schema([pa.field(column.name, column.type) for column in self.columns])

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def only(self, *names: str) -> tuple[Column, ...]:
        """Return some columns, in the order of `names`."""
        return tuple(self[name] for name in names)

    def without(self, *names: str) -> tuple[Column, ...]:
        """Return the other columns."""
        return tuple(column for column in self.columns if column.name not in names)

    def empty(self) -> pa.Table:
        """Return a table without rows."""
        return self.arrow.empty_table()

    def of(self, columns: Mapping[str, Values]) -> pa.Table:
        """Return a table of columns by name; raises `ValueError` where they are others than these."""
        if columns.keys() != set(self.names):
            raise ValueError(f"columns {sorted(columns)} and not {sorted(self.names)}")
        return pa.table({name: columns[name] for name in self.names}, schema=self.arrow)

    def rows(self, rows: Iterable["Mapping[str, object] | DataclassInstance"]) -> pa.Table:
        """Return a table of rows: dataclasses with a field for each column, or what some columns hold, by name.

        Raises `ValueError` for a name that is no column.
        """
        found: list[Mapping[str, object]] = []
        known = set(self.names)
        for row in rows:
            told = row if isinstance(row, Mapping) else {name: getattr(row, name) for name in self.names}
            if not told.keys() <= known:
                raise ValueError(f"{sorted(told.keys() - known)} are none of the columns {self.names}")
            found.append(told)
        return pa.Table.from_pylist(found, schema=self.arrow)

    def completed(self, table: pa.Table) -> pa.Table:
        """Return these columns of a table of an earlier version, null where it had them not yet."""
        there, rows = set(table.column_names), table.num_rows
        return self.of(
            {of.name: table[of.name] if of.name in there else pa.nulls(rows, of.type) for of in self.columns}
        )

    def cast(self, table: pa.Table) -> pa.Table:
        """Return these columns of a table that may have more, in their types; raises `KeyError`, `pa.ArrowInvalid`."""
        return table.select(self.names).cast(self.arrow)


def records(table: pa.Table, kind: type[Row]) -> list[Row]:
    """Return the rows of a table as values of a dataclass, whose fields are named as columns are."""
    names = [field.name for field in fields(kind)]
    return [kind(**row) for row in table.select(names).to_pylist()]


def count_by(table: pa.Table, name: str) -> dict[str, int]:
    """Return the number of rows of each value of a column of names."""
    return dict(Counter[str](table[name].to_pylist()))


def set_columns(table: pa.Table, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """Return a table with other values in some columns, behind the others where it has them not yet."""
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
    return table
