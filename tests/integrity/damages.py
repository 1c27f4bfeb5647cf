"""Ways in which a file comes to harm, each a function of the file and of another one of its kind."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.io.storage import Location
from pipeline.store.run_folder import write_array

Damage = Callable[[Path, Path], None]


def cut(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_by_one(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path, other: Path) -> None:
    """As a disk does that lost a sector."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 64] = bytes(len(content[middle : middle + 64]))
    path.write_bytes(content)


def all_zero(path: Path, other: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(share: float) -> Damage:
    """Return a damage of one bit at a place, in shares of the file."""

    def flip(path: Path, other: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(share * len(content))] ^= 16
        path.write_bytes(content)

    flip.__name__ = f"flipped_at_{share:g}"
    return flip


def another(path: Path, other: Path) -> None:
    """Another file of its kind in its place."""
    shutil.copy(other, path)


def page(path: Path, other: Path) -> None:
    """What a proxy answers in place of a file."""
    path.write_text("<html><body>503 Slow Down</body></html>")


def gone(path: Path, other: Path) -> None:
    path.unlink()


def nowhere(path: Path, other: Path) -> None:
    """A link to nothing."""
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def rows_turned(path: Path, other: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.take(pa.array(range(table.num_rows))[::-1]), path, row_group_size=1)


def column_turned(name: str) -> Damage:
    """Return a damage of one column, whose values change places."""

    def turn(path: Path, other: Path) -> None:
        table = pq.read_table(path)
        place, back = table.schema.get_field_index(name), pa.array(range(table.num_rows))[::-1]
        pq.write_table(table.set_column(place, name, table[name].take(back)), path)

    turn.__name__ = f"{name}_turned"
    return turn


def fewer_rows(path: Path, other: Path) -> None:
    pq.write_table(pq.read_table(path).slice(1), path, row_group_size=1)


def nameless(path: Path, other: Path) -> None:
    """Without what it says of itself."""
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path, row_group_size=1)


def text(content: str) -> Damage:
    """Return a damage by which a file has another content."""

    def write(path: Path, other: Path) -> None:
        path.write_text(content)

    write.__name__ = f"text_{content[:12]}"
    return write


def changed(name: str, value: object) -> Damage:
    """Return a damage of one key of a JSON object."""

    def change(path: Path, other: Path) -> None:
        told: Mapping[str, Any] = json.loads(path.read_bytes())
        path.write_text(json.dumps({**told, name: value}))

    change.__name__ = f"{name}_is_{value}"
    return change


def far_off(path: Path, other: Path) -> None:
    """Values that no scorer finds, with a checksum that is right."""
    array = np.load(path)
    array.flat[0] = 3.6e36
    write_array(Location.parse(str(path)), array)


def not_numbers(path: Path, other: Path) -> None:
    array = np.load(path)
    array.flat[0] = np.nan
    write_array(Location.parse(str(path)), array)


ANY: tuple[Damage, ...] = (cut, cut_by_one, empty, zeroed, all_zero, another, page, gone, nowhere)
BITS: tuple[Damage, ...] = tuple(map(flipped, (0.001, 0.1, 0.4, 0.7, 0.99)))
TABLES: tuple[Damage, ...] = (rows_turned, fewer_rows, nameless)
TEXTS: tuple[Damage, ...] = tuple(map(text, ("", "{", "{}", "[]", "null", "[" * 50_000, '{"a": NaN}', "\0\0\0\0", "7")))
