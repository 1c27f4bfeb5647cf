"""The faulty proxy: without faults it is the server, and each fault is what its name says."""

import io
import socket
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
)

from tests.s3.proxy import FaultyProxy

NAMES = ["plain.png", "a b.png", "é.png", "c#d%20.png", "line\nbreak.png", "q?x=1.png", "d/e/[f]*.png"]
ONCE = Config(retries={"total_max_attempts": 1})
LARGE = bytes(range(256)) * 4096 * 12  # 12 MB: uploaded in two parts


def client_of(environment: Mapping[str, str], config: Config = ONCE) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
        config=config,
    )


@pytest.fixture
def name(bucket: str) -> str:
    return bucket.removeprefix("s3://")


@pytest.fixture
def s3(faulty: FaultyProxy) -> Iterator[Any]:
    """A client that goes through the proxy and tries everything once."""
    client = client_of(faulty.environment)
    yield client
    client.close()


@pytest.fixture
def straight(s3_environment: dict[str, str]) -> Iterator[Any]:
    client = client_of(s3_environment)
    yield client
    client.close()


def content(client: Any, name: str, key: str = "a", **more: Any) -> bytes:
    body: bytes = client.get_object(Bucket=name, Key=key, **more)["Body"].read()
    return body


def test_without_faults_it_is_the_server(s3: Any, straight: Any, name: str, faulty: FaultyProxy) -> None:
    for key in NAMES:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
        assert content(s3, name, key) == content(straight, name, key) == key.encode()
    listed = s3.list_objects_v2(Bucket=name, MaxKeys=1000)["Contents"]
    assert sorted(entry["Key"] for entry in listed) == sorted(NAMES)
    assert s3.head_object(Bucket=name, Key="a b.png")["ContentLength"] == 7
    assert content(s3, name, "plain.png", Range="bytes=2-4") == b"ain"
    s3.delete_object(Bucket=name, Key="plain.png")
    s3.put_object(Bucket=name, Key="empty", Body=b"")
    assert content(s3, name, "empty") == b""
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=name, Key="plain.png")
    s3.upload_fileobj(io.BytesIO(LARGE), name, "large")
    assert content(s3, name, "large") == LARGE
    # seven names, "empty" and two parts; twice POST: the upload of parts begins and ends
    assert faulty.requests == {"PUT": 10, "GET": 12, "HEAD": 1, "DELETE": 1, "POST": 2}
    assert not +faulty.faults


def test_a_connection_serves_several_requests(faulty: FaultyProxy) -> None:
    connection = HTTPConnection(urlsplit(faulty.environment["AWS_ENDPOINT_URL"]).netloc, timeout=30)
    places = set()
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, "/")
        assert connection.getresponse().read() is not None
        assert connection.sock is not None
        places.add(connection.sock.getsockname())
    connection.close()
    assert len(places) == 1


def test_down_refuses_until_it_is_up_again_at_the_same_address(s3: Any, name: str, faulty: FaultyProxy) -> None:
    s3.put_object(Bucket=name, Key="a", Body=b"one")  # leaves a connection open in the client's pool
    for _ in range(2):
        faulty.down()
        faulty.down()
        with pytest.raises((EndpointConnectionError, ConnectionClosedError)):
            s3.get_object(Bucket=name, Key="a")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(faulty.environment["AWS_ENDPOINT_URL"]).port or 0))
        faulty.up()
        faulty.up()
        assert content(s3, name) == b"one"


def failures(call: Callable[[], object], times: int) -> list[bool]:
    """Tell of each of several calls whether it failed."""
    found = []
    for _ in range(times):
        try:
            call()
            found.append(False)
        except (ClientError, HTTPClientError):
            found.append(True)
    return found


def test_fail_answers_with_the_error_that_was_asked_for(s3: Any, name: str, faulty: FaultyProxy) -> None:
    faulty.fail(1)
    with pytest.raises(ClientError, match="SlowDown") as raised:
        s3.put_object(Bucket=name, Key="a", Body=b"one")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    with pytest.raises(ClientError, match="503"):
        s3.head_object(Bucket=name, Key="a")
    faulty.fail(1, status=500, code="InternalError")
    with pytest.raises(ClientError, match="InternalError"):
        s3.list_objects_v2(Bucket=name)
    faulty.fail(0)
    assert s3.list_objects_v2(Bucket=name)["KeyCount"] == 0  # the PUT never reached the server
    assert faulty.faults["fail"] == 3


