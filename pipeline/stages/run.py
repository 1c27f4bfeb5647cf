"""A whole run: catalog, extract, score, reduce, publish."""

import contextlib
import hashlib
import json
import logging
import os
import platform
import secrets
import socket
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import Catalog, build_catalog
from pipeline.config import ScoreConfig
from pipeline.encoders import Encoder
from pipeline.errors import ConfigError, IncompleteRun
from pipeline.images import Reason
from pipeline.lake.features import FeatureStore
from pipeline.lake.lock import RunLock
from pipeline.lake.run import RunFolder, read_table, write_json, write_table
from pipeline.lake.storage import Location
from pipeline.metrics.category import Metric, mean_metrics
from pipeline.plan.units import Members
from pipeline.stages.calibrate import announce, estimate
from pipeline.stages.cluster import cluster, pool
from pipeline.stages.extract import extract
from pipeline.stages.progress import check_rows
from pipeline.stages.reduce import MAP_SCALE, METRICS, Reduced, Reducer
from pipeline.stages.references import draw, expected_members, read_list
from pipeline.stages.score import plan, score, shape_of

log = logging.getLogger(__name__)

VERSIONS = ("ray", "torch", "faiss-gpu", "faiss-cpu", "timm", "open_clip_torch", "pyarrow", "numpy", "pillow")


@dataclass(frozen=True)
class Result:
    """What a run did: where it lies, its scores (a row for each input), metrics by category, and run.json."""

    folder: RunFolder
    scores: pa.Table
    metrics: dict[str, dict[str, Metric]]
    run: dict[str, Any]


def score_lake(config: ScoreConfig) -> Result:
    """Score every image of a lake and publish the run; a run id that was published before is only read.

    Raises `LakeScoreError` and its kinds, with an exit code each; nothing is published then.
    """
    started = datetime.now(UTC)
    run_id = config.output.run_id or f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = RunFolder(Location.parse(config.output.uri), run_id)
    settings = _identity(config)
    if finished := _finished(folder, settings):
        return finished
    with RunLock(folder.output, run_id) as lock:
        return _finished(folder, settings) or _score_lake(config, folder, settings, started, lock)


def _finished(folder: RunFolder, settings: dict[str, Any]) -> Result | None:
    """Return what a run published, and do what it may have left undone; None when it has published nothing yet."""
    published = folder.finished()
    if published is None:
        return None
    _check_same(folder, settings, published["settings"])
    log.info("run %s is finished already; nothing was done", folder.run_id)
    if folder.work.exists():
        folder.point_at_it(published)
    return read_result(folder)


def _score_lake(
    config: ScoreConfig, folder: RunFolder, settings: dict[str, Any], started: datetime, lock: RunLock
) -> Result:
    clock = _Clock()
    catalog = build_catalog(config.input)
    log.info("run      %s", folder.run_id)
    log.info("catalog  %d images, layout %s, %d other files", len(catalog), catalog.layout, catalog.ignored)
    spec = Encoder(config.encoder).spec
    listed = read_list(config)
    expected = expected_members(catalog, config, listed)
    plan(config, spec, expected, "cpu")  # too little memory is said before anything starts
    store = FeatureStore(
        folder.features / spec.fingerprint,
        grid=spec.grid,
        width=spec.width,
        layers=spec.layers,
        dtype={"fp16": "float16", "fp32": "float32", "int8": "int8"}[config.encoder.store],
    )
    clock.lap("catalog")
    with cluster(config.ray):
        workers = pool(config.ray.score)
        planned = plan(config, spec, expected, workers.device)
        cost, tuning = estimate(planned, shape_of(config, spec), config, spec, workers, folder.output)
        announce(cost, config, {category: of.total for category, of in expected.items()})
        _begin(folder, settings)
        clock.lap("start")
        extracted = extract(catalog, config, spec, store)
        clock.lap("extract")
        lock.check()
        images, members = _members(catalog, extracted.images, config, listed, settings, folder)
        nodes = score(plan(config, spec, members, workers.device), config, tuning, workers, store, folder)
        clock.lap("score")
        lock.check()
        reducer = Reducer(config, store, folder, catalog.layout, catalog.mask_above)
        reduced = reducer({category: of.total for category, of in members.items()})
        clock.lap("reduce")

    scores = _scores(catalog, images, reduced)
    run = {
        "run_id": folder.run_id,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "counts": _counts(scores) | {"features_reused": extracted.reused, "other_files": catalog.ignored},
        "layout": catalog.layout,
        "search": asdict(tuning),
        "estimate": asdict(cost),
        "encoder": asdict(spec),
        "map_scale": MAP_SCALE,
        "nodes": {"images": _by_node(extracted.images["node"]), "units": dict(nodes)},
        "seconds": clock.seconds,
        "settings": settings,
        "config": config.model_dump(mode="json"),
        "versions": {"python": platform.python_version()} | _versions(),
        "host": {"name": socket.gethostname(), "machine": platform.machine(), "cpus": os.cpu_count()},
    }
    lock.check()
    _publish(folder, catalog, scores, reduced.metrics, run)
    return Result(folder, scores, reduced.metrics, run)


