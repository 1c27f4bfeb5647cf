"""What kubectl would send to a cluster, for every overlay: schemas, what pods may do, names that must agree."""

import copy
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from pipeline.config import ScoreConfig
from tests.conftest import REPOSITORY
from tests.infra.conftest import INFRA, tool
from tests.infra.rendered import CUSTOM, Overlay, complaints, requirement, validate, ways
from tests.running import parse

TERRAFORM = INFRA / "terraform"
NO_SCHEMA = {"NodeClass"}  # of EKS Auto Mode: AWS publishes none; `test_node_class` looks at its fields


@pytest.fixture(scope="module", params=["staging", "production"])
def overlay(request: pytest.FixtureRequest) -> Overlay:
    """Each overlay."""
    folder = INFRA / "k8s" / "overlays" / request.param
    rendered = subprocess.run([tool("kubectl"), "kustomize", folder], capture_output=True, text=True, timeout=60)
    assert rendered.returncode == 0, rendered.stderr
    assert not rendered.stderr, "kustomize warns"
    return Overlay(folder, list(yaml.safe_load_all(rendered.stdout)))


# Schemas


def test_built_in_kinds_are_valid(overlay: Overlay, tmp_path: Path) -> None:
    built_in = [each for each in overlay.objects if each["kind"] not in CUSTOM.keys() | NO_SCHEMA]
    assert {each["kind"] for each in built_in} >= {"CronJob", "NetworkPolicy", "PodDisruptionBudget", "Role"}
    assert validate(built_in, tmp_path) == ""


def test_a_field_that_does_not_exist_is_found(overlay: Overlay, tmp_path: Path) -> None:
    job = copy.deepcopy(overlay.one("CronJob", "nightly"))
    job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["readOnly"] = True
    assert "readOnly" in validate([job], tmp_path)
    assert complaints(overlay.one("RayCluster", "lakescore") | {"spec": {**overlay.ray, "gpus": 1}})
    deep = copy.deepcopy(overlay.one("RayCluster", "lakescore"))
    deep["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["volumes"] = []
    assert complaints(deep)


def test_custom_kinds_are_valid(overlay: Overlay) -> None:
    for each in overlay.objects:
        if each["kind"] in CUSTOM:
            assert complaints(each) == [], each["metadata"]["name"]


def test_node_class(overlay: Overlay) -> None:
    [node_class] = overlay.all("NodeClass")
    assert node_class["apiVersion"] == "eks.amazonaws.com/v1"
    spec = node_class["spec"]
    assert spec.keys() == {
        "role",
        "subnetSelectorTerms",
        "securityGroupSelectorTerms",
        "ephemeralStorage",
        "networkPolicy",
        "networkPolicyEventLogs",
    }
    assert spec["role"] == overlay.environment["node_role_name"]
    cluster = overlay.environment["cluster_name"]
    assert spec["subnetSelectorTerms"] == [{"tags": {"karpenter.sh/discovery": cluster}}]
    assert spec["securityGroupSelectorTerms"] == [{"tags": {"aws:eks:cluster-name": cluster}}]
    for pool in overlay.pools.values():
        assert pool["template"]["spec"]["nodeClassRef"] == {
            "group": "eks.amazonaws.com",
            "kind": "NodeClass",
            "name": node_class["metadata"]["name"],
        }


# What pods may do


def test_pods_are_restricted(overlay: Overlay) -> None:
    labels = overlay.one("Namespace", "lakescore")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in overlay.pods:
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] == context["fsGroup"] == 1000, pod.where
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, pod.where
        assert not pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}, pod.where
        for container in pod.containers:
            # the whole of it stands at each container: KubeRay copies it from there to the one that waits for the head
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }, (pod.where, container["name"])
        for volume in pod.spec["volumes"]:
            [kind] = volume.keys() - {"name"}
            assert kind in {"emptyDir", "configMap", "secret", "projected"}, (pod.where, volume)


def test_containers_have_room_to_write_and_no_more(overlay: Overlay) -> None:
    for pod in overlay.pods:
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        for container in pod.containers:
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert mounts.keys() >= {"/tmp"}, (pod.where, container["name"])
            assert {mount["name"] for mount in mounts.values()} <= volumes.keys()
            for mount in mounts.values():
                directory = volumes[mount["name"]].get("emptyDir")
                assert mount.get("readOnly") if directory is None else directory["sizeLimit"], (pod.where, mount)


