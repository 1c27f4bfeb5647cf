"""run.json: what a run says of itself, in the form of today and as earlier versions wrote it."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, ValidationError, field_serializer
from pydantic_core import from_json

from pipeline.geometry import Geometry, LakeGeometry, usual_geometry
from pipeline.schema.tables import VERSION
from pipeline.values import LakeValues

Settings = Mapping[str, JsonValue]  # groups of settings, as they are dumped


RENAMED = {"burst": "near_duplicates"}  # settings of references
ONLY_METHOD = {"name": "musc", "variance": 0.99}  # before there were two, and what the second is set to by default
PRESETS = {"musc": "paper", "subspace": "subspace"}  # of method.name, which version 4 calls method.preset
OLD_MOST_PIXELS = 100_000_000  # of before version 5, where nobody set it: what is the default now goes unsaid
WHOLE = {"radius": "auto"}  # of search, before there was another way


OLD_FILES = {  # of runs that did not list them
    "scores": "scores/part-00000.parquet",
    "catalog": "catalog.parquet",
    "pixels": "pixels.parquet",
    "metrics": "metrics.parquet",
    "report": "report/index.html",
}


CHECKSUM = "sha256"  # key of a run.json's own


class NewerVersion(Exception):
    """A run.json that says what this version does not know."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Counts(_Record):
    """Rows of scores of each kind, and what else was counted."""

    images: int
    """All rows."""
    scored: int
    carried: int | None
    """Of those scored, by an earlier run; null in runs of before there were any."""
    quarantined: int
    reasons: dict[str, int]
    """Quarantined rows by reason."""
    anomalous: int | None
    """Null in runs of before that was decided."""
    features_reused: int
    """Images whose features were stored already."""
    other_files: int
    """Files of the lake that are no inputs."""


class DriftRecord(_Record):
    """How far a quantity moved since the nights before."""

    before: float
    now: float
    change: float
    drifted: bool


class GeometryRecord(_Record):
    """How the images of a category are seen, where not as `encoder.size` has all of them squeezed."""

    patch: int
    """Side of a patch, in pixels of what is encoded."""
    sides: tuple[int, int] | None
    """Height and width that every image is squeezed to."""
    short: int
    """Pixels that the shorter side is brought to, aspect kept; 0 where that is not said."""
    scale: float
    """Pixels that are seen for one of the image; 0 where that is not said."""
    tile: int
    """Side of the tiles that are encoded; 0 where images are encoded whole."""
    overlap: int
    """Pixels that neighbouring tiles share, at least."""

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.patch, self.sides, self.short, self.scale, self.tile, self.overlap)


class ReachRecord(_Record):
    """Where a category's nearest patches were looked for."""

    radius: int | None
    """Patches around a patch's own place; null: the whole image."""
    kept: float | None
    """Share of the distances that stay as they are in the whole image, of a sample; null where it was not measured."""
    products: float
    """Share of the pairs of patches that were compared."""
    thin: int = 1
    """Of a reference's patches every so many rows and columns one was compared with."""


class DecisionRecord(_Record):
    """How the threshold of a category was found, how sure it is, and what it did."""

    rule: str
    threshold: float | None
    low: float | None
    """The least that it may be, by 5 % of draws of what it was found from."""
    high: float | None
    false_alarms: float | None
    """Share of normal images that are expected above it; null where that is not known."""
    recall: float | None
    """Share of defects that are."""
    flagged: int
    """Images of this run above it."""
    unsure: int
    """Images of this run between `low` and `high`."""
    clear: bool | None
    """Whether few are unsure, of those that are flagged; where not, trust the order and not the line."""


class SearchRecord(_Record):
    """The search that was taken, and what a worker did in a second; null in runs of before that was measured."""

    kind: str
    tile: int | None
    products: float | None
    aggregated: float | None
    dtype: str | None = None
    """Precision of the products; null in runs of before it was told, which took that of the settings."""
    near_tile: int | None = None
    """Of the fused search within a radius; 0 where another one was taken."""


class CostRecord(_Record):
    """Multiply-adds, values averaged over neighbourhoods, bytes of tokens read."""

    products: float
    aggregated: float
    read: float


