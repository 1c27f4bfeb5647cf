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
        """Note the seconds since the last lap as those of a stage."""
        now = time.monotonic()
        self.seconds[stage] = round(now - self._last, 3)
        if ray.is_initialized():
            telemetry.count_stage(stage, self.seconds[stage])
            telemetry.count_traffic()
        self._last = now
