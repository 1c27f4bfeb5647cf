"""What is counted of a process's traffic is handed over once, and is never nothing."""

from pathlib import Path

from pipeline.io import traffic
from pipeline.io.storage import Location


def test_what_moved_is_handed_over_once_and_an_empty_file_is_nothing(tmp_path: Path) -> None:
    traffic.take()
    place = Location.parse(str(tmp_path))
    (place / "empty.png").write_bytes(b"")
    assert (place / "empty.png").read_bytes() == b""
    assert traffic.take() == ({}, {})
    (place / "full.png").write_bytes(b"12345")
    assert traffic.take() == ({"written": 5}, {}) and traffic.take() == ({}, {})
