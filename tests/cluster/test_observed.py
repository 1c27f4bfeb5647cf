"""What runs show of themselves: metrics on a real node's endpoint.

Three nights on one node: one that is published, one that drifts, one that fails. The dashboard and the alerts of
`infra/monitoring` are held against what is scraped meanwhile.
"""

import re
import threading
import time
import urllib.request
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.conftest import Head, started_head
from tests.cluster.prometheus import NAMESPACE, Labels, Prometheus, started_prometheus
from tests.conftest import REPOSITORY, not_run
from tests.infra.conftest import find_tool
from tests.infra.monitoring import expressions, recorded, rules
from tests.running import flags, run_job, settings, small_lake
from tests.s3.conftest import client_of
from tests.s3.proxy import FaultyProxy

IMAGES = 12
# Where there is a real GPU only: named here, and looked for in Ray's source
PHYSICAL_GPU = {"ray_node_gpus_utilization", "ray_node_gram_used", "ray_node_gram_available"}
OURS = ("status", "reason", "stage", "direction", "outcome", "error")

Samples = dict[str, dict[Labels, float]]

pytestmark = pytest.mark.daily  # tests/infra/test_monitoring.py holds names against names


@dataclass(frozen=True)
class Nights:
    """What was scraped after each night, and the names of all that ever was."""

    scraped: list[Samples]
    names: set[str]
    prometheus: Prometheus | None


@pytest.fixture(scope="module")
def nights(s3_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """Three nights of a local lake, into a bucket that refuses some requests."""
    lake = small_lake(tmp_path_factory.mktemp("nights") / "lake", categories=("brick",), images=IMAGES)
    good = lake / "brick" / "test" / "good"
    (good / "broken.png").write_bytes(b"no image")
    client = client_of(s3_environment)
    client.create_bucket(Bucket="observed")
    with (
        FaultyProxy(s3_environment) as proxy,
        started_head(gpus=1, env={"RAY_metrics_report_interval_ms": "2000", **proxy.environment}) as head,
        prometheus(head, tmp_path_factory.mktemp("prometheus")) as asked,
        watched(head.metrics) as names,
    ):
        proxy.fail(0.05)
        proxy.on_request(slow)
        values = settings(lake, "s3://observed/out", references__source="window")
        values |= {"ray.address": head.address, "ray.encode.gpus": 0, "ray.score.gpus": 0}

        def night(run_id: str, code: int, outcome: str) -> None:
            before = len(ended(head, outcome))
            done = run_job(*flags(values | {"output.run_id": run_id}), env=proxy.environment)
            assert done.returncode == code, done.stderr
            wait_until(lambda: len(ended(head, outcome)) > before)

        night("monday", 0, "published")
        scraped = [samples(head.metrics)]
        for number in range(IMAGES):
            (good / f"broken{number}.png").write_bytes(b"no image either")
        night("tuesday", 0, "published")
        scraped.append(samples(head.metrics))
        others = b'{"input": {}, "encoder": {}}'
        client.put_object(Bucket="observed", Key="out/work/run_id=wednesday/settings.json", Body=others)
        night("wednesday", 2, "failed")
        scraped.append(samples(head.metrics))
        client.close()
        assert proxy.faults["fail"]
        yield Nights(scraped, names, asked)


def slow(method: str, path: str) -> None:
    """Take some seconds to store features: a stage that is over at once is never scraped."""
    if method == "PUT" and "/tokens/" in path:
        threading.Event().wait(20)


@contextmanager
def prometheus(head: Head, folder: Path) -> Iterator[Prometheus | None]:
    """Have a Prometheus scrape the head, where there is one; the tests that ask it say its absence."""
    program = find_tool("prometheus")
    if program is None:
        yield None
        return
    with started_prometheus(program, head.metrics, rules()["spec"], folder) as asked:
        yield asked


@contextmanager
def watched(url: str) -> Iterator[set[str]]:
    """Collect the names of an endpoint's samples until the block ends."""
    names: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(2):
            names.update(re.findall(r"^(\w+)[{ ]", text(url), re.MULTILINE))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield names
    finally:
        over.set()
        thread.join()


def text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def samples(url: str) -> Samples:
    """Return our samples by name and labels, added up over all processes."""
    found: Samples = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text(url)):
        for sample in family.samples:
            if "lakescore_" in sample.name:
                labels = frozenset((name, value) for name, value in sample.labels.items() if name in OURS)
                found[sample.name][labels] += sample.value
    return found


def ended(head: Head, outcome: str) -> set[tuple[str, str]]:
    """Return the processes whose run ended so."""
    return {
        (sample.labels["SessionName"], sample.labels["WorkerId"])
        for family in text_string_to_metric_families(text(head.metrics))
        for sample in family.samples
        if sample.name == "ray_lakescore_run_ended_timestamp_seconds_total" and sample.labels["outcome"] == outcome
    }


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        threading.Event().wait(1)