def test_requests_and_limits(overlay: Overlay) -> None:
    for pod in overlay.pods:
        for container in pod.containers:
            resources = container["resources"]
            assert resources["requests"].keys() >= {"cpu", "memory"}, (pod.where, container["name"])
            assert resources["limits"] == resources["requests"], "what is promised is what there is"


def test_the_object_store_fits(overlay: Overlay) -> None:
    """Its memory lies in /dev/shm, which counts as the container's."""
    for where, group in {"head": overlay.ray["headGroupSpec"], **overlay.groups}.items():
        pod = overlay.pod(where)
        [shared] = [volume["emptyDir"] for volume in pod.spec["volumes"] if volume["name"] == "shared-mem"]
        [mount] = [m for m in pod.spec["containers"][0]["volumeMounts"] if m["name"] == "shared-mem"]
        store, memory = (
            int(group["rayStartParams"]["object-store-memory"]),
            pod.containers[0]["resources"]["limits"]["memory"],
        )
        assert mount["mountPath"] == "/dev/shm" and shared["medium"] == "Memory"
        assert store <= _bytes(shared["sizeLimit"]) <= _bytes(memory) / 2


def test_kubernetes_is_closed_to_what_jobs_bring(overlay: Overlay) -> None:
    accounts = {account["metadata"]["name"]: account for account in overlay.all("ServiceAccount")}
    assert accounts.keys() == {f"lakescore-{who}" for who in ("head", "worker", "reader", "collector", "submit")}
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())
    expected = {"head": "head", "cpu": "worker", "gpu": "worker", "nightly": "submit", "collect-features": "collector"}
    assert {pod.where: pod.spec["serviceAccountName"] for pod in overlay.pods} == {
        where: f"lakescore-{who}" for where, who in expected.items()
    }
    holders = []
    for pod in overlay.pods:
        assert pod.spec["automountServiceAccountToken"] is False, pod.where
        tokens = {volume["name"] for volume in pod.spec["volumes"] if "projected" in volume}
        holders += [
            (pod.where, container["name"])
            for container in pod.containers
            if tokens & {mount["name"] for mount in container["volumeMounts"]}
        ]
    assert holders == [("head", "autoscaler")]


def test_the_autoscaler_may_change_this_cluster_alone(overlay: Overlay) -> None:
    # named as KubeRay would name its own, which has more rights
    role, binding = overlay.one("Role", "lakescore"), overlay.one("RoleBinding", "lakescore")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {
            "apiGroups": ["ray.io"],
            "resources": ["rayclusters"],
            "resourceNames": ["lakescore"],
            "verbs": ["get", "patch"],
        },
    ]
    assert binding["roleRef"]["name"] == "lakescore"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "lakescore-head", "namespace": "lakescore"}]
    assert not overlay.all("ClusterRole") and not overlay.all("ClusterRoleBinding")


# The network


def test_who_reaches_whom(overlay: Overlay) -> None:
    """Every way in and out that the policies leave, by the pods' own labels."""
    ins = {(peer, pod.where, port) for pod in overlay.pods for peer, port in ways(overlay, pod, "ingress")}
    outs = {(pod.where, peer, port) for pod in overlay.pods for peer, port in ways(overlay, pod, "egress")}
    ray = ["head", "cpu", "gpu"]
    among = {(a, b, None) for a in ray for b in ray}
    assert ins == among | {("nightly", "head", 8265)} | {("namespace monitoring", where, 8080) for where in ray}
    storage = {(where, "0.0.0.0/0", 443) for where in [*ray, "collect-features"]}
    identity = {(where, "169.254.170.23/32", 80) for where in [*ray, "collect-features"]}
    names = {(pod.where, "anybody", 53) for pod in overlay.pods}
    assert outs == among | {("nightly", "head", 8265)} | storage | identity | names


def test_policies_are_in_force(overlay: Overlay) -> None:
    closed = overlay.one("NetworkPolicy", "deny-all")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in overlay.all("NetworkPolicy"):
        sides = {side.capitalize() for side in ("ingress", "egress") if side in policy["spec"]}
        assert set(policy["spec"]["policyTypes"]) == sides or policy["metadata"]["name"] == "deny-all"
    # EKS Auto Mode: a switch for the cluster and one for the nodes
    switch = overlay.one("ConfigMap", "amazon-vpc-cni")
    assert switch["metadata"]["namespace"] == "kube-system"
    assert switch["data"] == {"enable-network-policy-controller": "true"}
    assert overlay.one("NodeClass", "lakescore")["spec"]["networkPolicy"] == "DefaultAllow"


