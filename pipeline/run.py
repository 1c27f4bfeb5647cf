"""A whole run: the way of the data, top to bottom, from a lake to a published run."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import ScoreConfig
from pipeline.encoders.describe import keep_spec
from pipeline.engine.cluster import cluster, everywhere
from pipeline.engine.tasks import OnRay
from pipeline.engine.telemetry import count_published, counted
from pipeline.io.lock import RunLock
from pipeline.io.storage import Location
from pipeline.log import context
from pipeline.metrics.stream import MAP_SCALE
from pipeline.plan.units import Reach
from pipeline.prepare import Prepared, list_lake, prepare
from pipeline.publish import describe_run, publish, say_drift
from pipeline.report.build import add_pixels, draw_report, drawing_of, window_scores
from pipeline.report.page import write_page
from pipeline.result import Result
from pipeline.resume import begin, finished_run, identity
from pipeline.stages.decode import DecodeBlock
from pipeline.stages.encode import Extracted, extract
from pipeline.stages.evidence import FindEvidence
from pipeline.stages.families import FindFamilies, find_families
from pipeline.stages.heal import CheckFiles, healing
from pipeline.stages.near_duplicates import FindNearDuplicates, exclude_pairs
from pipeline.stages.reach import FindReach, find_reaches, within
from pipeline.stages.reduce import Reduced, Reduction
from pipeline.stages.regions import FindRegions, find_regions
from pipeline.stages.score import ScoreUnits, score
from pipeline.stages.turns import encode_turned
from pipeline.store.depths import keep_depths
from pipeline.store.run_folder import RunFolder
from pipeline.store.sizes import keep_sizes
from pipeline.tables.decisions import decisions_of
from pipeline.tables.families import known_families, renamed, with_families
from pipeline.tables.parts import metrics_of_parts, parts_table, with_parts
from pipeline.tables.regions import regions_table
from pipeline.tables.rows import anomalous_images, decided_now, drifts, scores_table, with_catalog, with_references
from pipeline.tables.selection import unseen
from pipeline.tables.thresholds import pixel_thresholds


def score_lake(config: ScoreConfig) -> Result:
    """Score every image of a lake and publish the run; a run id that was published before is only read.

    Raises `LakeScoreError` and its kinds, with an exit code each; nothing is published then.
    """
    started = datetime.now(UTC)
    run_id = config.output.run_id or f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder, settings = RunFolder(Location.parse(config.output.uri), run_id), identity(config)
    if finished := finished_run(folder, settings):
        return finished
    context["run_id"] = run_id
    begun = list_lake(config, folder, settings, started)
    with cluster(config.ray):
        prepared = prepare(begun)  # before the lock: what cannot work leaves no trace
        with RunLock(folder.output, run_id) as lock, counted():
            return finished_run(folder, settings) or _score(prepared, lock)


def _score(prepared: Prepared, lock: RunLock) -> Result:
    config, store, clock, geometry = prepared.config, prepared.store, prepared.clock, prepared.geometry
    catalog, tasks = prepared.catalog, OnRay(everywhere())
    lock.check()
    folder = begin(prepared.folder, prepared.settings)
    if config.input.bits == "auto":
        keep_depths(folder.output, geometry.values.bits)  # the next night reads its images alike
    keep_sizes(folder.output, geometry.sizes)
    keep_spec(folder.output, config.encoder, prepared.spec)  # the next run starts without a worker's help
    clock.lap("start")

    # images to scores, again where what is stored is damaged
    tries: list[Extracted] = []
    found = healing(lambda: _compute(prepared, folder, lock, tasks, tries), CheckFiles(store, folder), tasks)
    images, reduced = found.images, found.reduced

    # one row for each input
    decisions = decisions_of(reduced.images, len(catalog))
    of_images = {category: of.threshold for category, of in decisions.items()}
    thresholds = pixel_thresholds(config, prepared.history.pixels, reduced.pixels, of_images)
    decided = decided_now(images.filter(images["input"]), reduced.images, thresholds, folder.run_id, prepared.started)
    anomalous = anomalous_images(decided)
    find = FindRegions(config, prepared.layer, geometry, store, folder, MAP_SCALE, anomalous)
    decided, found_regions = find_regions(images, decided, find, tasks)
    find_alike = FindFamilies(config.families, folder, prepared.history.families, catalog.families)
    members = find_families(found_regions, find_alike, tasks)
    decided, found_regions = with_families(decided, found_regions, members)
    carried = prepared.selection.carried
    if carried is not None:
        carried = renamed(carried, members)
    scores = scores_table(catalog, decided, carried)
    regions = regions_table(found_regions, renamed(prepared.history.regions, members), carried, folder.run_id)
    families = known_families(members, prepared.history.families)
    parts = parts_table(scores)
    reduced = replace(reduced, metrics=with_parts(reduced.metrics, metrics_of_parts(parts)))
    clock.lap("regions")
    extras = None
    if most := config.report.images:
        lock.check()
        drawing = drawing_of(config, catalog.layout, geometry, folder.report)
        find_evidence = FindEvidence(config, prepared.layer, geometry, store, folder, MAP_SCALE, anomalous)
        pixels = add_pixels(reduced.pixels, prepared.history.pixels)
        scores, extras = draw_report(drawing, scores, catalog.table, pixels, folder.run_id, most, tasks, find_evidence)
    clock.lap("draw")

    # what readers see, last
    drift = say_drift(drifts(config.drift, unseen(scores, prepared.history), prepared.history.of_these_settings()))
    run = describe_run(prepared, folder, scores, tries, found.units_by_node, found.reaches, decisions, drift)
    lock.check()
    if extras is not None:
        write_page(folder.report, run, scores, reduced.metrics, replace(extras, window=window_scores(prepared.history)))
    run = publish(folder, catalog, scores, regions, families, parts, reduced, run)
    count_published(scores, len(run.drifted or ()))
    return Result(folder, scores, reduced.metrics, run)


@dataclass(frozen=True)
class _Computed:
    """What was found out about the images that a run encodes, each a row of `images`."""

    images: pa.Table
    units_by_node: Mapping[str, int]
    reduced: Reduced
    reaches: Mapping[str, Reach]


def _compute(prepared: Prepared, folder: RunFolder, lock: RunLock, tasks: OnRay, tries: list[Extracted]) -> _Computed:
    """Do the work once; what it extracts is told in `tries`, since damage may end it later."""
    config, store, clock, geometry = prepared.config, prepared.store, prepared.clock, prepared.geometry
    todo, layer, catalog = prepared.selection.todo, prepared.layer, prepared.catalog

    # images to tokens
    lock.check()
    decode_and_encode = OnRay(prepared.encode_pool, before=DecodeBlock(config.input, geometry))
    extracted = extract(todo, config, prepared.spec, geometry, store, decode_and_encode)
    tries.append(extracted)
    clock.lap("extract")

    # who is compared with whom
    lock.check()
    encoded = with_catalog(extracted.images, todo)
    alone, members = prepared.choose(encoded.filter(pc.is_null(encoded["reason"])))
    if config.references.turns > 1:
        encode_turned(
            members,
            todo,
            config,
            prepared.spec,
            geometry,
            store,
            folder,
            lambda seen: OnRay(prepared.encode_pool, before=DecodeBlock(config.input, seen)),
        )
    nearest = config.references.count if config.references.mode == "nearest" else 0
    near_duplicates = FindNearDuplicates(store, folder, config.references.near_duplicates, nearest)
    compared = pa.concat_tables([alone, exclude_pairs(members, near_duplicates, tasks)])

    reaches = find_reaches(members, FindReach(config, layer, store, folder), tasks)
    members = within(members, reaches)
    clock.lap("compare")

    # tokens to patch scores
    passes, score_units = prepared.passes(members), ScoreUnits(config, layer, prepared.tuning, store, folder)
    units_by_node = score(passes, score_units, OnRay(prepared.score_pool))
    clock.lap("score")

    # patch scores to maps, scores, thresholds, metrics
    lock.check()
    reduction = Reduction(config, layer, geometry, store, folder, catalog.layout)
    reduced = reduction({category: members[category].total for category in members}, tasks)
    clock.lap("reduce")
    return _Computed(with_references(encoded, compared), units_by_node, reduced, reaches)
