"""A real S3 server, shared by the tests of this folder."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-s3" / "bin" / "python"


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start the server and return the usual AWS variables that lead to it; it stops when its input closes."""
    if not PYTHON.exists():
        pytest.fail(f"{PYTHON} is missing: make .venv-s3/.installed")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [str(PYTHON), "-W", "ignore", str(Path(__file__).parent / "server.py")]
    command += [str(tmp_path_factory.mktemp("s3")), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        said = process.stdout.readline()
        assert said == "ready\n", said
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test:key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        process.stdin.close()
        process.wait(timeout=30)


@pytest.fixture
def bucket(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Return the address of an empty bucket of the test's own."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    name = f"test-{abs(hash(request.node.nodeid)) % 10**9}-{os.getpid()}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    client.close()
    return f"s3://{name}"