def of(**labels: str) -> Labels:
    return frozenset(labels.items())


def test_a_run_is_counted_on_the_nodes_endpoint(nights: Nights) -> None:
    found = nights.scraped[0]
    images = found["ray_lakescore_images_total"]
    assert images == {of(status="scored", reason=""): IMAGES, of(status="quarantined", reason="not_an_image"): 1}
    assert found["ray_lakescore_runs_total"] == {of(outcome="published"): 1}
    seconds = found["ray_lakescore_stage_seconds_total"]
    assert {of(stage=stage) for stage in ("start", "extract", "compare", "score", "reduce")} <= set(seconds)
    assert found["ray_lakescore_unit_seconds_count"][of()] == 4
    moved = found["ray_lakescore_bytes_total"]
    assert moved[of(direction="read")] > 1e5 and moved[of(direction="written")] > 1e5
    assert found["ray_lakescore_retries_total"][of(error="SlowDown")] >= 1
    assert "ray_lakescore_drifted_categories_total" not in found


def test_what_a_driver_counted_is_kept_when_it_has_ended(nights: Nights) -> None:
    last = nights.scraped[-1]
    assert last["ray_lakescore_runs_total"] == {of(outcome="published"): 2, of(outcome="failed"): 1}
    assert last["ray_lakescore_images_total"][of(status="scored", reason="")] == 2 * IMAGES
    assert last["ray_lakescore_drifted_categories_total"] == {of(): 1}
    times = last["ray_lakescore_run_ended_timestamp_seconds_total"]
    assert times[of(outcome="failed")] == pytest.approx(time.time(), abs=600)


def test_every_metric_that_rules_and_panels_name_was_scraped(nights: Nights) -> None:
    named = {name for asked in expressions() for name in asked.metrics} - recorded() - {"up"}
    assert named - nights.names <= PHYSICAL_GPU, "named, and never scraped"
    source = (Path(ray.__file__).parent / "dashboard/modules/reporter/reporter_agent.py").read_text()
    unseen = sorted(named & PHYSICAL_GPU - nights.names)
    assert all(f'"{name.removeprefix("ray_")}"' in source for name in unseen)
    if unseen:
        message = f"NOT RUN: {', '.join(unseen)}: this machine has no GPU; Ray's source names them"
        warnings.warn(pytest.PytestWarning(message), stacklevel=1)


def test_the_runbook_lists_every_metric_of_ours(nights: Nights) -> None:
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text()
    ours = {name.removeprefix("ray_") for name in nights.names if "lakescore_" in name}
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in ours}
    assert not {name for name in ours if f"`{name}`" not in runbook}


def asked_of(nights: Nights) -> Prometheus:
    if nights.prometheus is None:
        not_run("prometheus is not installed")
    return nights.prometheus


def test_every_panel_has_shown_something(nights: Nights) -> None:
    prometheus = asked_of(nights)
    shown = [asked for asked in expressions() if asked.of.startswith("panel") and not asked.metrics & PHYSICAL_GPU]
    assert not [asked for asked in shown if not prometheus.ever(asked.text)]


def test_rules_tell_the_newest_run_from_those_before_it(nights: Nights) -> None:
    prometheus, here = asked_of(nights), of(namespace=NAMESPACE)
    assert prometheus.now("sum by (status, reason) (lakescore:newest_run_images:sum)") == {
        of(status="scored"): IMAGES,
        of(status="quarantined", reason="not_an_image"): IMAGES + 1,
    }
    ratio = prometheus.now("max by (namespace) (lakescore:newest_run_quarantined:ratio)")
    assert ratio == {here: pytest.approx((IMAGES + 1) / (2 * IMAGES + 1))}
    assert prometheus.now("max by (namespace) (lakescore:newest_run_drifted_categories:sum)") == {here: 1}
    retries = {here: sum(nights.scraped[-1]["ray_lakescore_retries_total"].values())}
    # Prometheus has looked when it next does
    wait_until(lambda: prometheus.now("sum by (namespace) (lakescore:retries:increase1h)") == retries)


def test_alerts_are_those_of_the_three_nights(nights: Nights) -> None:
    prometheus = asked_of(nights)
    wait_until(lambda: bool(prometheus.now('ALERTS{alertname="LakeScoreRunFailed"}')))
    alerts = {dict(labels)["alertname"] for labels in prometheus.now("ALERTS")}
    assert alerts == {"LakeScoreRunFailed", "LakeScoreQuarantineUp", "LakeScoreScoresDrift"}
    assert prometheus.ever('ALERTS{alertname="LakeScoreGpuIdle"}')  # the node has a GPU, and the runs took CPUs
