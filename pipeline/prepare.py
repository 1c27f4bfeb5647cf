"""What is known of a run before anything is written: what it lists, compares, costs, and whether it can work."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import Catalog, build_catalog, check_categories
from pipeline.config import ScoreConfig
from pipeline.encoders.spec import EncoderSpec
from pipeline.engine.calibrate import Estimate, announce, estimate, memory_of
from pipeline.engine.clock import Clock
from pipeline.engine.cluster import Pool, everywhere, pool
from pipeline.engine.describe import spec_of
from pipeline.engine.tasks import OnRay
from pipeline.geometry import LakeGeometry, usual_geometry
from pipeline.plan.units import UNIT_OPERATIONS, Members, Unit
from pipeline.schema.record import Settings, settings_taken
from pipeline.scoring.scorer import Layer, Scorer, Tuning, make_scorer
from pipeline.stages.depths import find_depths
from pipeline.stages.reach import within
from pipeline.stages.score import layer_of
from pipeline.stages.sizes import find_sizes
from pipeline.store.depths import kept_depths
from pipeline.store.features import FeatureStore
from pipeline.store.history import History, read_history
from pipeline.store.run_folder import RunFolder
from pipeline.store.sizes import kept_sizes
from pipeline.tables.geometry import geometries_of
from pipeline.tables.references import Chooser
from pipeline.tables.selection import Selection, select, window_of
from pipeline.values import LakeValues, Values
from pipeline.views import View

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begun:
    """A run, and what it lists."""

    config: ScoreConfig
    folder: RunFolder
    settings: Settings
    started: datetime
    clock: Clock
    catalog: Catalog


@dataclass(frozen=True)
class Prepared(Begun):
    """What else is known of a run when its cluster is there."""

    spec: EncoderSpec
    store: FeatureStore
    geometry: LakeGeometry
    layer: Layer
    scorer: Scorer
    history: History
    selection: Selection
    choose: Chooser
    encode_pool: Pool
    score_pool: Pool
    memory: float  # bytes that a scoring worker may hold
    cost: Estimate
    tuning: Tuning

    def passes(self, members: dict[str, Members]) -> list[list[Unit]]:
        """Return the units of each pass of scoring."""
        return _plan_passes(self.scorer, self.memory, self.spec, members, self.score_pool.device)


def list_lake(config: ScoreConfig, folder: RunFolder, settings: Settings, started: datetime) -> Begun:
    """List what there is to score; raises `CatalogError`, `NothingToScore`, `ConfigError` for a category not in it."""
    clock = Clock()
    log.info("run      %s", folder.run_id)
    catalog = build_catalog(config.input)
    check_categories(config.decision, catalog)
    log.info("catalog  %d images, layout %s, %d other files", len(catalog), catalog.layout, catalog.ignored)
    clock.lap("catalog")
    return Begun(config, folder, settings, started, clock, catalog)


def prepare(begun: Begun) -> Prepared:
    """Find out what the encoder is, read earlier runs, say what the run costs; raises what shows it cannot work."""
    config, folder, settings = begun.config, begun.folder, begun.settings
    log.info("encoder  %s", config.encoder.name)  # before it is loaded, which takes a while
    spec = spec_of(config.encoder, folder.output)
    store = FeatureStore(
        folder.features / spec.fingerprint,
        grid=spec.grid,
        width=spec.width,
        layers=spec.layers,
        dtype={"fp16": "float16", "fp32": "float32", "int8": "int8"}[config.encoder.store],
    )
    since = begun.started - timedelta(days=config.references.days)
    geometry = _geometry(begun, spec)
    layer = layer_of(store)
    scorer = make_scorer(config, layer)
    score_pool = pool(config.ray.score)
    taken = settings_taken(settings, scorer.untuned(score_pool.device).dtype)
    history = read_history(folder.output, since, spec.fingerprint, taken, geometry)
    selection = select(begun.catalog, config, history)
    earlier = window_of(history, since, config.references.count)
    choose = Chooser(config, store, folder, spec.fingerprint, earlier, taken, geometry)
    expected = choose.expected(selection.todo, selection.pinned)
    memory = memory_of(config.search, score_pool)
    usual = {category: scorer.usual_reach(of.grid) for category, of in expected.items()}
    units = _plan_passes(scorer, memory, spec, within(expected, usual), score_pool.device)
    cost, tuning = estimate(chain.from_iterable(units), scorer, config, layer, score_pool, folder.output)
    announce(cost, config.references, {category: of.total for category, of in expected.items()})
    return Prepared(
        **vars(begun),
        spec=spec,
        store=store,
        geometry=geometry,
        layer=layer,
        scorer=scorer,
        history=history,
        selection=selection,
        choose=choose,
        encode_pool=pool(config.ray.encode),
        score_pool=score_pool,
        memory=memory,
        cost=cost,
        tuning=tuning,
    )


def _geometry(begun: Begun, spec: EncoderSpec) -> LakeGeometry:
    """Find out how the images of each category are seen."""
    config, output = begun.config, begun.folder.output
    encoder, tiles, patch = config.encoder, config.tiles, spec.patch
    usual = usual_geometry(patch, encoder.sides, encoder.short, encoder.area)
    defect = config.input.smallest_defect
    if not encoder.keeps_aspect and (tiles.scale == "none" or (tiles.scale == "auto" and defect is None)):
        return LakeGeometry(usual, values=_values(begun))
    images = begun.catalog.table
    known = kept_sizes(output)
    new = images.filter(pc.invert(pc.is_in(images["category"], value_set=pa.array(sorted(known), pa.string()))))
    found = known | find_sizes(new, config.input, OnRay(everywhere()))
    categories: list[str] = pc.unique(images["category"]).to_pylist()
    sizes = {category: found[category] for category in categories if category in found}
    geometries = geometries_of(config, usual, {category: sizes.get(category) for category in categories})
    lake = LakeGeometry(usual, geometries, _values(begun), sizes)
    for category, size in sizes.items():
        log.info("view     of %r: %s", category, lake.of(category).about(size))
    return lake


def _values(begun: Begun) -> LakeValues:
    """Find out what is seen of the values of each category's images."""
    config, images = begun.config.input, begun.catalog.table
    categories = pc.unique(images["category"]).to_pylist()
    if config.bits != "auto":
        return LakeValues(dict.fromkeys(categories, config.bits), config.channels)
    known = kept_depths(begun.folder.output)
    new = images.filter(pc.invert(pc.is_in(images["category"], value_set=pa.array(sorted(known), pa.string()))))
    chosen = View((1, 1), values=Values(channels=config.channels))
    found = known | find_depths(new, config, chosen, OnRay(everywhere()))
    values = LakeValues({category: found[category] for category in categories}, config.channels)
    for category, bits in values.shallow().items():
        log.info("values   of %r: the low %d of 16 bits count", category, bits)
    return values


def _plan_passes(
    scorer: Scorer, memory: float, spec: EncoderSpec, members: dict[str, Members], device: str
) -> list[list[Unit]]:
    operations = UNIT_OPERATIONS[device]
    return [scorer.units(of_pass, members, spec.layers, memory, operations) for of_pass in range(scorer.passes)]
