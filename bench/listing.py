"""Listing and planning a large lake, against a stand-in that answers the listings of S3 and nothing else.

python -m bench.listing
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from bench.processes import Processes, peak_memory
from bench.report import Report, start
from pipeline.config import InputConfig, OutputConfig, ScoreConfig
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.io.storage import Location

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, CATEGORIES = 1000, 20
MEMORY_AIM = 1500.0  # bytes of each object above what an empty run takes


@dataclass(frozen=True)
class Sizes:
    """Objects of the lakes, rising. `apart`: each lake is listed in a process of its own, or all in one."""

    objects: tuple[int, ...]
    apart: bool


FULL = Sizes((10_000, 100_000, 400_000), apart=True)
TOY = Sizes((1_500, 3_000), apart=False)


class Listing(BaseHTTPRequestHandler):
    """A bucket of `objects` small images, which only its listing knows."""

    objects = 0
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        start = int(query.get("continuation-token", ["0"])[0])
        stop = min(start + int(query.get("max-keys", [str(PAGE)])[0]), self.objects)
        contents = "".join(
            f"<Contents><Key>parts/product-{n % CATEGORIES:02d}/2026-11-22/camera-1-{n:09d}.png</Key>"
            f"<LastModified>2026-11-22T00:00:00.000Z</LastModified><ETag>&quot;{n:032x}&quot;</ETag>"
            f"<Size>1000000</Size></Contents>"
            for n in range(start, stop)
        )
        more = "true" if stop < self.objects else "false"
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><KeyCount>{stop - start}</KeyCount>'
            f"<IsTruncated>{more}</IsTruncated><NextContinuationToken>{stop}</NextContinuationToken>{contents}"
            "</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Row:
    """What a lake took: units, seconds, and bytes of memory before it was listed and at most."""

    objects: int
    units: int
    listing: float
    planning: float
    before: int
    peak: int

    @property
    def more(self) -> int:
        return self.peak - self.before


def main(report: Report, sizes: Sizes) -> None:
    report.title(f"Listing and planning lakes of up to {max(sizes.objects):,} objects, {PAGE} to a page")
    with serving() as address, Processes(sizes.apart) as call:
        rows = []
        for objects in sizes.objects:
            Listing.objects = objects
            rows.append(call(work, address))
    columns = ["objects", "units", "listing s", "planning s", "MB before", "MB at most", "bytes an object"]
    cells = [
        [row.objects, row.units, row.listing, row.planning, row.before / 1e6, row.peak / 1e6, row.more / row.objects]
        for row in rows
    ]
    report.table("Catalog and plan", columns, cells)
    each = (rows[-1].peak - rows[0].peak) / (rows[-1].objects - rows[0].objects)
    report.figure("memory of one more object", each, MEMORY_AIM, " bytes", most=True)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([row.objects for row in rows], [row.more / 1e6 for row in rows], marker="o")
        axes.set(xlabel="objects", ylabel="MB above the start", title="Memory of listing and planning")

    report.save(draw)


@contextmanager
def serving() -> Iterator[str]:
    """Yield the address of the bucket."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def work(address: str) -> Row:
    """List and plan as the driver of a run does, in a process that was started for it."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    os.environ |= dict.fromkeys(names, "any") | {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}
    from pipeline.catalog import build_catalog  # what a driver imports is there before its memory is looked at
    from pipeline.encoders.spec import EncoderSpec
    from pipeline.plan.units import UNIT_MEMORY, UNIT_OPERATIONS
    from pipeline.scoring.scorer import Layer, make_scorer
    from pipeline.store.features import FeatureStore
    from pipeline.store.history import History
    from pipeline.store.run_folder import RunFolder
    from pipeline.tables.references import Chooser
    from pipeline.tables.selection import select

    before = peak_memory()
    config = ScoreConfig(input=InputConfig(uri="s3://lake/parts"), output=OutputConfig(uri="out"))
    spec = EncoderSpec("any", grid=(37, 37), width=1024, embedding=768, layers=(5, 11, 17, 23), fingerprint="f")
    began = time.perf_counter()
    catalog = build_catalog(config.input)
    listed = time.perf_counter()
    selection = select(catalog, config, History(None, {}))
    store = FeatureStore(Location.parse("features"), spec.grid, spec.width, spec.layers, "float16")
    geometry = LakeGeometry(Geometry(14, (518, 518)))
    choose = Chooser(config, store, RunFolder(Location.parse("out"), "x"), "f", None, {}, geometry)
    scorer, memory = make_scorer(config, Layer(spec.grid, spec.width, 2)), UNIT_MEMORY
    expected = choose.expected(selection.todo, selection.pinned)
    units = scorer.units(0, expected, spec.layers, memory, UNIT_OPERATIONS["cuda"])
    planned = time.perf_counter()
    return Row(len(catalog), len(units), listed - began, planned - listed, before, peak_memory())


if __name__ == "__main__":
    start(main, FULL, TOY)