def read_result(folder: RunFolder) -> Result:
    """Read a published run back."""
    run = folder.finished()
    if run is None:
        raise ConfigError(f"there is no finished run at {folder.results}")
    metrics: dict[str, dict[str, Metric]] = {}
    for row in read_table(folder.results / "metrics.parquet").to_pylist():
        if row["category"] is not None:
            found = Metric(row["value"], row["reason"], row.get("error"))  # runs of before errors were told lack them
            metrics.setdefault(row["category"], {})[row["name"]] = found
    return Result(folder, read_table(folder.results / "scores" / "part-00000.parquet"), metrics, run)


class _Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now


def _identity(config: ScoreConfig) -> dict[str, Any]:
    """Return the settings that decide the results; where and how fast they are computed is none of them."""
    kept = config.model_dump(mode="json", include={"input", "encoder", "method", "references", "search", "metrics"})
    kept["search"].pop("memory_gb")
    kept["references"].pop("quadratic")
    return kept


def _check_same(folder: RunFolder, settings: dict[str, Any], before: dict[str, Any]) -> None:
    if different := [group for group in settings if settings[group] != before.get(group)]:
        raise ConfigError(
            f"run {folder.run_id} in {folder.output} was made with other settings ({', '.join(different)}); "
            "choose another output.run_id"
        )


def _begin(folder: RunFolder, settings: dict[str, Any]) -> None:
    """Claim the run's work folder, which also shows that the output can be written before hours are spent."""
    begun = folder.work / "settings.json"
    if begun.exists():
        _check_same(folder, settings, json.loads(begun.read_bytes()))
        log.info("run %s was begun before; what it finished is kept", folder.run_id)
    write_json(begun, settings)


def _members(
    catalog: Catalog,
    extracted: pa.Table,
    config: ScoreConfig,
    listed: set[str],
    settings: dict[str, Any],
    folder: RunFolder,
) -> tuple[pa.Table, dict[str, Members]]:
    """List the encoded images of each category for the workers, and mark those that are alone in theirs.

    `references` of an image is the number of others that it is compared with.
    """
    facts = ["uri", "category", "label", "masks"]
    images = extracted
    for name in facts:
        images = images.append_column(name, catalog.table[name])
    encoded = images.filter(pc.is_null(images["reason"]))
    members, alone = {}, []
    counts: dict[int, int] = {}
    for category in pc.unique(encoded["category"]).to_pylist():
        index = encoded.filter(pc.equal(encoded["category"], category))
        if index.num_rows < 2:
            alone += index["image"].to_pylist()
            continue
        references, of = draw(category, index["uri"].to_pylist(), config, listed)
        is_reference = np.isin(np.arange(index.num_rows), references)
        index = index.append_column("reference", pa.array(is_reference))
        counts |= dict(zip(index["image"].to_pylist(), (of.references - is_reference).tolist(), strict=True))
        content = json.dumps([index.select(["file", "row", "reference"]).to_pylist(), settings])
        members[category] = replace(of, digest=hashlib.sha256(content.encode()).hexdigest()[:16])
        write_table(folder.index(category), index)
    mask = pc.is_in(images["image"], value_set=pa.array(alone, pa.int64()))
    detail = "mutual scoring needs at least two images of a category"
    for name, value in (("reason", str(Reason.ALONE)), ("detail", detail)):
        images = images.set_column(images.schema.get_field_index(name), name, pc.if_else(mask, value, images[name]))
    compared = pa.array([counts.get(image) for image in images["image"].to_pylist()], pa.int64())
    return images.append_column("references", compared), members