class EstimateRecord(_Record):
    """What scoring was to cost, and the seconds of its workers."""

    cost: CostRecord
    seconds: float
    workers: int


class EncoderRecord(_Record):
    """The encoder; runs with the same fingerprint share features."""

    name: str
    grid: tuple[int, int]
    """Rows and columns of patches."""
    width: int
    """Values of a token."""
    embedding: int
    """Values of an image's embedding."""
    layers: tuple[int, ...]
    fingerprint: str
    patch: int | None = None
    """Side of a patch in pixels; null in runs of before that was told."""


class NodesRecord(_Record):
    """Images encoded and units scored by each node; none in runs of before that was told."""

    images: dict[str, int]
    units: dict[str, int]


class HostRecord(_Record):
    """The driver's machine."""

    name: str
    machine: str
    cpus: int | None


class FileRecord(_Record):
    """A file of a published run, and what was written into it; null in runs of versions that did not tell it."""

    path: str
    """Below the run's folder."""
    size: int | None
    """In bytes."""
    sha256: str | None


class RunRecord(_Record):
    """A published run. What is null by its type is null in runs of versions that did not tell it."""

    version: int
    run_id: str
    attempt: int
    """Which try it was, from 0: each has files of its own names."""
    files: dict[str, FileRecord]
    """What readers read, by what it is: scores, catalog, ... Maps are named by the scores, the report's by its page."""
    started: AwareDatetime
    finished: AwareDatetime
    counts: Counts
    reaches: dict[str, ReachRecord]
    """By category; none in runs of before there was another than the whole image."""
    decisions: dict[str, DecisionRecord]
    """By category; none in runs of before that was told."""
    drifted: list[str] | None
    """Categories of which something drifted."""
    drift: dict[str, dict[str, DriftRecord]]
    """By category, then quantity."""
    layout: str
    bits: dict[str, int] = {}
    """Bits that count in the 16-bit files of a category, where fewer than 16 do; not written where there is none."""
    views: dict[str, GeometryRecord] = {}
    """How images of a category are seen, where not squeezed to `encoder.size`; not written where there is none."""
    search: SearchRecord
    estimate: EstimateRecord | None
    encoder: EncoderRecord
    map_scale: float
    """Distance of one grey level of a map."""
    nodes: NodesRecord
    seconds: dict[str, float]
    """Of each stage, in their order."""
    settings: Settings
    """Those that decide the results."""
    config: Settings
    """All of them."""
    versions: dict[str, str]
    """Of Python and packages."""
    host: HostRecord

    @field_serializer("started", "finished")
    def _as_text(self, moment: datetime) -> str:
        return moment.isoformat()  # pydantic would write Z for +00:00

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read the run.json of any version so far.

        Raises:
            NewerVersion: when it says what this version does not know.
            ValueError: when it is damaged.
        """
        raw = from_json(content)  # unlike the standard library's, it refuses what is nested without end
        if not isinstance(raw, dict):
            raise ValueError("it is no JSON object")
        checksum = raw.pop(CHECKSUM, None)
        if checksum not in (None, _checksum(raw)):
            raise ValueError("its checksum is another one")
        try:
            return cls.model_validate(upgrade(raw))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                raise NewerVersion(f"it has {where}") from error
            raise ValueError(f"{where}: {first['msg']}") from error

    @property
    def values(self) -> LakeValues:
        """What was seen of the images' values."""
        return LakeValues(self.bits, channels_of(self.settings))

    @property
    def geometry(self) -> LakeGeometry:
        """How the run saw images. Raises `ValueError` where its settings say no size."""
        of_categories = {category: record.geometry for category, record in self.views.items()}
        size, (rows, columns) = setting(self.config, "encoder.size"), self.encoder.grid
        kept = size if isinstance(size, dict) else {}
        height, width = size if isinstance(size, list) else (size, size)
        sides = (height, width) if isinstance(height, int) and isinstance(width, int) else (rows, columns)
        patch = self.encoder.patch or max(1, sides[0] // rows)
        short, area = (side if isinstance(side := kept.get(name), int) else None for name in ("short", "area"))
        return LakeGeometry(usual_geometry(patch, sides, short, area), of_categories, self.values)

    def told(self) -> dict[str, Any]:
        """Return what it says."""
        empty = {name for name in ("bits", "views") if not getattr(self, name)}
        return self.model_dump(mode="json", exclude=empty)

    def written(self) -> dict[str, Any]:
        """Return what is written: what it says, and a checksum of that."""
        told = self.told()
        return told | {CHECKSUM: _checksum(told)}

    @property
    def taken(self) -> Settings:
        """The settings, with the precision of the products that was taken."""
        return settings_taken(self.settings, self.search.dtype)

    def setting(self, name: str) -> JsonValue:
        """Return a setting of a dotted name; None where the run's version had it not yet."""
        return setting(self.settings, name)


def _checksum(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def setting(settings: Settings, name: str) -> JsonValue:
    """Return the setting of a dotted name; None where there is none."""
    found: JsonValue = dict(settings)
    for part in name.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found


def settings_taken(settings: Settings, dtype: str | None) -> Settings:
    """Return settings with the precision of the products that was taken, where that is known."""
    search = settings.get("search")
    if dtype is None or not isinstance(search, dict):
        return settings
    return {**settings, "search": {**search, "dtype": dtype}}


def channels_of(settings: Settings) -> tuple[int, int, int] | None:
    """Return `input.channels` of settings; None where there were none."""
    found = setting(settings, "input.channels")
    if not isinstance(found, list):
        return None
    red, green, blue = (int(str(channel)) for channel in found)
    return red, green, blue


def box_of(settings: Settings) -> tuple[str, ...] | None:
    """Return `input.box` of settings; None where it was as usual."""
    found = setting(settings, "input.box")
    return tuple(map(str, found)) if isinstance(found, list) else None


def upgrade(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a run.json as this version writes it; raises `NewerVersion`.

    Version 1 stands for all that did not say which they are. They had no `search` but its kind, then no `estimate`,
    `nodes`, decisions and drift, and last another name for a setting. Version 2 listed no files; version 3 called the
    preset of a method its name, and had no regions; version 4 had no parts and no boxes, and
    version 5 wrote maps as pictures.
    """
    version = raw.get("version", 1)
    if not isinstance(version, int) or version > VERSION:
        raise NewerVersion(f"it is of version {version}, and this one knows up to {VERSION}")
    if version == VERSION:
        return dict(raw)
    found: dict[str, Any] = {"reaches": {}, "decisions": {}} | dict(raw) | {"version": VERSION}
    if version < 3:
        found = {"drifted": None, "drift": {}, "estimate": None, "nodes": {"images": {}, "units": {}}} | found
        found["attempt"] = 0
        found["files"] = {what: {"path": path, "size": None, "sha256": None} for what, path in OLD_FILES.items()}
    if isinstance(found.get("counts"), dict):
        found["counts"] = {"carried": None, "anomalous": None} | found["counts"]
    if isinstance(found.get("search"), str):
        found["search"] = {"kind": found["search"], "tile": None, "products": None, "aggregated": None}
    for name in ("settings", "config"):
        if isinstance(found.get(name), dict):
            found[name] = upgrade_settings(found[name])
    return found


def upgrade_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of an earlier version by the names of this one, with what was the only way before."""
    found = dict(settings)
    if isinstance(of_input := settings.get("input"), dict) and of_input.get("max_pixels") == OLD_MOST_PIXELS:
        found["input"] = {name: value for name, value in of_input.items() if name != "max_pixels"}
    if isinstance(references := settings.get("references"), dict):
        found["references"] = {RENAMED.get(name, name): value for name, value in references.items()}
    if isinstance(method := settings.get("method"), dict):
        method = ONLY_METHOD | method
        if "preset" not in method:
            method["preset"] = PRESETS.get(str(method["name"]))
        method.pop("name", None)
        found["method"] = method
    if isinstance(search := settings.get("search"), dict):
        found["search"] = WHOLE | search
    return found
