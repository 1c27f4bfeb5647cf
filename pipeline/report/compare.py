"""Two runs beside each other: what was set otherwise, and what that changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.report.columns import finite_columns
from pipeline.report.summary import categories_of, counts_of, reasons_of
from pipeline.report.values import flat
from pipeline.result import Result
from pipeline.schema.record import RunRecord
from pipeline.schema.table import records, set_columns

SIDES = ("before", "after")
JOINED = ("category", "etag", "status", "reason", "score_raw")


@dataclass(frozen=True)
class Uris:
    """How many images there are of a kind, and the first of them."""

    count: int
    first: list[str]


@dataclass(frozen=True)
class StatusChange:
    """An image that is in both runs and ended otherwise: scored, or the reason why not."""

    category: str
    uri: str
    before: str
    after: str


@dataclass(frozen=True)
class StatusChanges:
    """How many images ended otherwise, and the first of them."""

    count: int
    first: list[StatusChange]


@dataclass(frozen=True)
class Agreement:
    """How alike the `score_raw` of a category are, over images that both runs scored in the same content.

    `spearman` is None where all scores of a run are equal, and both figures where no image was scored in both.
    """

    category: str
    images: int
    spearman: float | None
    largest: float | None


@dataclass(frozen=True)
class Move:
    """An image's rank among its category's images in both runs, by `score_raw`: 1 is the worst."""

    category: str
    uri: str
    rank_before: int
    rank_after: int
    score_raw_before: float
    score_raw_after: float


@dataclass(frozen=True)
class MetricChange:
    """A metric in both runs and its change in percent points; category None is the mean over those that have both."""

    category: str | None
    name: str
    before: float | None
    after: float | None
    points: float | None


@dataclass(frozen=True)
class Comparison:
    """What differs from one run to another; pairs are (before, after), None is what a run does not tell."""

    before: str
    after: str
    settings: dict[str, tuple[object, object]]
    counts: dict[str, tuple[int, int]]
    only_before: Uris
    only_after: Uris
    changed: Uris
    status: StatusChanges
    agreement: list[Agreement]
    moved: list[Move]
    metrics: list[MetricChange]


def compare(before: Result, after: Result, most: int, category: str | None = None) -> Comparison:
    """Compare two runs, naming at most `most` images of each kind, of all categories or of one.

    Scores compare where category, uri and content (etag) are the same.

    Raises `ConfigError` when neither run has the category.
    """
    tables = [finite_columns(result.scores) for result in (before, after)]
    categories = categories_of(pa.concat_tables(tables))
    if category is not None and category not in categories:
        raise ConfigError(f"neither run has a category {category!r}")
    left, right = (
        table.select(["uri", *JOINED]).rename_columns(["uri", *(f"{name}_{side}" for name in JOINED)])
        for side, table in zip(SIDES, tables, strict=True)
    )
    both = left.join(right, "uri", join_type="inner", use_threads=False)
    both = both.sort_by([("category_after", "ascending"), ("uri", "ascending")])
    alike = [pc.equal(both[f"{name}_before"], both[f"{name}_after"]) for name in ("category", "etag")]
    same = pc.fill_null(pc.and_(*alike), False)
    pairs = both.filter(same)
    pairs = pairs.filter(pc.and_(pc.is_valid(pairs["score_raw_before"]), pc.is_valid(pairs["score_raw_after"])))
    pairs_of = {name: pairs.filter(pc.equal(pairs["category_after"], name)) for name in categories}

    chosen = categories if category is None else [category]
    only_before = left.join(right, "uri", join_type="left anti", use_threads=False)
    only_after = right.join(left, "uri", join_type="left anti", use_threads=False)
    changed = both.filter(pc.invert(same))
    return Comparison(
        before=before.folder.run_id,
        after=after.folder.run_id,
        settings=_differences(_settings(before.run), _settings(after.run)),
        counts=_counts(tables, [before.run, after.run]),
        only_before=_uris(_within(only_before, "before", chosen), most),
        only_after=_uris(_within(only_after, "after", chosen), most),
        changed=_uris(_within(changed, "after", chosen), most),
        status=_status(_within(both, "after", chosen), most),
        agreement=[_agreement(name, pairs_of[name]) for name in categories],
        moved=_moved({name: pairs_of[name] for name in chosen}, most),
        metrics=list(_metrics(before, after)),
    )


def _settings(run: RunRecord) -> dict[str, object]:
    """Return all that was set and could matter, by dotted names, where the results lie excepted."""
    told: dict[str, object] = {name: value for name, value in run.config.items() if name != "output"}
    return dict(flat(told | {"encoder_fingerprint": run.encoder.fingerprint, "versions": run.versions}))


def _differences(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    names = dict.fromkeys([*before, *after])
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _counts(tables: Sequence[pa.Table], runs: Sequence[RunRecord]) -> dict[str, tuple[int, int]]:
    reasons = [reasons_of(table) for table in tables]
    names = sorted({name for of in reasons for name in of})
    before, after = (
        counts_of(table)
        | {f"reasons.{name}": of.get(name, 0) for name in names}
        | {"features_reused": run.counts.features_reused, "other_files": run.counts.other_files}
        for table, of, run in zip(tables, reasons, runs, strict=True)
    )
    return {name: (before[name], after[name]) for name in before}


def _within(rows: pa.Table, side: str, categories: Sequence[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows[f"category_{side}"], value_set=pa.array(categories, pa.string())))


def _uris(rows: pa.Table, most: int) -> Uris:
    return Uris(rows.num_rows, rows["uri"].sort().slice(0, most).to_pylist())


def _status(both: pa.Table, most: int) -> StatusChanges:
    ends = {side: pc.coalesce(both[f"reason_{side}"], both[f"status_{side}"]) for side in SIDES}
    columns = pa.table({"category": both["category_after"], "uri": both["uri"], **ends})
    changes = columns.filter(pc.not_equal(columns["before"], columns["after"]))
    return StatusChanges(changes.num_rows, records(changes.slice(0, most), StatusChange))


def _agreement(category: str, pairs: pa.Table) -> Agreement:
    if not pairs.num_rows:
        return Agreement(category, 0, None, None)
    before, after = (pairs[f"score_raw_{side}"].to_numpy() for side in SIDES)
    return Agreement(category, pairs.num_rows, _spearman(pairs), float(np.abs(after - before).max()))


def _spearman(pairs: pa.Table) -> float | None:
    """Return the correlation of mean ranks; Arrow's are quantiles, which are ranks but for a shift and a scale."""
    before, after = (pc.rank_quantile(pairs[f"score_raw_{side}"]).to_numpy() for side in SIDES)
    return None if np.ptp(before) == 0 or np.ptp(after) == 0 else float(np.corrcoef(before, after)[0, 1])


