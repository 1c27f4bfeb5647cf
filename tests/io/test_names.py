"""Folder names made from names in the data: safe, distinct, and read back by Arrow."""

import re
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.io.names import file_key, partition

NAMES = [
    "bottle",
    "metal_nut",
    "two words",
    " ends ",
    "a/b",
    "..",
    ".hidden",
    "é",
    "日本",
    "a=b%20 #?",
    "100%",
    "a+b",
    "line\nbreak",
    "tab\tand\0null",
    'a:b*c"<>|\\',
    "~",
]
LONG = ["x" * 300, "é" * 100, "日" * 60, "x" + "é" * 100, "xx" + "é" * 100, "%" * 100]

# Any text that UTF-8 can hold, short and so long that it is cut
characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, max_size=20) | st.text(characters, min_size=40, max_size=200)


def read_back(root: Path, *values: str) -> list[str]:
    """Write a file below each value's partition and return the values that Arrow's Hive partitioning finds."""
    for value in values:
        folder = root / partition("category", value)
        folder.mkdir()
        pq.write_table(pa.table({"image": [1]}), folder / "0.parquet")
    names: list[str] = ds.dataset(root, partitioning="hive").to_table()["category"].to_pylist()
    return names


@pytest.mark.parametrize("value", NAMES)
def test_arrow_reads_the_original_value_back(tmp_path: Path, value: str) -> None:
    assert read_back(tmp_path, value) == [value]


def test_arrow_reads_all_values_of_one_data_set_back(tmp_path: Path) -> None:
    assert sorted(read_back(tmp_path, *NAMES)) == sorted(NAMES)


@pytest.mark.parametrize("value", ["001", "7", "1e5", "true"])
def test_values_that_look_like_numbers_are_read_back_where_the_column_is_declared_text(
    tmp_path: Path, value: str
) -> None:
    folder = tmp_path / partition("category", value)
    folder.mkdir()
    pq.write_table(pa.table({"image": [1]}), folder / "0.parquet")
    declared = ds.partitioning(pa.schema([("category", pa.string())]), flavor="hive")
    assert ds.dataset(tmp_path, partitioning=declared).to_table()["category"].to_pylist() == [value]


@pytest.mark.parametrize("value", LONG, ids=range(len(LONG)))
def test_a_cut_name_does_not_keep_arrow_from_reading_the_data_set(tmp_path: Path, value: str) -> None:
    found = read_back(tmp_path, "bottle", value)
    found.remove("bottle")
    assert len(found) == 1 and found[0][:10] == value[:10]


@given(texts)
def test_a_value_is_one_folder_and_can_be_unquoted(value: str) -> None:
    name = partition("category", value)
    assert len(name) < 255
    # A percent escape that was cut in the middle is no escape, or not UTF-8.
    assert re.fullmatch(r"category=([A-Za-z0-9_.~ -]|%[0-9A-F]{2})*", name)
    found = unquote(name.removeprefix("category="), errors="strict")
    assert found == value or len(quote(value, safe=" ")) > 180


@given(texts, texts)
def test_different_values_have_different_folders(one: str, other: str) -> None:
    assert (partition("category", one) == partition("category", other)) == (one == other)


def test_long_values_that_differ_only_at_the_end_have_different_folders() -> None:
    assert len({partition("category", "x" * 300 + end) for end in ("", "a", "b")}) == 3


@given(texts, texts)
def test_a_file_key_is_safe_and_different_for_different_uris(one: str, other: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{24}", file_key(one))
    assert (file_key(one) == file_key(other)) == (one == other)
