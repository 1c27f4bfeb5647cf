"""What kubectl renders of an overlay, and what the schemas of Kubernetes say of it."""

import copy
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml

from tests.conftest import beside
from tests.infra.conftest import infra_tool

Object = dict[str, Any]

# Kinds that are no part of Kubernetes, and the schemas made from their definitions
CUSTOM = {
    "RayCluster": "raycluster-ray.io-v1",
    "NodePool": "nodepool-karpenter.sh-v1",
    "PodMonitor": "podmonitor-monitoring.coreos.com-v1",
    "PrometheusRule": "prometheusrule-monitoring.coreos.com-v1",
}


@dataclass(frozen=True)
class Pod:
    """A pod template of an object, with where it stands."""

    where: str
    template: Object

    @property
    def spec(self) -> Object:
        spec: Object = self.template["spec"]
        return spec

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


@dataclass(frozen=True)
class Overlay:
    """An overlay, as kubectl renders it."""

    folder: Path
    objects: list[Object]

    def all(self, kind: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, name: str) -> Object:
        [found] = [each for each in self.all(kind) if each["metadata"]["name"] == name]
        return found

    @property
    def ray(self) -> Object:
        spec: Object = self.one("RayCluster", "lakescore")["spec"]
        return spec

    @property
    def groups(self) -> dict[str, Object]:
        return {group["groupName"]: group for group in self.ray["workerGroupSpecs"]}

    @property
    def pods(self) -> list[Pod]:
        """Every pod that something here starts, with the labels that KubeRay adds and the container it puts in."""
        labels = {"ray.io/cluster": "lakescore"}
        head = copy.deepcopy(self.ray["headGroupSpec"]["template"])
        head["metadata"]["labels"] |= labels | {"ray.io/node-type": "head", "ray.io/group": "headgroup"}
        options = self.ray["autoscalerOptions"]
        inherited = {name: options[name] for name in ("resources", "securityContext", "volumeMounts")}
        head["spec"]["containers"].append(
            {"name": "autoscaler", "image": head["spec"]["containers"][0]["image"], **inherited}
        )
        pods = [Pod("head", head)]
        for name, group in self.groups.items():
            template = copy.deepcopy(group["template"])
            template["metadata"]["labels"] |= labels | {"ray.io/node-type": "worker", "ray.io/group": name}
            pods.append(Pod(name, template))
        for job in self.all("CronJob"):
            pods.append(Pod(job["metadata"]["name"], job["spec"]["jobTemplate"]["spec"]["template"]))
        return pods

    def pod(self, where: str) -> Pod:
        [found] = [pod for pod in self.pods if pod.where == where]
        return found

    @property
    def environment(self) -> dict[str, str]:
        """What the overlay says of its cluster: Terraform's outputs and the image's tag."""
        [found] = [each for each in self.all("ConfigMap") if each["metadata"]["name"].startswith("environment-")]
        data: dict[str, str] = found["data"]
        return data

    @property
    def pools(self) -> dict[str, Object]:
        return {pool["metadata"]["name"]: pool["spec"] for pool in self.all("NodePool")}


def validate(objects: list[Object], folder: Path) -> str:
    """Return what kubernetes-validate finds: nothing when all is well."""
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    found = subprocess.run(
        [infra_tool("kubernetes-validate"), "--strict", "--quiet", file], capture_output=True, text=True, timeout=60
    )
    said = found.stdout + found.stderr
    assert (found.returncode == 0) == (not said.strip()), said
    return said


def complaints(custom: Object) -> list[str]:
    """Return where an object does not follow the schema of its kind."""
    schema = json.loads((beside("schemas") / f"{CUSTOM[custom['kind']]}.json").read_text())
    return [error.message for error in jsonschema.Draft202012Validator(_strict(schema)).iter_errors(custom)]


def _strict(schema: Any) -> Any:
    """Close a schema of Kubernetes: where it names properties there are no others, as its API server has it."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        closed["properties"] = {name: _strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
    return closed


def requirement(pool: Object, key: str) -> list[str]:
    [found] = [each for each in pool["template"]["spec"]["requirements"] if each["key"] == key]
    values: list[str] = found["values"]
    return values


def ways(overlay: Overlay, pod: Pod, side: str) -> Iterator[tuple[str, int | None]]:
    """Yield who a pod may be reached by, or reach, and on which port (None: on all)."""
    labels = pod.template["metadata"]["labels"]
    for policy in overlay.all("NetworkPolicy"):
        if not policy["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items():
            continue
        for rule in policy["spec"].get(side, []):
            peers = rule.get("from" if side == "ingress" else "to")
            for name in ["anybody"] if peers is None else [name for peer in peers for name in _peers(overlay, peer)]:
                for port in rule.get("ports", [{"port": None}]):
                    yield name, port["port"]


def _peers(overlay: Overlay, peer: Object) -> list[str]:
    if peer.keys() == {"ipBlock"}:
        return [peer["ipBlock"]["cidr"]]
    if peer.keys() == {"namespaceSelector"}:
        return [f"namespace {peer['namespaceSelector']['matchLabels']['kubernetes.io/metadata.name']}"]
    assert peer.keys() == {"podSelector"}, peer
    selected = peer["podSelector"]["matchLabels"].items()
    return [pod.where for pod in overlay.pods if selected <= pod.template["metadata"]["labels"].items()]