@pytest.mark.parametrize("fault", ["fail", "reset", "lose"])
def test_the_same_seed_meets_the_same_requests(s3: Any, name: str, faulty: FaultyProxy, fault: str) -> None:
    found = []
    for seed in (1, 1, 2):
        getattr(faulty, fault)(0.3, seed=seed)
        found.append(failures(lambda: s3.list_objects_v2(Bucket=name), 40))
    assert found[0] == found[1] != found[2]
    assert 4 <= sum(found[0]) <= 20
    assert faulty.faults == {fault: sum(map(sum, found))}


def test_reset_breaks_the_connection_before_the_server_is_asked(s3: Any, name: str, faulty: FaultyProxy) -> None:
    faulty.reset(1)
    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket=name, Key="a", Body=b"one")
    connection = HTTPConnection(urlsplit(faulty.environment["AWS_ENDPOINT_URL"]).netloc, timeout=30)
    connection.request("GET", "/")
    with pytest.raises(ConnectionResetError):
        connection.getresponse()
    connection.close()
    faulty.reset(0)
    assert s3.list_objects_v2(Bucket=name)["KeyCount"] == 0


def test_lose_breaks_the_connection_after_the_server_has_obeyed(s3: Any, name: str, faulty: FaultyProxy) -> None:
    faulty.lose(1)
    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket=name, Key="a", Body=b"one")
    faulty.lose(0)
    assert content(s3, name) == b"one"


def test_half_an_upload_leaves_what_was_there(s3: Any, name: str, faulty: FaultyProxy) -> None:
    s3.put_object(Bucket=name, Key="old", Body=b"one")
    faulty.cut_uploads(2)
    for key in ("old", "new"):
        with pytest.raises(ConnectionClosedError):
            s3.put_object(Bucket=name, Key=key, Body=LARGE)
    assert content(s3, name, "old") == b"one"
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=name, Key="new")
    s3.put_object(Bucket=name, Key="new", Body=LARGE)
    assert content(s3, name, "new") == LARGE
    assert faulty.faults == {"cut_upload": 2}


def test_half_a_download_is_noticed_by_its_length(s3: Any, name: str, faulty: FaultyProxy) -> None:
    s3.put_object(Bucket=name, Key="a", Body=LARGE)
    faulty.cut_downloads(2)
    assert s3.list_objects_v2(Bucket=name)["KeyCount"] == 1  # a listing is no object
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=name, Key="b")
    for more in ({}, {"Range": "bytes=0-99"}):
        body = s3.get_object(Bucket=name, Key="a", **more)["Body"]
        with pytest.raises((IncompleteReadError, ResponseStreamingError)):
            body.read()
    assert content(s3, name) == LARGE
    assert faulty.faults == {"cut_download": 2}


def test_the_proxy_calls_before_a_request_is_forwarded(s3: Any, straight: Any, name: str, faulty: FaultyProxy) -> None:
    straight.put_object(Bucket=name, Key="a", Body=b"one")
    seen = []

    def replace(method: str, path: str) -> None:
        seen.append((method, path))
        straight.put_object(Bucket=name, Key="a", Body=b"another")

    faulty.on_request(replace)
    assert content(s3, name) == b"another"
    faulty.on_request(None)
    assert content(s3, name) == b"another"
    assert seen == [("GET", f"/{name}/a")]


def test_a_client_that_retries_gets_through(straight: Any, name: str, faulty: FaultyProxy) -> None:
    patient = client_of(faulty.environment, Config(retries={"total_max_attempts": 8, "mode": "standard"}))
    faulty.reset(0.2)
    faulty.fail(0.1)
    faulty.cut_uploads(1)
    for number in range(12):
        patient.put_object(Bucket=name, Key=f"{number}", Body=b"%d" % number)
    patient.close()
    assert {content(straight, name, str(number)) for number in range(12)} == {b"%d" % number for number in range(12)}
    assert faulty.requests["PUT"] == 12 + sum(faulty.faults.values()) > 12


def test_what_breaks_in_the_proxy_itself_is_raised_when_it_ends(s3_environment: dict[str, str]) -> None:
    def breaks(method: str, path: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), FaultyProxy(s3_environment) as proxy:
        proxy.on_request(breaks)
        client = client_of(proxy.environment)
        with pytest.raises(ConnectionClosedError):
            client.list_buckets()
        client.close()
