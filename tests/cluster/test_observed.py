"""What a run shows of itself: metrics on a real node's endpoint, and log lines for machines."""

import json
import threading
import time
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.conftest import Head
from tests.running import flags, run_job, settings, small_lake

Labels = frozenset[tuple[str, str]]


def scraped(url: str) -> dict[str, dict[Labels, float]]:
    """Return our samples by name and labels, those of Ray's own left out."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "lakescore_" in sample.name:
                labels = {
                    k: v for k, v in sample.labels.items() if k in ("status", "reason", "stage", "direction", "outcome")
                }
                of_name = found.setdefault(sample.name, {})
                of_name[frozenset(labels.items())] = of_name.get(frozenset(labels.items()), 0) + sample.value
    return found


def test_a_run_is_counted_on_the_nodes_endpoint_and_logged_for_machines(fresh_head: Head, tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", categories=("brick",), images=6)
    (lake / "brick" / "test" / "good" / "broken.png").write_bytes(b"no image")
    done = run_job(*flags(settings(lake, tmp_path / "out", log="json") | {"ray.address": fresh_head.address}))
    assert done.returncode == 0, done.stderr

    deadline, wanted = time.monotonic() + 60, frozenset({("status", "quarantined"), ("reason", "not_an_image")})
    while wanted not in (found := scraped(fresh_head.metrics)).get("ray_lakescore_images_total", {}):
        assert time.monotonic() < deadline, sorted(found)
        threading.Event().wait(1)
    images = found["ray_lakescore_images_total"]
    assert images[wanted] == 1 and images[frozenset({("status", "scored"), ("reason", "")})] == 6
    assert found["ray_lakescore_runs_total"][frozenset({("outcome", "published")})] == 1
    assert {dict(labels)["stage"] for labels in found["ray_lakescore_stage_seconds_total"]} >= {
        "extract",
        "score",
        "reduce",
    }
    assert found["ray_lakescore_unit_seconds_count"][frozenset()] == 4
    moved = found["ray_lakescore_bytes_total"]
    assert moved[frozenset({("direction", "read")})] > 1e5 and moved[frozenset({("direction", "written")})] > 1e5

    # Ray's core says on its own that it was told to be quiet
    lines = [json.loads(line) for line in done.stderr.splitlines() if "logging.cc" not in line]
    assert {line["run_id"] for line in lines} == {"test"} and all(line["time"] and line["level"] for line in lines)
    units = [line for line in lines if "unit" in line]
    assert len(units) == 4 and all(line["stage"] == "score" and line["seconds"] > 0 for line in units)
    ends = {line["stage"]: line for line in lines if "total" in line}
    assert ends["extract"]["done"] == ends["extract"]["total"] == 7
