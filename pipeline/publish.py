"""What a run leaves for readers, written last."""

import contextlib
import logging
import os
import platform
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa

from pipeline.catalog import Catalog
from pipeline.geometry import Geometry
from pipeline.io.parquet import write_parquet
from pipeline.metrics.category import mean_metrics
from pipeline.metrics.stream import MAP_SCALE
from pipeline.plan.units import Reach
from pipeline.prepare import Prepared
from pipeline.schema.record import GeometryRecord, RunRecord
from pipeline.schema.tables import FAMILIES, LISTED, METRICS, PARTS, PIXELS, REGIONS, VERSION
from pipeline.stages.encode import Extracted
from pipeline.stages.reduce import Reduced
from pipeline.store.published import file_record
from pipeline.store.run_folder import RunFolder, to_json
from pipeline.tables.decisions import Decision
from pipeline.tables.drift import Drift
from pipeline.tables.rows import counts

log = logging.getLogger(__name__)

VERSIONS = ("ray", "torch", "faiss-gpu", "faiss-cpu", "timm", "open_clip_torch", "pyarrow", "numpy", "pillow")


def publish(
    folder: RunFolder,
    catalog: Catalog,
    scores: pa.Table,
    regions: pa.Table,
    families: pa.Table,
    parts: pa.Table,
    reduced: Reduced,
    run: RunRecord,
) -> RunRecord:
    """Write tables, then run.json with a list of them, then latest.json; returns run.json, raises `StorageError`.

    The report, where there is one, is written already.
    """
    metrics = reduced.metrics
    pixels = [{"category": category, "counts": counted} for category, counted in reduced.pixels.items()]
    mean = mean_metrics(metrics.values())
    rows = [
        {"category": category, "name": name, **asdict(metric)}
        for category, of in [*metrics.items(), (None, mean)]  # null: the mean over the categories
        for name, metric in of.items()
    ]
    contents = {
        "scores": write_parquet(scores),
        "regions": write_parquet(REGIONS.cast(regions)),
        "families": write_parquet(FAMILIES.cast(families)),
        "parts": write_parquet(PARTS.cast(parts)),
        "catalog": write_parquet(LISTED.cast(catalog.table)),
        "pixels": write_parquet(PIXELS.rows(pixels)),
        "metrics": write_parquet(METRICS.rows(rows)),
    }
    if any(metric.value is not None for of in metrics.values() for metric in of.values()):
        content = {name: {key: asdict(metric) for key, metric in of.items()} for name, of in metrics.items()}
        means = {name: asdict(metric) for name, metric in mean.items()}
        contents["metrics_json"] = to_json({"categories": content, "mean": means})
    files = {}
    for what, written in contents.items():
        path = folder.part(what)
        (folder.results / path).write_bytes(written)
        files[what] = file_record(path, written)
    page = folder.report / "index.html"
    if page.exists():
        files["report"] = file_record(page.path.removeprefix(f"{folder.results.path}/"), page.read_bytes())
    listed = run.model_copy(update={"files": files})
    folder.publish(listed)
    return listed


def describe_run(
    prepared: Prepared,
    folder: RunFolder,
    scores: pa.Table,
    tries: Sequence[Extracted],
    units_by_node: Mapping[str, int],
    reaches: Mapping[str, Reach],
    decisions: Mapping[str, Decision],
    drift: Mapping[str, Any],
) -> RunRecord:
    """Return run.json: what was scored, with which settings, versions and seconds; its list of files is still empty.

    `tries` are what was extracted, and again where damage was found; `units_by_node` counts the units that each node
    scored, `reaches` and `decisions` are of each category, `drift` is what `say_drift` returned.
    """
    images = Counter(node for of in tries for node in of.images["node"].to_pylist() if node is not None)
    more = {"features_reused": tries[0].reused, "other_files": prepared.catalog.ignored}
    told = {
        "version": VERSION,
        "run_id": prepared.folder.run_id,
        "attempt": folder.attempt,
        "files": {},
        "started": prepared.started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "counts": counts(scores, prepared.folder.run_id) | more,
        "reaches": {category: asdict(reach) for category, reach in reaches.items()},
        "decisions": {category: asdict(decision) for category, decision in decisions.items()},
        **drift,
        "layout": prepared.catalog.layout,
        "bits": prepared.geometry.values.shallow(),
        "views": {category: _view(of) for category, of in prepared.geometry.categories.items()},
        "search": asdict(prepared.tuning),
        "estimate": asdict(prepared.cost),
        "encoder": asdict(prepared.spec),
        "map_scale": MAP_SCALE,
        "nodes": {"images": dict(images), "units": dict(units_by_node)},
        "seconds": prepared.clock.seconds,
        "settings": prepared.settings,
        "config": prepared.config.model_dump(mode="json"),
        **surroundings(),
    }
    return RunRecord.model_validate(told)


def _view(geometry: Geometry) -> dict[str, Any]:
    return {name: getattr(geometry, name) for name in GeometryRecord.model_fields}


def say_drift(drifted: Mapping[str, Mapping[str, Drift]]) -> dict[str, Any]:
    """Return what run.json says of drift, and log a line for each quantity that drifted, for an alert to hang on."""
    for category, of in drifted.items():
        for name, drift in of.items():
            if drift.drifted:
                facts = {"event": "drift", "category": category, "quantity": name, **asdict(drift)}
                log.warning(
                    "drift    %s of %r: %.3g, before %.3g", name, category, drift.now, drift.before, extra=facts
                )
    return {
        "drifted": sorted(category for category, of in drifted.items() if any(drift.drifted for drift in of.values())),
        "drift": {category: {name: asdict(drift) for name, drift in of.items()} for category, of in drifted.items()},
    }


def surroundings() -> dict[str, Any]:
    """Return what run.json says of versions and the host."""
    return {
        "versions": {"python": platform.python_version()} | _versions(),
        "host": {"name": socket.gethostname(), "machine": platform.machine(), "cpus": os.cpu_count()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in VERSIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
