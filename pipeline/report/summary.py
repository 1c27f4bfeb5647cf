"""What one run did, in figures: its summary, and its worst images."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.metrics.category import Metric, mean_metrics
from pipeline.report.columns import finite_columns
from pipeline.report.parts import ProductParts, WorstPart, products_of, worst_parts
from pipeline.result import Result
from pipeline.schema.table import count_by, records, set_columns
from pipeline.tables.decisions import Decision
from pipeline.tables.parts import parts_table


@dataclass(frozen=True)
class CategoryScores:
    """The spread of a category's `score_raw`, None where nothing was scored, and how many images are anomalous.

    `anomalous` is None where the run did not decide.
    """

    category: str
    images: int
    scored: int
    lowest: float | None
    median: float | None
    highest: float | None
    anomalous: int | None


@dataclass(frozen=True)
class Scored:
    """One image that was scored: times its threshold, raw, and the latter's standard error if it is known."""

    category: str
    uri: str
    score: float | None
    score_raw: float
    stderr: float | None


@dataclass(frozen=True)
class Decided(Decision):
    """How a category was decided, as run.json has it."""

    category: str


@dataclass(frozen=True)
class EncoderUsed:
    """The encoder of a run."""

    name: str
    fingerprint: str


@dataclass(frozen=True)
class ReferencesUsed:
    """Where references come from, and how many other images an image was compared with."""

    source: str | None
    mode: str | None
    fewest: int | None
    most: int | None


@dataclass(frozen=True)
class SearchUsed:
    """The search of a run."""

    kind: str
    tile: int | None
    dtype: str | None


@dataclass(frozen=True)
class Summary:
    """A run's facts; images and reasons are counted in its scores, and None is what an older run does not tell."""

    run_id: str
    results: str
    started: str
    finished: str
    seconds: dict[str, float]
    layout: str
    counts: dict[str, int]
    anomalous: int | None
    reasons: dict[str, int]
    carried: int | None
    drifted: list[str] | None
    features_reused: int
    other_files: int
    encoder: EncoderUsed
    references: ReferencesUsed
    search: SearchUsed
    metrics: dict[str, dict[str, Metric]]
    mean: dict[str, Metric]
    categories: list[CategoryScores]
    decisions: list[Decided]
    worst: list[Scored]
    products: list[ProductParts]
    worst_parts: list[WorstPart]


def summarise(result: Result, most: int, category: str | None = None) -> Summary:
    """Gather a run's facts, and its `most` worst images and parts by `score`, of all categories or of one.

    Of one category, parts are those whose worst view is of it. Raises `ConfigError` when there is no such category.
    """
    run, scores = result.run, finite_columns(result.scores)
    parts = parts_table(result.scores)
    compared: dict[str, int | None] = pc.min_max(scores["references"]).as_py()
    return Summary(
        run_id=result.folder.run_id,
        results=result.folder.results.uri,
        started=run.started.isoformat(),
        finished=run.finished.isoformat(),
        seconds=run.seconds,
        layout=run.layout,
        counts=counts_of(scores),
        anomalous=anomalous_in(scores),
        reasons=reasons_of(scores),
        carried=run.counts.carried,
        drifted=run.drifted,
        features_reused=run.counts.features_reused,
        other_files=run.counts.other_files,
        encoder=EncoderUsed(run.encoder.name, run.encoder.fingerprint),
        references=ReferencesUsed(
            _word(run.setting("references.source")),
            _word(run.setting("references.mode")),
            compared["min"],
            compared["max"],
        ),
        search=SearchUsed(run.search.kind, run.search.tile, run.search.dtype or _word(run.setting("search.dtype"))),
        metrics=result.metrics,
        mean=mean_metrics(result.metrics.values()),
        categories=[_spread(scores, name) for name in categories_of(scores)],
        decisions=[Decided(category=name, **of.model_dump()) for name, of in run.decisions.items()],
        worst=_worst(only_category(scores, category), most),
        products=products_of(parts, result.metrics),
        worst_parts=worst_parts(
            parts if category is None else parts.filter(pc.equal(parts["worst_category"], category)), most
        ),
    )


def _word(setting: object) -> str | None:
    return setting if isinstance(setting, str) else None


def categories_of(scores: pa.Table) -> list[str]:
    """Return the names of all categories, sorted."""
    names: list[str] = pc.unique(scores["category"]).to_pylist()
    return sorted(names)


def counts_of(scores: pa.Table) -> dict[str, int]:
    """Count images and how they ended, so that the sums are right: scored and quarantined are all images."""
    scored = count_by(scores, "status").get("scored", 0)
    return {"images": scores.num_rows, "scored": scored, "quarantined": scores.num_rows - scored}


def anomalous_in(scores: pa.Table) -> int | None:
    """Count the images that are called anomalous; None where that was decided of none."""
    found: int | None = pc.sum(scores["anomalous"]).as_py()
    return found


def reasons_of(scores: pa.Table) -> dict[str, int]:
    """Count the reasons of quarantine, the most frequent first."""
    return dict(Counter[str](scores["reason"].drop_null().to_pylist()).most_common())


def rank(scores: pa.Table) -> pa.ChunkedArray:
    """Return what images are ranked by, the highest first: `score`, or `score_raw` where there is no threshold."""
    return pc.coalesce(scores["score"], scores["score_raw"])


def only_category(scores: pa.Table, category: str | None) -> pa.Table:
    """Return the rows of one category, or all; raises `ConfigError` when there is no such category."""
    if category is None:
        return scores
    found = scores.filter(pc.equal(scores["category"], category))
    if not found.num_rows:
        names = categories_of(scores)
        some = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
        raise ConfigError(f"there is no category {category!r} in this run, which has {some}")
    return found


def _spread(scores: pa.Table, category: str) -> CategoryScores:
    of = scores.filter(pc.equal(scores["category"], category))
    raw = of["score_raw"].drop_null().to_numpy()
    lowest, median, highest = np.quantile(raw, [0, 0.5, 1]).tolist() if len(raw) else (None, None, None)
    return CategoryScores(category, of.num_rows, counts_of(of)["scored"], lowest, median, highest, anomalous_in(of))


def _worst(scores: pa.Table, most: int) -> list[Scored]:
    rows = set_columns(scores, {"rank": rank(scores)}).filter(pc.is_valid(scores["score_raw"]))
    rows = rows.sort_by([("rank", "descending"), ("category", "ascending"), ("uri", "ascending")]).slice(0, most)
    return records(rows, Scored)
