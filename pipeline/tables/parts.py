"""Parts in tables: what the rows of their views say of each, and the metrics of those whose labels are known."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.metrics.category import Metric, part_metrics
from pipeline.schema.tables import PARTS

OF_VIEWS = ["group", "category", "uri", "status", "score", "score_raw", "anomalous", "label", "scored_by"]
WORST_FIRST: list[tuple[str, Literal["ascending", "descending"]]] = [
    *(("group", "ascending"), ("score", "descending"), ("score_raw", "descending")),
    *(("category", "ascending"), ("uri", "ascending")),
]
UNKNOWN, YES = -1, 1  # and 0 for no: the largest of several is true where any is


def parts_table(scores: pa.Table) -> pa.Table:
    """Return PARTS of a run's scores, by name; a part is as its worst view, the one with the largest `score`."""
    views = scores.select(OF_VIEWS).filter(pc.is_valid(scores["group"]))
    if not views.num_rows:
        return PARTS.empty()
    views = views.sort_by(WORST_FIRST).combine_chunks()
    groups = views["group"].to_numpy()
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    counts = np.diff(np.append(starts, len(groups)))
    scored = np.add.reduceat(pc.equal(views["status"], "scored").to_numpy().astype(np.int64), starts)
    labels = _codes(views["label"])
    most, least = np.maximum.reduceat(labels, starts), np.minimum.reduceat(labels, starts)
    worst = views.take(starts)
    seen = pa.array(scored > 0)
    return PARTS.of(
        {
            "group": worst["group"],
            "product": pa.array(_products(views, starts), pa.string()).take(pa.array(starts)),
            "views": counts,
            "scored": scored,
            "quarantined": counts - scored,
            "complete": scored == counts,
            "score": worst["score"],
            "anomalous": _truths(np.maximum.reduceat(_codes(views["anomalous"]), starts)),
            "label": _truths(np.where(most == YES, YES, least)),
            "worst_category": pc.if_else(seen, worst["category"], None),
            "worst_uri": pc.if_else(seen, worst["uri"], None),
            "scored_by": worst["scored_by"],
        }
    )


def metrics_of_parts(parts: pa.Table) -> dict[str, dict[str, Metric]]:
    """Return the metrics of PARTS by product, of those whose label is known and of which a view has a score."""
    found = {}
    known = parts.filter(pc.and_(pc.is_valid(parts["label"]), pc.is_valid(parts["score"])))
    for product in sorted(pc.unique(parts["product"]).to_pylist()):
        of = known.filter(pc.equal(known["product"], product))
        flagged = of["anomalous"].to_numpy().astype(bool)
        found[product] = part_metrics(of["label"].to_numpy().astype(bool), of["score"].to_numpy(), flagged)
    return found


def with_parts(
    metrics: Mapping[str, Mapping[str, Metric]], parts: Mapping[str, Mapping[str, Metric]]
) -> dict[str, dict[str, Metric]]:
    """Return metrics of categories and, behind them or in the row of the same name, those of products."""
    names = dict.fromkeys([*metrics, *parts])
    return {name: {**metrics.get(name, {}), **parts.get(name, {})} for name in names}


def _codes(column: pa.ChunkedArray) -> NDArray[np.int8]:
    found: NDArray[np.int8] = pc.fill_null(column.cast(pa.int8()), UNKNOWN).to_numpy()
    return found


def _truths(codes: NDArray[np.int8]) -> pa.Array:
    return pa.array(codes == YES, pa.bool_(), mask=codes == UNKNOWN)


def _products(views: pa.Table, starts: NDArray[np.intp]) -> list[str]:
    """Return the product of each view: the categories that have views of common parts are those of one.

    `starts` are the rows of views, which are sorted by group, at which another group begins.
    """
    unique = pc.unique(views["category"])
    names: list[str] = unique.to_pylist()
    codes = pc.index_in(views["category"], value_set=unique).to_numpy().astype(np.int64)
    first = np.repeat(codes[starts], np.diff(np.append(starts, len(codes))))
    of = list(range(len(names)))  # another category of the same product, or itself

    def root(code: int) -> int:
        while of[code] != code:
            code = of[code]
        return code

    for pair in np.unique(first * len(names) + codes).tolist():
        one, other = divmod(pair, len(names))
        of[root(one)] = root(other)
    members: dict[int, list[str]] = {}
    for code, name in enumerate(names):
        members.setdefault(root(code), []).append(name)
    products = {code: _product(members[root(code)]) for code in range(len(names))}
    return [products[code] for code in codes.tolist()]


def _product(categories: list[str]) -> str:
    """Return what categories such as nut/C1 and nut/C2 have in common, or else all their names."""
    levels = [name.split("/") for name in sorted(categories)]
    common = 0
    while all(len(of) > common and of[common] == levels[0][common] for of in levels):
        common += 1
    return "/".join(levels[0][:common]) or " + ".join(sorted(categories))