def test_nothing_is_published(overlay: Overlay) -> None:
    assert not overlay.all("Service") and not overlay.all("Ingress")
    head = overlay.ray["headGroupSpec"]
    assert head.get("serviceType", "ClusterIP") == "ClusterIP" and "enableIngress" not in head
    assert overlay.ray["authOptions"] == {"mode": "token"}


# Nodes


def test_pods_find_their_nodes(overlay: Overlay) -> None:
    at = {pod.where: pod.spec["nodeSelector"]["karpenter.sh/nodepool"] for pod in overlay.pods}
    assert at == {
        "head": "ray-head",
        "cpu": "ray-cpu",
        "gpu": "ray-gpu",
        "nightly": "ray-head",
        "collect-features": "ray-head",
    }
    for pod in overlay.pods:
        taints = overlay.pools[at[pod.where]]["template"]["spec"].get("taints", [])
        assert pod.spec.get("tolerations", []) == [{"operator": "Equal", **taint} for taint in taints], pod.where
        assert all(taint["effect"] == "NoSchedule" for taint in taints)
    assert "taints" not in overlay.pools["ray-head"]["template"]["spec"]  # the operator's place, too
    assert overlay.pools["ray-gpu"]["template"]["spec"]["taints"][0]["key"] == "nvidia.com/gpu"


