"""What a run costs, before it starts: operations, bytes, seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pipeline.config import ReferencesConfig
from pipeline.errors import ConfigError
from pipeline.plan.units import Shape, Unit


@dataclass(frozen=True)
class Cost:
    """Multiply-adds, values averaged over neighbourhoods, and bytes of tokens read."""

    products: float = 0
    aggregated: float = 0
    read: float = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(self.products + other.products, self.aggregated + other.aggregated, self.read + other.read)


@dataclass(frozen=True)
class Rates:
    """What one worker does in a second, of each part of a cost; `read` is what one reader gets from storage."""

    products: float
    aggregated: float
    read: float

    def seconds(self, cost: Cost) -> float:
        return cost.products / self.products + cost.aggregated / self.aggregated + cost.read / self.read


def unit_cost(unit: Unit, shape: Shape) -> Cost:
    """Return what a unit costs; where it holds the whole category, a pair is multiplied once for both directions."""
    queries = unit.stop - unit.start
    pairs = queries * (queries - 1) / 2 if unit.whole else queries * unit.compared * unit.turns
    images = queries if unit.whole else queries + unit.references * unit.turns
    values = unit.patches * shape.width
    return Cost(
        products=pairs * shape.pair(unit.patches) * unit.share,
        aggregated=images * shape.degrees * values,
        read=images * values * shape.bytes,
    )


def refuse_quadratic(config: ReferencesConfig, totals: Mapping[str, int], estimate: str) -> None:
    """Raise `ConfigError` with the estimate when a category is above the limit and nothing says to go on."""
    if config.mode != "all" or config.quadratic:
        return
    for category, total in totals.items():
        if total > config.limit:
            raise ConfigError(
                f"category {category!r} has {total} images, and comparing all with all grows with their square: "
                f"{estimate}. Take references.mode sample (or auto), raise references.limit {config.limit}, "
                "or set references.quadratic true"
            )
