"""Seconds of each stage, for run.json and for the metrics."""

import time

import ray

from pipeline.engine import telemetry


class Clock:
    """Runs from its making, or from the last lap."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        """Note the seconds since the last lap as those of a stage, with those of before if it is done again."""
        now = time.monotonic()
        seconds = now - self._last
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + seconds, 3)
        if ray.is_initialized():
            telemetry.count_stage(stage, seconds)
            telemetry.count_traffic()
        self._last = now
