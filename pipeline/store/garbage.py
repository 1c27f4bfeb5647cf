"""Garbage in the feature store: files whose features no published run uses.

A run uses the features of the images that it scored; where references are turned, also what was seen of these images
turned, which any of them may be for. A run that is not published yet has no scores to go by: what was
written lately, or since the first of such runs began, may be for it and stays.
"""

import logging
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError, DamagedFile, StorageError
from pipeline.geometry import LakeGeometry, angles
from pipeline.io.names import partition
from pipeline.io.parquet import DAMAGE, open_parquet
from pipeline.io.storage import Entry, Location
from pipeline.store.features import READERS, check_block, feature_key
from pipeline.store.published import Published
from pipeline.store.run_folder import RunFolder

KEYED = ("uri", "etag", "region_uri", "region_etag")  # columns of scores that keys of features are made of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tally:
    """Files, the images in them (none in damaged ones), and bytes."""

    files: int = 0
    images: int = 0
    bytes: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.files + other.files, self.images + other.images, self.bytes + other.bytes)


@dataclass(frozen=True)
class Sweep:
    """What was found of one encoder fingerprint: what stays, and what is garbage.

    `spare` are images that no run uses in files that stay for their neighbours, `young` files that no run uses and
    that stay for their age, `damaged` files that cannot be read.
    """

    fingerprint: str
    kept: Tally = Tally()
    garbage: Tally = Tally()
    spare: int = 0
    young: int = 0
    damaged: int = 0

    def __add__(self, other: "Sweep") -> "Sweep":
        return Sweep(
            self.fingerprint,
            self.kept + other.kept,
            self.garbage + other.garbage,
            self.spare + other.spare,
            self.young + other.young,
            self.damaged + other.damaged,
        )


@dataclass(frozen=True)
class _Scores:
    """The file of a published run's scores, and the categories in it, by the name of their folder of features.

    `geometry` is how its images were seen, and its references as so many `turns`.
    """

    file: Location
    categories: dict[str, str]
    geometry: LakeGeometry
    turns: int


def judge(fingerprint: str, entry: Entry, keys: Sequence[str] | None, used: Set[str], before: float) -> Sweep:
    """Say whether one file is garbage: written `before` a moment, and none of its keys (None: damaged) is used."""
    images = keys or ()
    tally, found = Tally(1, len(images), entry.size), sum(key in used for key in images)
    damaged = int(keys is None)
    if found:
        return Sweep(fingerprint, kept=tally, spare=len(images) - found)
    if entry.modified >= before:
        return Sweep(fingerprint, kept=tally, young=1, damaged=damaged)
    return Sweep(fingerprint, garbage=tally, damaged=damaged)


def begun_runs(output: Location) -> dict[str, float]:
    """Return the runs that have begun and are not published, each with the time of its oldest file in work/."""
    begun: dict[str, float] = {}
    for entry in (output / "work").files():
        run_id = entry.path.partition("/")[0].removeprefix("run_id=")
        begun[run_id] = min(entry.modified, begun.get(run_id, entry.modified))
    return {run_id: since for run_id, since in begun.items() if RunFolder(output, run_id).finished() is None}


def sweep(output: Location, before: float, drop: bool, quick: bool = False) -> list[Sweep]:
    """Find, and `drop`, the features below `output` that no published run uses, in files written `before` a moment.

    Reads all features to find what is damaged, which is logged; `quick` reads no tokens. Holds the keys of one category
    of one encoder at a time.

    Raises `ConfigError` when there are no features, and `StorageError`: also for a published run that cannot be read,
    which may use any of them.
    """
    blocks: dict[str, dict[str, dict[str, Entry]]] = {}
    for entry in (output / "features").files():
        if entry.problem is None and fnmatchcase(entry.path, "*/*/category=*/*.parquet"):
            fingerprint, kind, folder, name = entry.path.split("/", 3)
            if kind == "index":  # it is not believed of what is gone
                continue
            of_folder = blocks.setdefault(fingerprint, {}).setdefault(folder, {})
            of_folder[name] = _together(of_folder.get(name), replace(entry, path=f"{folder}/{name}"))
    if not blocks:
        raise ConfigError(f"there are no features below {output}; give the output.uri of the runs")
    before = min([before, *begun_runs(output).values()])
    runs = _published(output)  # listed after the features: a run that is published in between counts
    found = []
    for fingerprint, folders in sorted(blocks.items()):
        total = Sweep(fingerprint)
        for folder, entries in sorted(folders.items()):
            used = _used(runs.get(fingerprint, []), folder, fingerprint)
            store = output / "features" / fingerprint
            total += _sweep_folder(store, fingerprint, list(entries.values()), used, before, drop, quick)
        found.append(total)
    return found


