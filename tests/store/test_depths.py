"""Bits of categories that are kept below the output."""

from pathlib import Path

import pytest

from pipeline.io.storage import Location
from pipeline.store.depths import DEPTHS, keep_depths, kept_depths


def test_what_is_known_is_kept_beside_what_was(place: Location) -> None:
    assert kept_depths(place) == {}
    keep_depths(place, {"nobody knows": None})
    assert not (place / DEPTHS).exists()
    keep_depths(place, {"größe/ 大": 10, "all": 16, "nobody knows": None})
    keep_depths(place, {"twelve": 12})
    assert kept_depths(place) == {"größe/ 大": 10, "all": 16, "twelve": 12}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 7}', b'{"a": "many"}', b'{"a": null}', b"\xff"])
def test_what_says_no_bits_is_written_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    output = Location.parse(str(tmp_path))
    (output / DEPTHS).write_bytes(content)
    assert kept_depths(output) == {}
    assert "depths.json" in caplog.text
    keep_depths(output, {"ten": 10})
    assert kept_depths(output) == {"ten": 10}
