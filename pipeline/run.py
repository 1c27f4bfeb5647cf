"""A whole run: catalog, extract, score, reduce, publish."""

import json
import logging
import secrets
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from pipeline.catalog import Catalog, build_catalog
from pipeline.config import ScoreConfig
from pipeline.encoders import Encoder, EncoderSpec
from pipeline.engine import telemetry
from pipeline.engine.calibrate import announce, estimate
from pipeline.engine.cluster import cluster, pool
from pipeline.errors import ConfigError
from pipeline.io.lock import RunLock
from pipeline.io.storage import Location
from pipeline.log import context
from pipeline.plan.units import Members
from pipeline.publish import publish, say_drift, surroundings
from pipeline.report.build import add_pixels, artist_of, draw_report, window_scores
from pipeline.report.page import write_page
from pipeline.result import Result, read_result
from pipeline.stages.encode import extract
from pipeline.stages.evidence import EvidenceFinder
from pipeline.stages.reduce import MAP_SCALE, Reduced, Reducer
from pipeline.stages.score import plan, score, shape_of
from pipeline.store.features import FeatureStore
from pipeline.store.history import History, read_history
from pipeline.store.run_folder import RunFolder, write_json
from pipeline.tables.references import Chooser
from pipeline.tables.rows import KEPT, counts, drifts, found_now, scores_table
from pipeline.tables.selection import Selection, select
from pipeline.tables.thresholds import pixel_threshold

log = logging.getLogger(__name__)


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
    context["run_id"] = run_id
    prepared = _prepare(config, folder, settings, started)  # before the lock: what cannot work leaves no trace
    with RunLock(folder.output, run_id) as lock:
        return _finished(folder, settings) or _score_lake(prepared, config, folder, settings, started, lock)


def _finished(folder: RunFolder, settings: dict[str, Any]) -> Result | None:
    """Return what a run published, and do what it may have left undone; None when it has published nothing yet."""
    published = folder.finished()
    if published is None:
        return None
    _check_same(folder, settings, published["settings"])
    log.info("run %s is finished already; nothing was done", folder.run_id)
    if folder.work.exists():
        folder.point_at_it()
    return read_result(folder)


@dataclass(frozen=True)
class _Prepared:
    """What is known of a run before anything is written."""

    clock: "_Clock"
    catalog: Catalog
    spec: EncoderSpec
    store: FeatureStore
    history: History
    work: Selection
    choose: Chooser
    expected: dict[str, Members]


def _prepare(config: ScoreConfig, folder: RunFolder, settings: dict[str, Any], started: datetime) -> _Prepared:
    """List, load the encoder, and read earlier runs; raises what shows that the settings cannot work."""
    clock = _Clock()
    log.info("run      %s", folder.run_id)
    catalog = build_catalog(config.input)
    log.info("catalog  %d images, layout %s, %d other files", len(catalog), catalog.layout, catalog.ignored)
    log.info("encoder  %s", config.encoder.name)  # before it is loaded, which takes a while
    spec = Encoder(config.encoder).spec
    store = FeatureStore(
        folder.features / spec.fingerprint,
        grid=spec.grid,
        width=spec.width,
        layers=spec.layers,
        dtype={"fp16": "float16", "fp32": "float32", "int8": "int8"}[config.encoder.store],
    )
    since = started - timedelta(days=config.references.days)
    history = read_history(folder.output, since, spec.fingerprint, settings, KEPT)
    work = select(catalog, config, history)
    choose = Chooser(
        config, store, folder, spec.fingerprint, _window(history, since, config.references.count), settings
    )
    expected = choose.expected(work.todo, work.pinned)
    plan(config, spec, expected, "cpu")  # too little memory is said before anything starts
    clock.lap("catalog")
    return _Prepared(clock, catalog, spec, store, history, work, choose, expected)


