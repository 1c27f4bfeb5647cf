"""Objects of S3 by s3fs and by boto3, against the server of the tests behind a proxy that counts and delays requests.

    python -m bench.storage

Client, proxy and server share this machine, so that seconds hold all three; the client's own share is in its CPU
seconds. Each row is measured in a process of its own, which has a client already and has asked once.
"""

from __future__ import annotations

import asyncio
import io
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.listing import Listing, serving
from bench.processes import Processes, peak_memory
from bench.report import NotRun, Report, start
from tests.s3.proxy import FaultyProxy
from tests.s3.start import S3_PYTHON, s3_server

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUCKET, LISTED = "bench", "lake"  # of the server; of the stand-in for its listings, which has a million in no time
THREADS = 16
PART = 8 << 20  # bytes: what boto3 itself takes
PIECE = 1 << 20


@dataclass(frozen=True)
class Sizes:
    """Small objects and their bytes, bytes of the large one, objects listed, and seconds that each request waits.

    `apart`: each row has a process of its own, or all have one.
    """

    small: int
    small_bytes: int
    large_bytes: int
    listed: int
    delays: tuple[float, ...]
    apart: bool


FULL = Sizes(300, 100_000, 64 << 20, 20_000, (0.0, 0.02), apart=True)
TOY = Sizes(20, 1_000, 9 << 20, 2_500, (0.0,), apart=False)


class Client(Protocol):
    """What is asked of either; a key is one of `BUCKET`."""

    def write(self, key: str, content: bytes) -> None: ...
    def read(self, key: str) -> bytes: ...
    def write_parts(self, key: str, content: bytes) -> None: ...
    def read_parts(self, key: str, size: int) -> bytes: ...
    def pages(self) -> Iterator[int]: ...


class Boto:
    """boto3 with retries off, as many connections as threads, and its own way of parts."""

    def __init__(self) -> None:
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config

        options = Config(retries={"total_max_attempts": 1}, max_pool_connections=32)
        self._client: Any = boto3.Session().client("s3", config=options)
        self._parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)

    def write(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def read(self, key: str) -> bytes:
        content: bytes = self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def write_parts(self, key: str, content: bytes) -> None:
        self._client.upload_fileobj(io.BytesIO(content), BUCKET, key, Config=self._parts)

    def read_parts(self, key: str, size: int) -> bytes:
        found = io.BytesIO()
        self._client.download_fileobj(BUCKET, key, found, Config=self._parts)
        return found.getvalue()

    def pages(self) -> Iterator[int]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=LISTED):
            yield len(page["Contents"])


class S3fs:
    """s3fs by `call_s3`, which takes keys as they are and keeps no listing; its one thread serves all."""

    def __init__(self) -> None:
        import s3fs
        from fsspec.asyn import sync

        self._fs: Any = s3fs.S3FileSystem(config_kwargs={"max_pool_connections": 32}, skip_instance_cache=True)
        self._fs.retries = 1
        self._sync = sync

    def write(self, key: str, content: bytes) -> None:
        self._fs.call_s3("put_object", Bucket=BUCKET, Key=key, Body=Body(content))

    def read(self, key: str) -> bytes:
        content: bytes = self._sync(self._fs.loop, self._read, key)
        return content

    async def _read(self, key: str, **options: str) -> bytes:
        answer = await self._fs._call_s3("get_object", Bucket=BUCKET, Key=key, **options)
        content = io.BytesIO()  # read() would hold everything twice
        async with answer["Body"] as body:
            async for chunk in body.iter_chunks(PIECE):
                content.write(chunk)
        return content.getvalue()

    def write_parts(self, key: str, content: bytes) -> None:
        self._fs.pipe_file(f"{BUCKET}/{key}", content, chunksize=PART)

    def read_parts(self, key: str, size: int) -> bytes:
        async def all_() -> bytes:
            ranges = [f"bytes={at}-{min(at + PART, size) - 1}" for at in range(0, size, PART)]
            return b"".join(await asyncio.gather(*(self._read(key, Range=of) for of in ranges)))

        content: bytes = self._sync(self._fs.loop, all_)
        return content

    def pages(self) -> Iterator[int]:
        more = True
        request: dict[str, str] = {"Bucket": LISTED}
        while more:
            page = self._fs.call_s3("list_objects_v2", **request)
            yield len(page["Contents"])
            more = page["IsTruncated"]
            request["ContinuationToken"] = page.get("NextContinuationToken", "")


