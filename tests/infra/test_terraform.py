"""infra/terraform is well formed, passes its tests, grants what docs/security.md does, and settles after one apply."""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import boto3
import pytest

from tests.conftest import not_run
from tests.infra.conftest import INFRA, infra_tool, tool
from tests.s3.test_policy import as_list, policy

SOURCE = INFRA / "terraform"
PROVIDER = "registry.terraform.io/hashicorp/aws"
FOLDERS = [".", "examples/minimal", "examples/production"]
ROLES = {"run": "A run", "reader": "A reader of results", "collector": "Dropping features"}

UNKNOWN_TO_MOTO = {
    "aws_budgets_budget",
    "aws_ecr_pull_through_cache_rule",
    "aws_eks_access_entry",
    "aws_eks_access_policy_association",
    "aws_eks_addon",
    "aws_eks_pod_identity_association",
}
# Moto takes these and does not tell all of them afterwards: Auto Mode, who administers; that events are sent
FORGOTTEN_BY_MOTO = {"aws_eks_cluster", "aws_s3_bucket_notification"}

VARIABLES = {
    "zones": ["us-east-1a", "us-east-1b", "us-east-1c"],
    "administrators": ["arn:aws:iam::123456789012:role/admin"],
    "alarm_emails": ["night@example.org"],
    "monthly_budget_usd": 500,
    "weights_key": "weights/vit.safetensors",
}
LAKE, RESULTS = "lakescore-lake-123456789012", "lakescore-results-123456789012"

Terraform = Callable[..., CompletedProcess[str]]


