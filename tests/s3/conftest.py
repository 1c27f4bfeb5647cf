"""An S3 server that fails as it is told, and keys that may do less than everything."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from pipeline.io import bucket as storage
from tests.conftest import PlainRun
from tests.running import flags, run_job, run_job_here, settings, tiny_weights
from tests.s3.proxy import FaultyProxy

Key = Mapping[str, str]  # the variables of an access key, and of the server it belongs to
Grant = Callable[[str, list[Key], list[Key]], None]
SECRET = "Hush"  # begins every secret whose traces are looked for


@pytest.fixture
def faulty(s3_environment: dict[str, str]) -> Iterator[FaultyProxy]:
    """Another address of the server, which fails as it is told."""
    with FaultyProxy(s3_environment) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def reader(s3_environment: dict[str, str]) -> Key:
    """A key that may do nothing until it is granted."""
    return s3_environment | {"AWS_ACCESS_KEY_ID": "test:reader", "AWS_SECRET_ACCESS_KEY": f"{SECRET}-reader"}


@pytest.fixture(scope="session")
def scorer(s3_environment: dict[str, str]) -> Key:
    """Another such key, with a session token."""
    names = {"AWS_ACCESS_KEY_ID": "test:scorer", "AWS_SECRET_ACCESS_KEY": f"{SECRET}-scorer"}
    return s3_environment | names | {"AWS_SESSION_TOKEN": f"{SECRET}-token"}


@pytest.fixture(scope="session")
def grant(s3_environment: dict[str, str]) -> Grant:
    """Say which keys may read (and list) a bucket, and which may write to it."""

    def grant(bucket: str, read: list[Key], write: list[Key]) -> None:
        lists = {"X-Container-Read": read, "X-Container-Write": write}
        headers = {name: ",".join(key["AWS_ACCESS_KEY_ID"] for key in keys) for name, keys in lists.items()}
        address = f"{s3_environment['AWS_ENDPOINT_URL']}/grant/{bucket.removeprefix('s3://')}"
        urlopen(Request(address, headers=headers, method="POST")).close()

    return grant


@dataclass(frozen=True)
class Night:
    """A run from s3://lake/parts to s3://results/scores with weights in s3://lake/weights, and what it asked for."""

    done: CompletedProcess[str]
    requests: list[tuple[str, str]]  # methods and paths with queries
    deleted: list[str]  # bucket/key
    results: dict[str, bytes]  # by key
    key: Key


@pytest.fixture(scope="session")
def night(
    plain_run: PlainRun,
    s3_environment: dict[str, str],
    scorer: Key,
    grant: Grant,
    tmp_path_factory: pytest.TempPathFactory,
) -> Night:
    """One run of the plain run's lake with a key that may read the lake, and read and write the results."""
    client = client_of(s3_environment)
    for bucket in ("lake", "results"):
        client.create_bucket(Bucket=bucket)
    for path in plain_run.lake.rglob("*.png"):
        client.put_object(Bucket="lake", Key=f"parts/{path.relative_to(plain_run.lake)}", Body=path.read_bytes())
    client.put_object(Bucket="lake", Key="weights/vit.safetensors", Body=tiny_weights().read_bytes())
    client.put_object(Bucket="results", Key="scores/latest.json", Body=b"{}")  # of an earlier run
    grant("lake", [scorer], [])
    grant("results", [scorer], [scorer])
    requests: list[tuple[str, str]] = []
    values = settings("s3://lake/parts", "s3://results/scores", report__images=20)
    values["encoder.weights"] = "s3://lake/weights/vit.safetensors"
    with FaultyProxy(scorer) as proxy:
        proxy.conceal()
        proxy.on_request(lambda method, path: requests.append((method, path)))
        measured = "from pipeline.engine import calibrate; calibrate.WORTH_MEASURING = 0"
        env = {**proxy.environment, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
        done = run_job(*flags(values), env=env, before=measured)
    keys = [item["Key"] for item in client.list_objects_v2(Bucket="results").get("Contents", ())]
    results = {key: client.get_object(Bucket="results", Key=key)["Body"].read() for key in keys}
    client.close()
    return Night(done, requests, proxy.deleted, results, scorer)


def run_as(key: Key, *arguments: str) -> CompletedProcess[str]:
    """Run the job in this process by a key of its own; what it may not do it learns before workers do anything."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in key.items():
            patch.setenv(name, value)
        storage.client.cache_clear()
        done = run_job_here(*arguments)
    storage.client.cache_clear()
    return done


def client_of(environment: Key) -> Any:
    """Return a client of this key's own, whatever the process's variables say."""
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