def _together(one: Entry | None, other: Entry) -> Entry:
    """Return the two files of a block as one: both sizes, and the time of the younger."""
    if one is None:
        return other
    return replace(one, size=one.size + other.size, modified=max(one.modified, other.modified))


def sweep_unfinished(output: Location, before: float, drop: bool) -> int:
    """Find, and `drop`, what killed processes were writing before a moment; return how many files that is."""
    found = [entry.path for entry in output.unfinished() if entry.modified < before]
    if drop:
        for path in found:
            (output / path).remove()
    return len(found)


def _sweep_folder(
    store: Location, fingerprint: str, entries: Sequence[Entry], used: Set[str], before: float, drop: bool, quick: bool
) -> Sweep:
    total, garbage = Sweep(fingerprint), []
    with ThreadPoolExecutor(READERS) as workers:
        read = workers.map(lambda entry: _keys(store, entry.path, quick), entries)
        for entry, keys in zip(entries, read, strict=True):
            verdict = judge(fingerprint, entry, keys, used, before)
            total += verdict
            if verdict.garbage.files:
                garbage.append(entry.path)
        if drop:
            for part in ("images", "tokens"):  # the part first that makes a block count
                list(workers.map(Location.remove, (store / part / path for path in garbage)))
    return total


def _published(output: Location) -> dict[str, list[_Scores]]:
    """Return the scores of all published runs, by the fingerprint of their encoder."""
    found: dict[str, list[_Scores]] = {}
    for folder in (output / "runs").folders():
        run = RunFolder(output, folder.removeprefix("run_id="))
        if (published := run.finished()) is None:
            continue
        file, names = Published(run, published).location("scores"), set[str]()
        for batch in _batches(file, ["category"]):
            names.update(batch["category"].unique().to_pylist())
        turns = published.setting("references.turns")
        turns = turns if isinstance(turns, int) else 1
        scores = _Scores(file, {partition("category", name): name for name in names}, published.geometry, turns)
        found.setdefault(published.encoder.fingerprint, []).append(scores)
    return found


def _used(runs: Sequence[_Scores], folder: str, fingerprint: str) -> set[str]:
    """Return the keys in a category's folder that runs use."""
    used: set[str] = set()
    # of all runs: a window's references are in the scores of nights before, whose settings may be others
    turned = sorted({angle for run in runs for angle in (0, *angles(run.turns))})
    for run in runs:
        seen = [replace(run.geometry, turned=angle) for angle in turned]
        if (category := run.categories.get(folder)) is None:
            continue
        for batch in _batches(run.file, ["category", "status", *KEYED]):
            ours = batch.filter(pc.and_(pc.equal(batch["category"], category), pc.equal(batch["status"], "scored")))
            there = set(ours.schema.names)  # runs of earlier versions looked everywhere
            named = (ours[name].to_pylist() if name in there else [None] * ours.num_rows for name in KEYED)
            for uri, etag, *region in zip(*named, strict=True):
                used.update(feature_key(uri, etag, fingerprint, of.key(category, *region)) for of in seen)
    return used


def _batches(file: Location, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield a few columns of a table that may be too large for memory; raises `StorageError`."""
    try:
        with file.open() as opened:
            yield from open_parquet(opened, checksums=True).iter_batches(columns=columns, use_threads=False)
    except DAMAGE as error:
        raise StorageError(f"cannot read {file}: {error}; mend or remove its run") from error


def _keys(store: Location, file: str, quick: bool) -> list[str] | None:
    """Return the keys of a block; None when it is damaged, or was never written to its end.

    Raises `StorageError` when the store does not say.
    """
    if not (store / "images" / file).exists():
        return None
    try:
        return check_block(store, file, quick)
    except DamagedFile as error:
        log.warning("%s", error)
        return None