def _scores(catalog: Catalog, images: pa.Table, reduced: Reduced) -> pa.Table:
    """Return one row for each image of the catalog, in its order, with a manifest's further columns behind ours."""
    found = images.drop_columns("masks").join(reduced.images.drop_columns("category"), "image").sort_by("image")
    check_rows("run", catalog.table["image"].to_pylist(), found["image"].to_pylist())
    if unscored := pc.sum(pc.and_(pc.is_null(found["reason"]), pc.is_null(found["score"]))).as_py():
        raise IncompleteRun(f"{unscored} images have neither a score nor a reason; nothing was published")
    columns = {
        "category": found["category"],
        "uri": found["uri"],
        "etag": catalog.table["etag"],
        "status": pc.if_else(pc.is_null(found["reason"]), "scored", "quarantined"),
        "reason": found["reason"],
        "detail": found["detail"],
        "score": found["score"],
        "score_raw": found["score_raw"],
        "stderr": found["stderr"],
        "references": found["references"],
        "label": catalog.table["label"],
        "width": found["width"],
        "height": found["height"],
        "map_uri": found["map_uri"],
    }
    for name in catalog.kept.column_names:
        columns[f"manifest_{name}" if name in columns else name] = catalog.kept[name]
    return pa.table(columns).combine_chunks()


def _counts(scores: pa.Table) -> dict[str, Any]:
    reasons = Counter(reason for reason in scores["reason"].to_pylist() if reason is not None)
    quarantined = sum(reasons.values())
    return {
        "images": scores.num_rows,
        "scored": scores.num_rows - quarantined,
        "quarantined": quarantined,
        "reasons": dict(sorted(reasons.items())),
    }


def _publish(
    folder: RunFolder, catalog: Catalog, scores: pa.Table, metrics: dict[str, dict[str, Metric]], run: dict[str, Any]
) -> None:
    listed = catalog.table.drop_columns(["image", "reason", "detail"])
    write_table(folder.results / "catalog.parquet", listed)
    write_table(folder.results / "scores" / "part-00000.parquet", scores)
    mean = mean_metrics(metrics.values())
    rows = [
        {"category": category, "name": name, **asdict(metric)}
        for category, of in [*metrics.items(), (None, mean)]  # null: the mean over the categories
        for name, metric in of.items()
    ]
    write_table(folder.results / "metrics.parquet", pa.Table.from_pylist(rows, schema=METRICS))
    if any(metric.value is not None for of in metrics.values() for metric in of.values()):
        content = {name: {key: asdict(metric) for key, metric in of.items()} for name, of in metrics.items()}
        means = {name: asdict(metric) for name, metric in mean.items()}
        write_json(folder.results / "metrics.json", {"categories": content, "mean": means})
    folder.publish(run)


def _by_node(nodes: pa.ChunkedArray) -> dict[str, int]:
    return dict(Counter(node for node in nodes.to_pylist() if node is not None))


def _versions() -> dict[str, str]:
    found = {}
    for package in VERSIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
