"""What `infra/monitoring` asks Prometheus for: rules, dashboard, and the metrics that their expressions name."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.conftest import REPOSITORY

MONITORING = REPOSITORY / "infra" / "monitoring"
# What Grafana puts in; its interval is four scrapes at least
GRAFANA = {"$namespace": ".*", "$__rate_interval": "2m"}
OPERATORS = {"and", "or", "unless", "offset", "bool"}


@dataclass(frozen=True)
class Expression:
    """PromQL, and what asks for it."""

    of: str
    text: str

    @property
    def metrics(self) -> set[str]:
        """The names of series in it."""
        bare = re.sub(r'\{[^}]*\}|\[[^]]*\]|"[^"]*"', "", self.text)
        bare = re.sub(r"\b(by|on|group_left|group_right|without|ignoring)\s*\([^)]*\)", "", bare)
        return set(re.findall(r"\b[a-zA-Z_][\w:]*\b(?!\s*\()", bare)) - OPERATORS


@cache
def rules() -> dict[str, Any]:
    """Return the PrometheusRule."""
    found: dict[str, Any] = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    return found


@cache
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "lakescore.json").read_text())
    return found


def made() -> set[str]:
    """Return the names of the series that Ray makes of the metrics in the code."""
    code = (REPOSITORY / "pipeline" / "engine" / "telemetry.py").read_text()
    endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    found = re.findall(r'_(counter|gauge|histogram)\(\s*"(\w+)"', code)
    return {f"ray_lakescore_{name}{ending}" for kind, name in found for ending in endings[kind]}


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in _rules() if "alert" in rule]


def recorded() -> set[str]:
    """Return the names of the series that the rules make."""
    return {rule["record"] for rule in _rules() if "record" in rule}


def panels() -> list[dict[str, Any]]:
    """Return the panels that show something: rows are left out."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[Expression]:
    """Yield what rules and panels ask for, a panel's as Grafana sends it."""
    for rule in _rules():
        yield Expression(rule.get("alert") or rule["record"], rule["expr"])
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in GRAFANA.items():
                text = text.replace(name, value)
            yield Expression(f"panel {panel['title']!r}", text)


def _rules() -> list[dict[str, Any]]:
    return [rule for group in rules()["spec"]["groups"] for rule in group["rules"]]
