"""What a driver counts."""

import pytest

from pipeline.engine import telemetry


def test_the_end_of_a_processs_last_run_is_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    total: dict[str, float] = {}

    class Counted:
        def __init__(self, name: str, *_: str) -> None:
            self._name = name

        def inc(self, value: float, tags: dict[str, str]) -> None:
            key = f"{self._name} {tags['outcome']}"
            total[key] = total.get(key, 0) + value

    monkeypatch.setattr(telemetry, "_counter", Counted)
    monkeypatch.setattr(telemetry, "_ended", {})
    for now, outcome in ((100.0, "failed"), (200.0, "published"), (300.0, "published")):
        monkeypatch.setattr("pipeline.engine.telemetry.time.time", lambda now=now: now)
        telemetry.count_run(outcome)
    assert total == {
        "runs failed": 1,
        "runs published": 2,
        "run_ended_timestamp_seconds failed": 100,
        "run_ended_timestamp_seconds published": 300,
    }