class Body(io.BytesIO):
    """Content that is sent without a copy of all of it, which the event loop makes of bytes, and getbuffer() here."""

    def getbuffer(self) -> memoryview:
        return memoryview(self.getvalue())


CLIENTS: dict[str, Callable[[], Client]] = {"boto3": Boto, "s3fs": S3fs}
STEPS = ("start", "write small", "read small", "write large", "read large", "write parts", "read parts", "list")


@dataclass(frozen=True)
class Cost:
    """What a step took: seconds, CPU seconds of the client, and bytes at most above those before it."""

    seconds: float
    cpu: float
    memory: int


def main(report: Report, sizes: Sizes) -> None:
    report.title(f"{sizes.small} objects of {sizes.small_bytes:,} bytes, one of {sizes.large_bytes:,}, by two clients")
    try:
        import s3fs  # noqa: F401
    except ImportError as error:
        raise NotRun("s3fs is not installed") from error
    if not S3_PYTHON.exists():
        raise NotRun(f"{S3_PYTHON} is missing: make .venv-s3/.installed")
    Listing.objects = sizes.listed
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder)) as server, serving() as stand_in:
        ours, listing = FaultyProxy(server), FaultyProxy({**server, "AWS_ENDPOINT_URL": stand_in})
        with ours, listing, Processes(sizes.apart) as call:
            call(make_bucket, ours.environment)
            for delay in sizes.delays:
                for proxy in (ours, listing):
                    proxy.on_request(lambda *_, delay=delay: time.sleep(delay))
                rows: list[list[str | int | float]] = []
                for step in STEPS:
                    found: dict[str, Cost] = {}
                    for name in CLIENTS:
                        proxy = listing if step == "list" else ours
                        before = proxy.requests.total()
                        found[name] = call(work, name, step, sizes, proxy.environment)
                        cost, requests = found[name], proxy.requests.total() - before
                        rows.append([step, name, requests, cost.seconds, cost.cpu, cost.memory / 1e6])
                    if delay == sizes.delays[0]:
                        rates[step] = found["s3fs"].cpu / found["boto3"].cpu
                columns = ["step", "client", "requests", "seconds", "CPU s", "MB at most"]
                report.table(f"{1000 * delay:.0f} ms a request", columns, rows)
    for step, rate in rates.items():
        report.figure(f"CPU of s3fs against boto3, {step}", rate, unit=" times")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(list(rates), list(rates.values()))
        axes.set(xlabel="CPU seconds of s3fs, times those of boto3")

    report.save(draw)


def make_bucket(environment: dict[str, str]) -> None:
    """Make the bucket, with what the steps read."""
    os.environ |= environment
    import boto3

    boto3.Session().client("s3").create_bucket(Bucket=BUCKET)
    Boto().write("first", b"x")


def work(name: str, step: str, sizes: Sizes, environment: dict[str, str]) -> Cost:
    """Do one step by one client, in a process that has asked once, where the step is not that one itself."""
    os.environ |= environment
    if step == "start":
        before, began, cpu = peak_memory(), time.perf_counter(), _cpu()
        CLIENTS[name]().read("first")
        return Cost(time.perf_counter() - began, _cpu() - cpu, peak_memory() - before)
    client = CLIENTS[name]()
    if step == "list":
        next(client.pages())
    else:
        client.read("first")
    keys, small = [f"small/{number:06d}" for number in range(sizes.small)], os.urandom(sizes.small_bytes)
    large = os.urandom(sizes.large_bytes) if step.startswith("write") else b""
    before, began, cpu = peak_memory(), time.perf_counter(), _cpu()
    with ThreadPoolExecutor(THREADS) as pool:
        if step == "write small":
            done = sum(1 for _ in pool.map(lambda key: client.write(key, small), keys))
        elif step == "read small":
            done = sum(len(content) == sizes.small_bytes for content in pool.map(client.read, keys))
        elif step == "list":
            done = sum(client.pages())
        elif step.startswith("write"):
            (client.write if step == "write large" else client.write_parts)("large", large)
            done = 1
        else:
            found = client.read("large") if step == "read large" else client.read_parts("large", sizes.large_bytes)
            done = len(found)
    cost = Cost(time.perf_counter() - began, _cpu() - cpu, peak_memory() - before)
    assert done == {"small": sizes.small, "list": sizes.listed}.get(step.split()[-1], done)
    return cost


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    start(main, FULL, TOY)
