"""Small JSON files: what is damaged or another's is absent, with one warning that names it."""

from dataclasses import dataclass

import pytest
from pydantic import TypeAdapter

from pipeline.io.json_file import read_json
from pipeline.io.storage import Location


@dataclass(frozen=True)
class Note:
    text: str
    count: int


NOTE = TypeAdapter(Note)


def test_what_is_whole_is_read_and_what_is_absent_is_not_spoken_of(
    place: Location, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "note.json").write_bytes(b'{"text": "a", "count": 2, "more": [1]}')
    assert read_json(place / "note.json", NOTE, "nothing is done") == Note("a", 2)
    assert read_json(place / "absent.json", NOTE, "nothing is done") is None
    assert caplog.text == ""


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b"[]", b"null", b"\0" * 100, b"\xff\xfe", b"[" * 100_000, b'{"text": "a", "count": "many"}'],
    ids=range(9),
)
def test_what_is_damaged_is_absent_and_named_once(
    place: Location, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "note.json").write_bytes(content)
    assert read_json(place / "note.json", NOTE, "it is written anew") is None
    [record] = caplog.records
    line = record.getMessage()
    assert "note.json is damaged or another's" in line and line.endswith("it is written anew") and len(line) < 500