def _moved(pairs: Mapping[str, pa.Table], most: int) -> list[Move]:
    """Return the images, of all categories together, whose rank moved most; equal scores share the better place."""
    moves = [move for category, of in pairs.items() for move in _moves(category, of, most)]
    return sorted(moves, key=lambda move: -abs(move.rank_after - move.rank_before))[:most]


def _moves(category: str, pairs: pa.Table, most: int) -> list[Move]:
    before, after = (_ranks(pairs[f"score_raw_{side}"]) for side in SIDES)
    distance = np.abs(after - before)
    largest = np.argsort(-distance, kind="stable")[: min(most, np.count_nonzero(distance))]
    ranks = {"rank_before": pa.array(before[largest]), "rank_after": pa.array(after[largest])}
    category_of = {"category": pa.array([category] * len(largest), pa.string())}
    return records(set_columns(pairs.take(largest), ranks | category_of), Move)


def _ranks(scores: pa.ChunkedArray) -> NDArray[np.int64]:
    return pc.rank(scores, sort_keys="descending", tiebreaker="min").to_numpy().astype(np.int64)


def _metrics(before: Result, after: Result) -> Iterator[MetricChange]:
    """Yield each metric of each category, then the means over the categories that have it in both runs."""
    found: dict[str, list[tuple[float, float]]] = {}
    for category in sorted({*before.metrics, *after.metrics}):
        sides = [result.metrics.get(category, {}) for result in (before, after)]
        for name in dict.fromkeys(name for side in sides for name in side):
            values = [side[name].value if name in side else None for side in sides]
            yield _change(category, name, values[0], values[1])
            if values[0] is not None and values[1] is not None:
                found.setdefault(name, []).append((values[0], values[1]))
    for name, pairs in found.items():
        yield _change(None, name, *np.mean(pairs, axis=0).tolist())


def _change(category: str | None, name: str, before: float | None, after: float | None) -> MetricChange:
    points = None if before is None or after is None else 100 * (after - before)
    return MetricChange(category, name, before, after, points)
