"""Sizes of categories that are kept below the output."""

from pathlib import Path

import pytest

from pipeline.io.storage import Location
from pipeline.store.sizes import SIZES, keep_sizes, kept_sizes


def test_what_is_known_is_kept_beside_what_was(place: Location) -> None:
    assert kept_sizes(place) == {}
    keep_sizes(place, {})
    assert not (place / SIZES).exists()
    keep_sizes(place, {"größe/ 大": (640, 480), "all": (30, 40)})
    keep_sizes(place, {"later": (1, 2), "all": (60, 80)})
    assert kept_sizes(place) == {"größe/ 大": (640, 480), "all": (60, 80), "later": (1, 2)}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 7}', b'{"a": [0, 7]}', b'{"a": [7]}', b'{"a": null}', b"\xff"])
def test_what_says_no_sizes_is_written_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    output = Location.parse(str(tmp_path))
    (output / SIZES).write_bytes(content)
    assert kept_sizes(output) == {}
    assert "sizes.json" in caplog.text
    keep_sizes(output, {"a": (640, 480)})
    assert kept_sizes(output) == {"a": (640, 480)}