def test_nodes_are_bought_as_agreed(overlay: Overlay) -> None:
    kinds = {name: requirement(pool, "karpenter.sh/capacity-type") for name, pool in overlay.pools.items()}
    assert kinds == {
        "ray-head": ["on-demand"],
        "ray-cpu": ["spot", "on-demand"],
        "ray-gpu": ["spot", "on-demand"],
    }
    deadline = overlay.one("CronJob", "nightly")["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]
    for name, pool in overlay.pools.items():
        assert pool["disruption"]["consolidationPolicy"] == "WhenEmpty", name
        template = pool["template"]["spec"]
        patience = int(template["terminationGracePeriod"].removesuffix("h"))
        assert 3600 * patience >= deadline, "a drained node would cut a night short"
        assert patience + int(template["expireAfter"].removesuffix("h")) <= 21 * 24, "Auto Mode ends nodes then"
        for key in (each["key"] for each in template["requirements"]):
            assert fnmatch(key, "eks.amazonaws.com/instance-*") or key in {
                "karpenter.sh/capacity-type",
                "kubernetes.io/arch",
            }, "Auto Mode knows no karpenter.k8s.aws labels"


def test_the_head_is_left_alone(overlay: Overlay) -> None:
    assert overlay.ray["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for where in ("head", "cpu", "gpu", "nightly"):
        annotations = overlay.pod(where).template["metadata"]["annotations"]
        assert annotations == {"karpenter.sh/do-not-disrupt": "true"}, where
    [budget] = overlay.all("PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] == 1  # a number: a RayCluster does not say how many pods it should have
    selected = budget["spec"]["selector"]["matchLabels"]
    assert [p.where for p in overlay.pods if selected.items() <= p.template["metadata"]["labels"].items()] == ["head"]


def test_the_cluster_grows_and_shrinks(overlay: Overlay) -> None:
    assert overlay.ray["enableInTreeAutoscaling"] and overlay.ray["autoscalerOptions"]["version"] == "v2"
    for pod in overlay.pods:
        assert pod.spec["restartPolicy"] == "Never"  # autoscaler v2 takes no other
    for name, group in overlay.groups.items():
        assert group["minReplicas"] == 0 and group["maxReplicas"] > 0, name
        assert "replicas" not in group, "the autoscaler's: applying would end workers in the middle of a run"
    cpu, gpu = overlay.groups["cpu"], overlay.groups["gpu"]
    limits = {name: pool["limits"] for name, pool in overlay.pools.items()}
    [cpus] = requirement(overlay.pools["ray-cpu"], "eks.amazonaws.com/instance-cpu")
    assert int(cpu["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]) < int(cpus)
    assert limits["ray-cpu"] == {"cpu": cpu["maxReplicas"] * int(cpus)}
    assert limits["ray-gpu"] == {"nvidia.com/gpu": gpu["maxReplicas"]}
    assert gpu["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert requirement(overlay.pools["ray-gpu"], "eks.amazonaws.com/instance-gpu-count") == ["1"]


# Settings


def test_settings_are_valid(overlay: Overlay, tmp_path: Path) -> None:
    config = _settings(overlay, tmp_path)
    assert config.input.uri == overlay.environment["lake_uri"]
    assert config.output.uri == overlay.environment["output_uri"]
    assert config.output.run_id is None, "the CronJob's script says which night it is"
    assert config.log == "json" and config.references.source == "window"
    assert config.encoder.weights is not None, "the hub is closed to the pods"
    lake = re.sub("(s3://[^/]+/).*", r"\1", overlay.environment["lake_uri"])
    assert config.encoder.weights.startswith(lake), "the run's role reads weights from the lake's bucket alone"


def test_pools_of_workers_are_as_large_as_the_group(overlay: Overlay, tmp_path: Path) -> None:
    config = _settings(overlay, tmp_path)
    for pool in (config.ray.encode, config.ray.score):
        assert (pool.min, pool.max, pool.gpus) == (1, overlay.groups["gpu"]["maxReplicas"], 1)


def test_gpus_are_large_enough(overlay: Overlay, tmp_path: Path) -> None:
    gigabytes = {"t4": 16, "l4": 24, "a10g": 24}
    smallest = min(
        gigabytes[name] for name in requirement(overlay.pools["ray-gpu"], "eks.amazonaws.com/instance-gpu-name")
    )
    memory = _settings(overlay, tmp_path).search.memory_gb
    assert isinstance(memory, float) and memory <= 0.7 * smallest


def test_settings_lie_where_the_head_reads_them(overlay: Overlay) -> None:
    settings = overlay.one("ConfigMap", "score-settings")  # of this very name: a new one would replace the head
    assert settings["data"].keys() == {"score.yaml"}
    head = overlay.pod("head")
    [volume] = [volume for volume in head.spec["volumes"] if volume["name"] == "settings"]
    [mount] = [mount for mount in head.spec["containers"][0]["volumeMounts"] if mount["name"] == "settings"]
    assert volume["configMap"] == {"name": "score-settings"}
    assert f"--config={mount['mountPath']}/score.yaml" in _command(overlay)


# Jobs


def test_one_night_at_a_time(overlay: Overlay) -> None:
    assert {job["metadata"]["name"] for job in overlay.all("CronJob")} == {"nightly", "collect-features"}
    for job in overlay.all("CronJob"):
        spec, once = job["spec"], job["spec"]["jobTemplate"]["spec"]
        assert spec["concurrencyPolicy"] == "Forbid" and spec["timeZone"] == "Etc/UTC"
        assert spec["startingDeadlineSeconds"] and once["activeDeadlineSeconds"] < 86_400
        assert spec["successfulJobsHistoryLimit"] and spec["failedJobsHistoryLimit"] and once["backoffLimit"]
        assert once["podReplacementPolicy"] == "Failed", "two at once else"
        drained, final = once["podFailurePolicy"]["rules"]
        assert drained == {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        }
        assert final["action"] == "FailJob" and 2 in final["onExitCodes"]["values"]
        assert final["onExitCodes"]["containerName"] == once["template"]["spec"]["containers"][0]["name"]


def test_the_night_knows_its_cluster(overlay: Overlay) -> None:
    pod = overlay.pod("nightly")
    [container] = pod.containers
    environment = {each["name"]: each for each in container["env"]}
    cluster = overlay.one("RayCluster", "lakescore")["metadata"]["name"]
    ports = {port["name"]: port["containerPort"] for port in overlay.pod("head").containers[0]["ports"]}
    assert ports == {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080}
    assert environment["RAY_API_SERVER_ADDRESS"]["value"] == f"http://{cluster}-head-svc:{ports['dashboard']}"
    assert environment["RAY_AUTH_MODE"]["value"] == "token"
    # KubeRay names the secret like the cluster, and its key auth_token
    [token] = [volume["secret"] for volume in pod.spec["volumes"] if "secret" in volume]
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "ray-token"]
    assert (token["secretName"], token["items"]) == (cluster, [{"key": "auth_token", "path": "auth_token"}])
    assert environment["RAY_AUTH_TOKEN_PATH"]["value"] == f"{mount['mountPath']}/auth_token"
    assert environment["JOB_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == (
        "metadata.labels['batch.kubernetes.io/job-name']"
    )


def test_jobs_run_what_is_there(overlay: Overlay) -> None:
    nightly, collect = overlay.pod("nightly"), overlay.pod("collect-features")
    [script] = [volume for volume in nightly.spec["volumes"] if volume["name"] == "submit-run"]
    assert overlay.one("ConfigMap", script["configMap"]["name"])["data"].keys() == {"submit_run.py"}
    command = nightly.containers[0]["command"]
    assert command[:4] == ["python", "/etc/lakescore/submit_run.py", "python", "/app/jobs/score_dataset.py"]
    assert collect.containers[0]["command"][:2] == ["python", "/app/jobs/collect_features.py"]
    for name in ("score_dataset.py", "collect_features.py"):
        assert (REPOSITORY / "jobs" / name).exists()
    for pod in (nightly, collect):
        [source] = pod.containers[0]["envFrom"]
        data = overlay.one("ConfigMap", source["configMapRef"]["name"])["data"]
        own = {each["name"]: each.get("value", "") for each in pod.containers[0].get("env", [])}
        used = set(re.findall(r"\$\((\w+)\)", " ".join([*pod.containers[0]["command"], *own.values()])))
        assert used <= data.keys(), "Kubernetes leaves a name that it does not know as it stands"


# Names that the rest of infra/ gives


def test_one_exact_image(overlay: Overlay) -> None:
    environment = overlay.environment
    assert re.fullmatch(r"v?\d+\.\d+\.\d+([-+.][\w.]+)?|[0-9a-f]{7,40}", environment["image_tag"]), "exact, not latest"
    expected = f"{environment['image_repository']}:{environment['image_tag']}"
    assert {container["image"] for pod in overlay.pods for container in pod.containers} == {expected}
    assert re.search(r"^\d{12}\.dkr\.ecr\.", expected)


def test_ray_is_the_locked_one(overlay: Overlay) -> None:
    """KubeRay chooses probes by it, and the image is made from the lock."""
    [locked] = re.findall(r"^ray==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert overlay.ray["rayVersion"] == locked


def test_metrics_are_found(overlay: Overlay) -> None:
    monitor = overlay.one("PodMonitor", "lakescore-ray")["spec"]
    selected = monitor["selector"]["matchLabels"]
    scraped = [pod for pod in overlay.pods if selected.items() <= pod.template["metadata"]["labels"].items()]
    assert [pod.where for pod in scraped] == ["head", "cpu", "gpu"]
    [endpoint] = monitor["podMetricsEndpoints"]
    for pod in scraped:
        assert {"name": endpoint["port"], "containerPort": 8080}.items() <= {
            key: value
            for port in pod.containers[0]["ports"]
            if port["name"] == endpoint["port"]
            for key, value in port.items()
        }.items()


def test_everything_is_in_the_namespace(overlay: Overlay) -> None:
    for each in overlay.objects:
        if each["kind"] not in {"Namespace", "NodePool", "NodeClass"} and each["metadata"]["name"] != "amazon-vpc-cni":
            assert each["metadata"]["namespace"] == "lakescore", each["metadata"]["name"]
    assert overlay.environment["namespace"] == "lakescore"


def test_terraform_agrees(overlay: Overlay) -> None:
    """The outputs, the accounts that roles are tied to, and the tag that the nodes' subnets are found by."""
    sources = {path.name: path.read_text() for path in TERRAFORM.glob("*.tf")}
    outputs = set(re.findall(r'^output "(\w+)"', sources["outputs.tf"], re.MULTILINE))
    given = overlay.environment.keys() - {"image_tag"}
    assert given <= outputs, "terraform.env holds what terraform output says"
    everything = "\n".join(sources.values())
    for who in ("head", "worker", "reader", "collector"):
        assert f'"lakescore-{who}"' in everything
    assert '"lakescore-submit"' not in everything, "it has no AWS role"
    for term in overlay.one("NodeClass", "lakescore")["spec"]["subnetSelectorTerms"]:
        for tag in term["tags"]:
            assert f'"{tag}"' in sources["network.tf"]


def test_examples_are_no_account(overlay: Overlay) -> None:
    accounts = set(re.findall(r"\b\d{12}\b", (overlay.folder / "terraform.env").read_text()))
    assert accounts == {"111122223333"}  # of AWS's own documentation


# Helpers


def _command(overlay: Overlay) -> list[str]:
    """Return what the night's job runs on the head, with Kubernetes' variables put in."""
    command = overlay.pod("nightly").containers[0]["command"]
    return [re.sub(r"\$\((\w+)\)", lambda name: overlay.environment[name[1]], word) for word in command[2:]]


def _settings(overlay: Overlay, folder: Path) -> ScoreConfig:
    """Return the settings of a night, read by the job's own parser from the rendered file and command."""
    file = folder / "score.yaml"
    file.write_text(overlay.one("ConfigMap", "score-settings")["data"]["score.yaml"])
    flags = [flag for flag in _command(overlay)[2:] if not flag.startswith("--config=")]
    return parse([f"--config={file}", *flags])


def _bytes(quantity: str) -> int:
    return int(quantity.removesuffix("Gi")) << 30
