"""Starts the S3 server of the tests, for tests and for what is measured against it."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
S3_PYTHON = REPOSITORY / ".venv-s3" / "bin" / "python"  # made by `make .venv-s3/.installed`


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Start the server in a folder and yield the usual AWS variables that lead to it; it stops when its input closes.

    Args:
        folder: empty, on a file system with user extended attributes.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [str(S3_PYTHON), "-W", "ignore", str(REPOSITORY / "tests" / "s3" / "server.py"), str(folder), str(port)]
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
