"""Counters and histograms on Ray's metrics endpoint, where Prometheus finds them (docs/runbook.md lists them).

Labels have few values: no uri, category or id is one.

Ray forgets a gauge that was not set for 20 s, which many a scrape misses, and keeps a counter for as long as the node
lives. So what is to be known of a run when its driver has ended is a counter, the time of its end too: a job's driver
counts one run, and the labels `SessionName` (of the cluster's start) and `WorkerId`, which Ray adds, tell it from
others. Of a histogram Ray keeps the counts of its buckets, and no exact sum.
"""

import time
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
from ray.util import metrics

from pipeline.io import traffic

_ended: dict[str, float] = {}  # by outcome, what this process has counted so far
SECONDS = [1.0, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000]


@cache
def _counter(name: str, description: str, *labels: str) -> metrics.Counter:
    return metrics.Counter(f"lakescore_{name}", description, labels)


@cache
def _gauge(name: str, description: str, *labels: str) -> metrics.Gauge:
    return metrics.Gauge(f"lakescore_{name}", description, labels)


@cache
def _histogram(name: str, description: str) -> metrics.Histogram:
    return metrics.Histogram(f"lakescore_{name}", description, SECONDS)


def count_published(scores: pa.Table, drifted: int) -> None:
    """Count a published run's rows by status and reason (empty for scored ones), and its categories that drifted."""
    counter = _counter("images", "Images of published runs, by status and reason.", "status", "reason")
    rows = Tally(zip(scores["status"].to_pylist(), scores["reason"].to_pylist(), strict=True))
    for (status, reason), count in rows.items():
        counter.inc(count, {"status": status, "reason": reason or ""})
    if anomalous := pc.sum(scores["anomalous"]).as_py():
        _counter("anomalous_images", "Anomalous images of published runs.").inc(anomalous)
    if drifted:
        _counter("drifted_categories", "Categories of published runs that drifted.").inc(drifted)
    count_run("published")


@contextmanager
def counted() -> Iterator[None]:
    """Count a run that fails in this block."""
    try:
        yield
    except Exception:  # counted, and raised on
        count_run("failed")
        raise


def count_run(outcome: str) -> None:
    """Count a run that ended as published or failed, and note when."""
    _counter("runs", "Runs that ended, by outcome.", "outcome").inc(1, {"outcome": outcome})
    ended = _counter("run_ended_timestamp_seconds", "When a driver's run ended, by outcome.", "outcome")
    now = time.time()
    ended.inc(now - _ended.get(outcome, 0.0), {"outcome": outcome})  # a notebook may do several runs: of the last
    _ended[outcome] = now


def count_stage(stage: str, seconds: float) -> None:
    """Count the seconds of a stage."""
    if seconds:
        _counter("stage_seconds", "Seconds of each stage of a run.", "stage").inc(seconds, {"stage": stage})


def show_progress(stage: str, done: int, total: int) -> None:
    """Show how many images, units or categories of a stage are done, and how many wait or are being done, for 20 s."""
    _gauge("done", "What a running stage has done.", "stage").set(done, {"stage": stage})
    _gauge("waiting", "What a running stage has still to do.", "stage").set(total - done, {"stage": stage})


def observe_unit(seconds: float) -> None:
    """Note the seconds of a unit of work, on the worker that did it."""
    _histogram("unit_seconds", "Seconds of a unit of scoring.").observe(seconds)


def count_traffic() -> None:
    """Count what this process read, wrote and had to ask for again since it was counted last."""
    moved, retried = traffic.take()
    counter = _counter("bytes", "Bytes read from and written to storage.", "direction")
    for direction, count in moved.items():
        counter.inc(count, {"direction": direction})
    counter = _counter("retries", "Requests to the store that were made again, by error.", "error")
    for error, count in retried.items():
        counter.inc(count, {"error": error})