def clean() -> dict[str, str]:
    """Return the environment without the credentials, endpoints and Terraform settings of whoever runs this."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    return own | {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "AWS_EC2_METADATA_DISABLED": "true"}


def plugins() -> list[str]:
    """Return the option that names a folder with the provider, or none: then init asks the registry."""
    places = [Path(os.environ.get("TF_PLUGIN_DIR", "/opt")), Path("/opt"), Path("/usr/local/share"), Path("/usr/share")]
    for place in places:
        for depth in ("", "*/", "*/*/"):
            for found in place.glob(f"{depth}{PROVIDER}"):
                return [f"-plugin-dir={str(found).removesuffix(PROVIDER)}"]
    return []


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform in a copy of the folder, whose root and examples it has initialised."""
    program = tool("terraform")
    copy = tmp_path_factory.mktemp("infra") / "terraform"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*"))

    def run(*arguments: str, at: str = ".", env: dict[str, str] | None = None) -> CompletedProcess[str]:
        command = [str(program), f"-chdir={copy / at}", *arguments]
        return subprocess.run(command, env=env or clean(), capture_output=True, text=True, check=False)

    for folder in FOLDERS:
        found = plugins()
        done = run("init", "-backend=false", "-input=false", "-lockfile=readonly", "-no-color", *found, at=folder)
        if done.returncode and not found:
            not_run("terraform has no AWS provider; TF_PLUGIN_DIR may name a folder that holds one")
        assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    """Start Moto, and return the variables that lead to it."""
    command = [str(infra_tool("moto_server")), "-H", "127.0.0.1", "-p", "0"]
    known = os.environ | {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    with subprocess.Popen(command, env=known, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        while not (started := re.search(r"Running on (http://127\.0\.0\.1:\d+)", said)):
            assert (line := process.stderr.readline()), f"moto ended: {said}"
            said += line
        rest = threading.Thread(target=process.stderr.read, daemon=True)  # or it fills the pipe, and waits
        rest.start()
        yield {
            "AWS_ENDPOINT_URL": started[1],
            "AWS_ACCESS_KEY_ID": "false",
            "AWS_SECRET_ACCESS_KEY": "false",
            "AWS_REGION": "us-east-1",
            "AWS_S3_USE_PATH_STYLE": "true",
        }
        process.terminate()
        process.wait(timeout=30)
        rest.join(timeout=30)


@dataclass(frozen=True)
class Apply:
    """An apply against Moto."""

    environment: dict[str, str]
    ended: Callable[[], CompletedProcess[str]]


def resources() -> set[tuple[str, str]]:
    """Return types and names of all resources of the root module."""
    text = "".join(path.read_text() for path in SOURCE.glob("*.tf"))
    return set(re.findall(r'^resource "(\w+)" "(\w+)"', text, re.MULTILINE))


def targets(without: set[str]) -> list[str]:
    assert without <= {kind for kind, _ in resources()}
    return [f"-target={kind}.{name}" for kind, name in sorted(resources()) if kind not in without]


@pytest.fixture(scope="module")
def apply(terraform: Terraform, aws: dict[str, str]) -> Iterator[Apply]:
    """Begin to apply, which mostly waits: the provider looks for a minute whether a bucket's rules stay as they are."""
    values = {f"TF_VAR_{name}": of if isinstance(of, str) else json.dumps(of) for name, of in VARIABLES.items()}
    environment = clean() | aws | values
    done: list[CompletedProcess[str]] = []
    command = ("apply", "-auto-approve", "-input=false", "-no-color", *targets(without=UNKNOWN_TO_MOTO))
    waits = threading.Thread(target=lambda: done.append(terraform(*command, env=environment)))
    waits.start()

    def ended() -> CompletedProcess[str]:
        waits.join()
        return done[0]

    yield Apply(environment, ended)
    waits.join()


@pytest.fixture
def applied(apply: Apply) -> Apply:
    """The apply, when it succeeded."""
    done = apply.ended()
    assert done.returncode == 0, done.stderr
    return apply


@pytest.mark.usefixtures("apply")  # begins here, while the tests up to those of `applied` have something to do
def test_files_are_formatted(terraform: Terraform) -> None:
    done = terraform("fmt", "-check", "-recursive", "-diff", "-no-color")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_configurations_are_valid_without_warnings(terraform: Terraform, folder: str) -> None:
    found = json.loads(terraform("validate", "-json", at=folder).stdout)
    assert (found["valid"], found["diagnostics"]) == (True, [])


def test_every_variable_has_a_description_a_type_and_a_validation() -> None:
    blocks = re.findall(
        r'^variable "(\w+)" \{\n(.*?)^\}', (SOURCE / "variables.tf").read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) > 10
    for name, block in blocks:
        [kind] = re.findall(r"^  type += (.+)$", block, re.MULTILINE)
        assert re.search(r"^  description += \".+\"$", block, re.MULTILINE), name
        assert kind == "bool" or "  validation {" in block, name


def test_its_own_tests_pass(terraform: Terraform) -> None:
    done = terraform("test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^Success! [1-9]\d* passed, 0 failed", done.stdout, re.MULTILINE), done.stdout


def test_checkov_finds_nothing() -> None:
    """What is skipped is skipped beside the resource, with a reason."""
    command = [str(infra_tool("checkov")), "--directory", str(SOURCE), "--framework", "terraform", "--skip-download"]
    done = subprocess.run([*command, "--output", "json"], env=clean(), capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    failed = [f"{of['check_id']} {of['resource']}: {of['check_name']}" for of in found["results"]["failed_checks"]]
    assert not failed and found["summary"]["passed"] > 100
    assert all(of["check_result"]["suppress_comment"] for of in found["results"]["skipped_checks"])


def same(statement: dict[str, Any]) -> str:
    """Return a statement in one of the several ways that it can be written."""
    lists = {name: sorted(as_list(statement[name])) for name in ("Action", "Resource")}
    condition = {
        operator: {key: sorted(as_list(values)) for key, values in keys.items()}
        for operator, keys in statement.get("Condition", {}).items()
    }
    return json.dumps({**statement, **lists, "Condition": condition}, sort_keys=True)


@pytest.mark.parametrize("role", ROLES)
def test_aws_is_told_the_policies_of_the_document(applied: Apply, role: str) -> None:
    names = {"aws_access_key_id": "false", "aws_secret_access_key": "false", "region_name": "us-east-1"}
    client = boto3.client("iam", endpoint_url=applied.environment["AWS_ENDPOINT_URL"], **names)
    name = f"lakescore-{role}"
    [inline] = client.list_role_policies(RoleName=name)["PolicyNames"]
    attached = client.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    statements = client.get_role_policy(RoleName=name, PolicyName=inline)["PolicyDocument"]["Statement"]
    client.close()
    assert attached == []
    keys = [of for of in statements if "kms:Decrypt" in as_list(of["Action"])]
    document = json.dumps(policy(ROLES[role]))
    document = document.replace(":::lake", f":::{LAKE}").replace(":::results", f":::{RESULTS}")
    assert sorted(same(of) for of in statements if of not in keys) == sorted(map(same, json.loads(document)))

    [key] = keys  # what encryption adds
    assert as_list(key["Action"]) == (["kms:Decrypt", "kms:GenerateDataKey"] if role == "run" else ["kms:Decrypt"])
    assert re.fullmatch(r"arn:aws:kms:us-east-1:123456789012:key/[0-9a-f-]{36}", key["Resource"])


def test_a_second_plan_is_empty(terraform: Terraform, applied: Apply) -> None:
    left_out = UNKNOWN_TO_MOTO | FORGOTTEN_BY_MOTO
    command = ("plan", "-detailed-exitcode", "-input=false", "-no-color", *targets(without=left_out))
    done = terraform(*command, env=applied.environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_state_holds_no_secrets(terraform: Terraform, applied: Apply) -> None:
    """The provider marks what is secret."""
    state = json.loads(terraform("show", "-json", env=applied.environment).stdout)["values"]
    of_resources = {of["address"]: of["sensitive_values"] for of in state["root_module"]["resources"]}
    assert len(of_resources) > 60
    assert not [name for name, marks in of_resources.items() if "true" in json.dumps(marks)]
    assert not [name for name, output in state["outputs"].items() if output["sensitive"]]
