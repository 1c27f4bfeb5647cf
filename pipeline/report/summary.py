"""What one run did, in figures: its summary, and its worst images."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.metrics.category import Metric, mean_metrics
from pipeline.report.columns import known_columns
from pipeline.result import Result


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
    """One image that was scored, with the final score, the raw one, and the latter's standard error if it is known."""

    category: str
    uri: str
    score: float | None
    score_raw: float
    stderr: float | None


@dataclass(frozen=True)
class Summary:
    """A run's facts; images and reasons are counted in its scores, and None is what an older run does not tell."""

    run_id: str
    results: str
    started: str | None
    finished: str | None
    seconds: dict[str, float]
    layout: str | None
    counts: dict[str, int]
    anomalous: int | None
    reasons: dict[str, int]
    carried: int | None
    drifted: list[str] | None
    features_reused: int | None
    other_files: int | None
    encoder: dict[str, Any]
    references: dict[str, Any]
    search: dict[str, Any]
    metrics: dict[str, dict[str, Metric]]
    mean: dict[str, Metric]
    categories: list[CategoryScores]
    worst: list[Scored]


def summarise(result: Result, most: int, category: str | None = None) -> Summary:
    """Gather a run's facts, and its `most` worst images by `score_raw`, of all categories or of one.

    Raises `ConfigError` when there is no such category.
    """
    run, scores = result.run, known_columns(result.scores)
    told, settings, encoder, search = (run.get(name, {}) for name in ("counts", "settings", "encoder", "search"))
    compared = pc.min_max(scores["references"]).as_py()
    return Summary(
        run_id=result.folder.run_id,
        results=result.folder.results.uri,
        started=run.get("started"),
        finished=run.get("finished"),
        seconds=run.get("seconds", {}),
        layout=run.get("layout"),
        counts=counts_of(scores),
        anomalous=pc.sum(scores["anomalous"]).as_py(),
        reasons=reasons_of(scores),
        carried=told.get("carried"),
        drifted=run.get("drifted"),
        features_reused=told.get("features_reused"),
        other_files=told.get("other_files"),
        encoder={name: encoder.get(name) for name in ("name", "fingerprint")},
        references={
            "source": settings.get("references", {}).get("source"),
            "mode": settings.get("references", {}).get("mode"),
            "fewest": compared["min"],
            "most": compared["max"],
        },
        search={
            "kind": search.get("kind"),
            "tile": search.get("tile"),
            "dtype": settings.get("search", {}).get("dtype"),
        },
        metrics=result.metrics,
        mean=mean_metrics(result.metrics.values()),
        categories=[_spread(scores, name) for name in categories_of(scores)],
        worst=_worst(only_category(scores, category), most),
    )


def categories_of(scores: pa.Table) -> list[str]:
    """Return the names of all categories, sorted."""
    return sorted(pc.unique(scores["category"]).to_pylist())


def counts_of(scores: pa.Table) -> dict[str, int]:
    """Count images and how they ended, so that the sums are right: scored and quarantined are all images."""
    scored = pc.sum(pc.equal(scores["status"], "scored")).as_py() or 0
    return {"images": scores.num_rows, "scored": scored, "quarantined": scores.num_rows - scored}


def reasons_of(scores: pa.Table) -> dict[str, int]:
    """Count the reasons of quarantine, the most frequent first."""
    return dict(Counter(scores["reason"].drop_null().to_pylist()).most_common())


def ranked_by(scores: pa.Table) -> str:
    """Return the column that images of a category are ranked by: `score`, the final one, or else `score_raw`.

    The final score weighs an image among those of its own night. Where rows of a category come from several nights, the
    raw score is what compares.
    """
    if "scored_by" not in scores.column_names:  # a run of before
        return "score"
    nights = scores.filter(pc.is_valid(scores["scored_by"])).group_by(["category", "scored_by"]).aggregate([])
    return "score" if nights.num_rows == len(pc.unique(nights["category"])) else "score_raw"


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
    anomalous = pc.sum(of["anomalous"]).as_py()
    return CategoryScores(category, of.num_rows, counts_of(of)["scored"], lowest, median, highest, anomalous)


def _worst(scores: pa.Table, most: int) -> list[Scored]:
    rows = scores.filter(pc.is_valid(scores["score_raw"]))
    rows = rows.sort_by([("score_raw", "descending"), ("category", "ascending"), ("uri", "ascending")]).slice(0, most)
    return [Scored(**row) for row in rows.select(["category", "uri", "score", "score_raw", "stderr"]).to_pylist()]
