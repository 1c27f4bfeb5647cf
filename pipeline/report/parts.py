"""Parts in summaries and on the page: how many of each product are anomalous, and the worst."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.metrics.category import PART, Metric, mean_metrics
from pipeline.schema.table import records


@dataclass(frozen=True)
class ProductParts:
    """The parts of a product; `incomplete` are those that are not anomalous, but of which a view was quarantined.

    `anomalous` is None where the run did not decide.
    """

    product: str
    parts: int
    anomalous: int | None
    incomplete: int
    metrics: dict[str, Metric]


@dataclass(frozen=True)
class WorstPart:
    """A part by its worst view: how many views it has, and how many of them were scored."""

    group: str
    views: int
    scored: int
    score: float | None
    anomalous: bool | None
    worst_category: str
    worst_uri: str


def products_of(parts: pa.Table, metrics: Mapping[str, Mapping[str, Metric]]) -> list[ProductParts]:
    """Count rows of PARTS by product; `metrics` are of the run, by category and product, then name."""
    found = []
    for product in sorted(pc.unique(parts["product"]).to_pylist()):
        of = parts.filter(pc.equal(parts["product"], product))
        passed = pc.invert(pc.fill_null(of["anomalous"], False))
        anomalous: int | None = pc.sum(of["anomalous"]).as_py()
        incomplete = pc.sum(pc.and_(passed, pc.invert(of["complete"]))).as_py() or 0
        own = {name: metric for name, metric in metrics.get(product, {}).items() if name in PART}
        found.append(ProductParts(product, of.num_rows, anomalous, incomplete, own))
    return found


def all_parts(products: list[ProductParts]) -> ProductParts:
    """Return the sums of all products, and the means of their metrics."""
    decided = [of.anomalous for of in products if of.anomalous is not None]
    return ProductParts(
        "all",
        sum(of.parts for of in products),
        sum(decided) if decided else None,
        sum(of.incomplete for of in products),
        mean_metrics(of.metrics for of in products),
    )


def worst_parts(parts: pa.Table, most: int) -> list[WorstPart]:
    """Return the parts of which a view was scored with the largest `score`, the worst first."""
    seen = parts.filter(pc.is_valid(parts["worst_uri"]))
    order = seen.sort_by([("score", "descending"), ("group", "ascending")])
    return records(order.slice(0, most), WorstPart)
