"""The dashboard and the alerts of `infra/monitoring`; tests/cluster/test_observed.py holds them against a real run."""

import copy
import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.infra.conftest import tool
from tests.infra.monitoring import MONITORING, alerts, dashboard, expressions, made, panels, recorded, rules
from tests.infra.rendered import complaints

UNIT_TESTS = sorted((MONITORING / "tests").glob("*.yaml"))
ALERTS = {
    "LakeScoreRunLate",
    "LakeScoreRunFailed",
    "LakeScoreQuarantineUp",
    "LakeScoreScoresDrift",
    "LakeScoreGpuIdle",
    "LakeScoreRetriesHigh",
    "LakeScoreNotScraped",
}


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        [tool("promtool"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manifest_is_a_prometheus_rule() -> None:
    assert complaints(rules()) == []
    misspelt = copy.deepcopy(rules())
    misspelt["spec"]["groups"][1]["rules"][0]["labes"] = {}
    [error] = complaints(misspelt)
    assert "labes" in error


def test_every_expression_of_rules_and_panels_is_promql(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()["spec"]))
    asked = [{"record": f"asked:{number}", "expr": asked.text} for number, asked in enumerate(expressions())]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))
    promtool("check", "rules", tmp_path / "rules.yaml", tmp_path / "all.yaml")


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_else(path: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()["spec"]))
    promtool("test", "rules", shutil.copy(path, tmp_path))


def test_each_alert_is_seen_firing_and_silent() -> None:
    cases = [
        case
        for path in UNIT_TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert {alert["alert"] for alert in alerts()} == ALERTS
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == ALERTS
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == ALERTS


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_and_leads_into_the_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    path, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    parts = re.split(r"^## (.+)$", (REPOSITORY / path).read_text(), flags=re.MULTILINE)
    sections = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-"): text
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    assert f"| `{alert['alert']}` |" in sections[anchor]


def test_metrics_that_are_asked_for_are_made_and_the_runbook_lists_all_that_are() -> None:
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text()
    assert {name for asked in expressions() for name in asked.metrics if name.startswith("ray_lakescore_")} <= made()
    listed = {re.sub("_(bucket|sum|count)$", "", name.removeprefix("ray_")) for name in made()}
    assert listed and not {name for name in listed if f"`{name}`" not in runbook}


def test_series_that_rules_make_are_made_by_some_rule() -> None:
    asked = {name for asked in expressions() for name in asked.metrics if ":" in name}
    assert asked == recorded()


def test_each_panel_says_what_it_shows_in_which_unit_from_which_source() -> None:
    board = dashboard()
    assert board["uid"] == "lakescore" and board["schemaVersion"] >= 42
    [source, namespace] = board["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert namespace["name"] == "namespace"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        title = panel["title"]
        assert title and panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["targets"] and len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, title
        assert all('namespace=~"$namespace"' in target["expr"] for target in panel["targets"]), title


def test_no_panel_lies_on_another() -> None:
    places = {panel["title"]: panel["gridPos"] for panel in dashboard()["panels"]}
    assert len(places) == len(dashboard()["panels"]) and all(p["x"] + p["w"] <= 24 for p in places.values())
    for (one, a), (other, b) in combinations(places.items(), 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], f"{one} lies on {other}"


def test_the_dashboard_is_written_as_it_would_be_again() -> None:
    """Sorted, so that what an export from Grafana changes can be read."""
    assert (MONITORING / "lakescore.json").read_text() == json.dumps(dashboard(), indent=2, sort_keys=True) + "\n"


def test_kustomize_builds_the_rules_and_a_dashboard_that_grafanas_sidecar_finds() -> None:
    command = [str(tool("kubectl")), "kustomize", str(MONITORING)]
    built = list(yaml.safe_load_all(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout))
    found = {manifest["kind"]: manifest for manifest in built}
    assert sorted(found) == ["ConfigMap", "PrometheusRule"] and len(built) == 2
    board = found["ConfigMap"]
    assert board["metadata"]["name"] == "lakescore-dashboard"
    assert board["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert json.loads(board["data"]["lakescore.json"]) == dashboard()
