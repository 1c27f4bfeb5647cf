"""Listing and planning a large lake, against a stand-in that answers the listings of S3 and nothing else.

python -m bench.listing
"""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from matplotlib.figure import Figure

from bench.report import Report

OBJECTS = (10_000, 100_000, 400_000)
PAGE, CATEGORIES = 1000, 20
MEMORY_AIM = 1500.0  # bytes of each object above what an empty run takes
WORK = """
import json, resource, sys, time
from pipeline.catalog import build_catalog
from pipeline.config import InputConfig, OutputConfig, ReferencesConfig, ScoreConfig
from pipeline.encoders import EncoderSpec
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder
from pipeline.store.history import History
from pipeline.io.storage import Location
from pipeline.tables.references import Chooser
from pipeline.stages.score import plan
from pipeline.tables.selection import select

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = peak()
config = ScoreConfig(input=InputConfig(uri="s3://lake/parts"), output=OutputConfig(uri="out"))
spec = EncoderSpec("any", grid=(37, 37), width=1024, embedding=768, layers=(5, 11, 17, 23), fingerprint="f")
start = time.perf_counter()
catalog = build_catalog(config.input)
listed = time.perf_counter() - start
after_listing = peak()
work = select(catalog, config, History(None, {}))
store = FeatureStore(Location.parse("features"), spec.grid, spec.width, spec.layers, "float16")
choose = Chooser(config, store, RunFolder(Location.parse("out"), "x"), "f", None, {})
units = plan(config, spec, choose.expected(work.todo, work.pinned), "cuda")
planned = time.perf_counter() - start - listed
print(json.dumps([len(catalog), len(units), listed, planned, before, after_listing, peak()]))
"""


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


def measure(objects: int) -> list[float]:
    """List and plan in a process of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Listing", (Listing,), {"objects": objects}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    done = subprocess.run([sys.executable, "-c", WORK], env=environment, capture_output=True, text=True, check=False)
    server.shutdown()
    server.server_close()
    if done.returncode:
        raise SystemExit(done.stderr)
    found: list[float] = json.loads(done.stdout)
    return found


def main() -> None:
    report = Report("listing", f"Listing and planning lakes of up to {max(OBJECTS):,} objects, {PAGE} to a page")
    rows, found = [], []
    for objects in OBJECTS:
        count, units, listed, planned, before, _, peak = measure(objects)
        found.append((objects, (peak - before) / 1e6))
        rows.append([int(count), int(units), listed, planned, before / 1e6, peak / 1e6, (peak - before) / objects])
    columns = ["objects", "units", "listing s", "planning s", "MB before", "MB at most", "bytes an object"]
    report.table("Catalog and plan", columns, rows)
    each = (rows[-1][5] - rows[0][5]) * 1e6 / (OBJECTS[-1] - OBJECTS[0])
    report.figure("memory of one more object", each, MEMORY_AIM, " bytes", most=True)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(*zip(*found, strict=True), marker="o")
        axes.set(xlabel="objects", ylabel="MB above the start", title="Memory of listing and planning")

    report.save(draw)


if __name__ == "__main__":
    main()
