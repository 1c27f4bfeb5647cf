"""How long units take on several workers, before any of them starts."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Seconds from the first unit's start to the last one's end, and the share of that time that workers idle."""

    makespan: float
    idle: float


def schedule(seconds: Sequence[float], workers: int, ahead: int = 0) -> Schedule:
    """Hand out units in their order, each to the worker that is the first to have room for it.

    Args:
        seconds: of each unit.
        workers: their number.
        ahead: units that a worker is given before it has ended the one at hand. They wait there, whoever is idle.

    Raises:
        ValueError: when there is no worker.
    """
    if workers < 1:
        raise ValueError(f"units need at least one worker, got {workers}")
    # Places for a unit: when each gets empty, and its rank, so that every worker has one unit before any has two
    places = [(0.0, rank, worker) for rank in range(ahead + 1) for worker in range(workers)]
    ends = [0.0] * workers
    for length in seconds:
        _, rank, worker = places[0]
        ends[worker] += length  # without a gap: a worker has room at the latest when it ends what it has
        heapq.heapreplace(places, (ends[worker], rank, worker))
    makespan = max(ends)
    return Schedule(makespan, max(0.0, 1 - sum(seconds) / (workers * makespan)) if makespan else 0.0)
