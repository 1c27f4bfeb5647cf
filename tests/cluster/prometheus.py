"""A real Prometheus that scrapes one node every two seconds, as if a PodMonitor had found it."""

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

from tests.cluster.conftest import free_port

NAMESPACE = "lakescore"
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Prometheus:
    """Answers PromQL about what was scraped since `start` (seconds since 1970)."""

    url: str
    start: float

    def now(self, expression: str) -> dict[Labels, float]:
        """Return the values there are now, by their labels."""
        found = self._ask("query", query=expression)
        return {frozenset(series["metric"].items()): float(series["value"][1]) for series in found}

    def ever(self, expression: str) -> bool:
        """Tell whether it had a value at any time."""
        end = time.time()
        return bool(self._ask("query_range", query=expression, start=self.start, end=end, step=2))

    def _ask(self, what: str, **arguments: object) -> list[dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{what}?{urlencode(arguments)}", timeout=60) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
                return found
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from error


@contextmanager
def started_prometheus(program: Path, endpoint: str, rules: Mapping[str, Any], folder: Path) -> Iterator[Prometheus]:
    """Start it with these rules, and stop it; it keeps its data in a folder."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules)))
    target = {"targets": [urlsplit(endpoint).netloc], "labels": {"namespace": NAMESPACE, "pod": "head"}}
    config = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": f"{NAMESPACE}/lakescore-ray", "static_configs": [target]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address, start = f"127.0.0.1:{free_port()}", time.time()
    command = [str(program), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with subprocess.Popen([*command, f"--web.listen-address={address}", "--log.level=error"]) as process:
        try:
            _wait_until_ready(f"http://{address}/-/ready", process)
            yield Prometheus(f"http://{address}", start)
        finally:
            process.terminate()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.URLError:
            threading.Event().wait(0.2)
    raise AssertionError("Prometheus does not start")
