"""Counters and histograms on Ray's metrics endpoint, where Prometheus finds them (docs/runbook.md lists them).

Labels have few values: no uri, category or id is one.
"""

from collections import Counter as Tally
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
from ray.util import metrics

from pipeline.lake import traffic

SECONDS = [1.0, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000]


@cache
def _counter(name: str, description: str, *labels: str) -> metrics.Counter:
    return metrics.Counter(f"lakescore_{name}", description, labels)


@cache
def _gauge(name: str, description: str) -> metrics.Gauge:
    return metrics.Gauge(f"lakescore_{name}", description)


@cache
def _histogram(name: str, description: str, *labels: str) -> metrics.Histogram:
    return metrics.Histogram(f"lakescore_{name}", description, SECONDS, labels)


def count_published(scores: pa.Table, drifted: int) -> None:
    """Count a published run's rows by status and reason (empty for scored ones), and its categories that drifted."""
    counter = _counter("images", "Images of published runs, by status and reason.", "status", "reason")
    rows = Tally(zip(scores["status"].to_pylist(), scores["reason"].to_pylist(), strict=True))
    for (status, reason), count in rows.items():
        counter.inc(count, {"status": status, "reason": reason or ""})
    _gauge("anomalous_images", "Anomalous images of the newest run.").set(pc.sum(scores["anomalous"]).as_py() or 0)
    _gauge("drifted_categories", "Categories of the newest run that drifted.").set(drifted)
    count_run("published")


def count_run(outcome: str) -> None:
    """Count a run that ended as published or failed."""
    _counter("runs", "Runs that ended, by outcome.", "outcome").inc(1, {"outcome": outcome})


def observe_stage(stage: str, seconds: float) -> None:
    """Note the seconds of a stage."""
    _histogram("stage_seconds", "Seconds of each stage of a run.", "stage").observe(seconds, {"stage": stage})


def observe_unit(seconds: float) -> None:
    """Note the seconds of a unit of work, on the worker that did it."""
    _histogram("unit_seconds", "Seconds of a unit of mutual scoring.").observe(seconds)


def count_traffic() -> None:
    """Count what this process read, wrote and had to ask for again since it was counted last."""
    moved, retried = traffic.take()
    counter = _counter("bytes", "Bytes read from and written to storage.", "direction")
    for direction, count in moved.items():
        counter.inc(count, {"direction": direction})
    counter = _counter("retries", "Requests to the store that were made again, by error.", "error")
    for error, count in retried.items():
        counter.inc(count, {"error": error})
