"""Tables are data: no file makes a reader run what it holds."""

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.data import Dataset  # registers its types, as it does in every run

from pipeline.catalog.manifest import read_manifest
from pipeline.errors import CatalogError, StorageError
from pipeline.io.parquet import read_parquet
from pipeline.io.storage import Location
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import read_table

RUNS_CODE = "ray.data.arrow_pickled_object"


class Code:
    """What runs when somebody unpickles it."""

    def __init__(self, made: Path) -> None:
        self._made = made

    def __reduce__(self) -> Any:
        return Path.touch, (self._made,)


def hostile(made: Path, wrap: str = "plain") -> pa.Table:
    """Return a table that looks like a manifest, and has a column whose values create a file."""
    values = pa.array([pickle.dumps(Code(made))], pa.large_binary())
    code = pa.field("code", pa.large_binary(), metadata={"ARROW:extension:name": RUNS_CODE})
    column: Any = values
    if wrap == "list":
        column, code = pa.LargeListArray.from_arrays([0, 1], values), pa.field("code", pa.large_list(code))
    elif wrap == "struct":
        column, code = pa.StructArray.from_arrays([values], ["code"]), pa.field("code", pa.struct([code]))
    text = pa.array(["a.png"])
    schema = pa.schema([(name, pa.string()) for name in ("uri", "category", "key")]).append(code)
    return pa.Table.from_arrays([text, text, text, column], schema=schema)


def content_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def test_ray_would_run_it(tmp_path: Path) -> None:
    """What the other tests are about; when it fails, they are about nothing any more."""
    assert Dataset is not None
    table = pq.read_table(pa.BufferReader(content_of(hostile(tmp_path / "made"))))
    table["code"].to_pylist()
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("wrap", ["plain", "list", "struct"])
def test_a_column_that_would_run_code_is_refused(wrap: str, tmp_path: Path) -> None:
    with pytest.raises(pa.ArrowInvalid, match="'code' has the type .*whose values may run code"):
        read_parquet(content_of(hostile(tmp_path / "made", wrap)))
    assert not (tmp_path / "made").exists()


def test_a_column_that_is_not_asked_for_does_no_harm(tmp_path: Path) -> None:
    assert read_parquet(content_of(hostile(tmp_path / "made")), ["uri"]).to_pylist() == [{"uri": "a.png"}]
    assert not (tmp_path / "made").exists()


def test_types_of_data_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)], pa.binary(16))),
            "word": pa.array(["a"]).dictionary_encode(),
            "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
            "list": pa.array([[{"a": [1]}]]),
        }
    )
    assert read_parquet(content_of(table)).num_rows == 1


def test_every_reader_of_tables_refuses_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place, content = Location.parse(str(tmp_path)), content_of(hostile(tmp_path / "made"))
    (place / "table.parquet").write_bytes(content)
    with pytest.raises(CatalogError, match="table.parquet is not a manifest that can be read: .*may run code"):
        read_manifest(place / "table.parquet")
    with pytest.raises(StorageError, match="table.parquet is damaged: .*may run code"):
        read_table(place / "table.parquet")
    (place / "images/category=a/b.parquet").write_bytes(
        content_of(hostile(tmp_path / "made").rename_columns(["brightness", "category", "uri", "key"]))
    )
    store = FeatureStore(place, (2, 2), 8, (0,), "float16")
    assert store.find("a").images == {} and "is damaged" in caplog.text
    assert not (tmp_path / "made").exists()
