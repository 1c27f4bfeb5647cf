"""What a stage shows of how far it is."""

import threading

import pytest

from pipeline.stages import progress
from pipeline.stages.progress import Progress


def test_gauges_are_set_again_while_nothing_moves_and_once_more_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int, int]] = []
    again = threading.Event()

    def show(stage: str, done: int, total: int) -> None:
        shown.append((stage, done, total))
        if shown.count((stage, 5, 8)) == 3:
            again.set()

    monkeypatch.setattr(progress, "show_progress", show)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_GAUGES", 0.001)
    with Progress("score", "units", 8, already=2) as units:
        units.add(3)
        assert again.wait(60)
        units.add(3)
    assert ("score", 5, 8) in shown and shown[-1] == ("score", 8, 8)
    assert not units._shows.is_alive()