def _score_lake(
    prepared: _Prepared,
    config: ScoreConfig,
    folder: RunFolder,
    settings: dict[str, Any],
    started: datetime,
    lock: RunLock,
) -> Result:
    clock, catalog, spec, store = prepared.clock, prepared.catalog, prepared.spec, prepared.store
    history, work, choose, expected = prepared.history, prepared.work, prepared.choose, prepared.expected
    with cluster(config.ray):
        workers = pool(config.ray.score)
        planned = plan(config, spec, expected, workers.device)
        cost, tuning = estimate(planned, shape_of(config, spec), config, spec, workers, folder.output)
        announce(cost, config, {category: of.total for category, of in expected.items()})
        lock.check()
        _begin(folder, settings)
        clock.lap("start")
        extracted = extract(work.todo, config, spec, store)
        clock.lap("extract")
        lock.check()
        images, members = _compare(choose, work.todo, extracted.images)
        clock.lap("compare")
        nodes = score(plan(config, spec, members, workers.device), config, tuning, workers, store, folder)
        clock.lap("score")
        lock.check()
        reducer = Reducer(config, store, folder, catalog.layout, catalog.mask_above)
        reduced = reducer({category: of.total for category, of in members.items()})
        clock.lap("reduce")

        pixel_thresholds = _pixel_thresholds(config, history, reduced)
        inputs = images.filter(images["input"])
        found = found_now(inputs, reduced.images, pixel_thresholds, folder.run_id, started)
        scores = scores_table(catalog, found, work.carried)
        report, extras = folder.results / "report", None
        if most := config.report.images:
            lock.check()
            artist = artist_of(config, catalog.layout, spec.grid, report)
            find = EvidenceFinder(config, store, folder, MAP_SCALE)
            pixels = add_pixels(reduced.pixels, history.pixels)
            scores, extras = draw_report(artist, scores, catalog.table, pixels, folder.run_id, most, find)
        clock.lap("draw")
        drifted = drifts(config.drift, _new(scores, history), history.of_these_settings())
        run = {
            "run_id": folder.run_id,
            "started": started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "counts": counts(scores, folder.run_id)
            | {"features_reused": extracted.reused, "other_files": catalog.ignored},
            **say_drift(drifted),
            "layout": catalog.layout,
            "search": asdict(tuning),
            "estimate": asdict(cost),
            "encoder": asdict(spec),
            "map_scale": MAP_SCALE,
            "nodes": {"images": _by_node(extracted.images["node"]), "units": dict(nodes)},
            "seconds": clock.seconds,
            "settings": settings,
            "config": config.model_dump(mode="json"),
            **surroundings(),
        }
        lock.check()
        if extras is not None:
            write_page(report, run, scores, reduced.metrics, replace(extras, window=window_scores(history)))
        publish(folder, catalog, scores, reduced, run)
        telemetry.count_published(scores, len(run["drifted"]))
        return Result(folder, scores, reduced.metrics, run)


def _window(history: History, since: datetime, count: int) -> pa.Table | None:
    """Return the images that were scored since a time; in categories with fewer than `count`, older ones too.

    Rows that runs carried over are older: where nothing is new for long, they are all there is to compare with.
    """
    scored = history.scored()
    if scored is None:
        return None
    recent = pc.greater_equal(scored["scored_at"], pa.scalar(since))
    many = [
        row["values"]
        for row in pc.value_counts(scored["category"].filter(recent)).to_pylist()
        if row["counts"] >= count
    ]
    few = pc.invert(pc.is_in(scored["category"], value_set=pa.array(many, pa.string())))
    return scored.filter(pc.or_(recent, few))


def _compare(choose: Chooser, todo: pa.Table, extracted: pa.Table) -> tuple[pa.Table, dict[str, Members]]:
    """Choose references among what was extracted; return what is known of each image of `todo`, and what is scored.

    `references` of an image is the number of others that it is compared with.
    """
    images = extracted  # rising, as `todo` is
    for name in ("uri", "etag", "category", "label", "masks", "pinned", "input"):
        images = images.append_column(name, todo[name])
    compared, members = choose(images.filter(pc.is_null(images["reason"])))
    images = images.drop_columns("masks")  # Arrow joins no lists
    images = images.join(compared.rename_columns(["image", "references", "alone"]), "image").sort_by("image")
    alone = pc.is_valid(images["alone"])
    detail = "there is no other image of its category to compare it with"
    columns = {
        "reason": pc.coalesce(images["reason"], images["alone"]),
        "detail": pc.if_else(alone, detail, images["detail"]),
    }
    for name, values in columns.items():
        images = images.set_column(images.schema.get_field_index(name), name, values)
    return images, members


def _pixel_thresholds(config: ScoreConfig, history: History, reduced: Reduced) -> dict[str, float | None]:
    """Return each category's threshold on pixels; the window's maps count where its images are the references."""
    rule, found = config.decision.pixel, {}
    for category, pixels in reduced.pixels.items():
        if config.references.source == "window" and rule.of(category) == "quantile" and category in history.pixels:
            pixels = pixels + history.pixels[category]
        found[category] = pixel_threshold(rule, category, pixels)
    return found


def _new(scores: pa.Table, history: History) -> pa.Table:
    """Return the rows of images that no run of the window has seen."""
    if history.rows is None:
        return scores
    seen = set(zip(history.rows["uri"].to_pylist(), history.rows["etag"].to_pylist(), strict=True))
    names = zip(scores["uri"].to_pylist(), scores["etag"].to_pylist(), strict=True)
    return scores.filter(pa.array([name not in seen for name in names], pa.bool_()))


class _Clock:
    """Seconds of each stage, for run.json and for the metrics."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[stage] = round(now - self._last, 3)
        if ray.is_initialized():
            telemetry.count_stage(stage, self.seconds[stage])
            telemetry.count_traffic()
        self._last = now


def _identity(config: ScoreConfig) -> dict[str, Any]:
    """Return the settings that decide the results; where and how fast they are computed is none of them."""
    kept = config.model_dump(mode="json", exclude={"output", "ray", "drift", "report", "log"})
    kept["input"].pop("max_seconds")
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


def _by_node(nodes: pa.ChunkedArray) -> dict[str, int]:
    return dict(Counter(node for node in nodes.to_pylist() if node is not None))
