"""What a lake asks of a cluster, before there is one: nodes, hours, bytes and dollars."""

from dataclasses import dataclass

from pipeline.config import ReferencesConfig
from pipeline.plan.cost import Rates, unit_cost
from pipeline.plan.sampling import expected_references
from pipeline.plan.schedule import schedule
from pipeline.plan.units import UNIT_OPERATIONS, Members, Shape, plan_units

MOST = 4096  # nodes; who needs more has another question


@dataclass(frozen=True)
class Node:
    """A node with one GPU: what it does in a second, what its worker may hold, and what it costs.

    `encoded` counts images a second, `memory` bytes, `ready` the seconds from the wish for a node to its first work,
    and from its last work to its end.
    """

    rates: Rates
    encoded: float
    memory: float
    ready: float
    dollars_an_hour: float


@dataclass(frozen=True)
class Night:
    """One run: its nodes, the hours from start to end, and the dollars of all nodes in them."""

    nodes: int
    hours: float
    dollars: float


@dataclass(frozen=True)
class Work:
    """Images that a run encodes and scores, evenly in `categories`, in a lake of `total` images.

    `grid` (rows, columns) of patches is that of each.
    """

    images: int
    total: int
    categories: int
    grid: tuple[int, int]


def size_night(
    work: Work, hours: float, node: Node, references: ReferencesConfig, layers: int, shape: Shape
) -> Night | None:
    """Return the run with the fewest nodes that ends within so many hours; None when `MOST` nodes do not do it.

    Counted are extraction and mutual scoring, by the same units of work as a run's. Not counted: listing, maps and
    metrics, and the decoding where it is slower than the encoder.
    """
    seconds = _units(work, node, references, layers, shape)

    def night(nodes: int) -> Night:
        busy = work.images / node.encoded / nodes + schedule(seconds, nodes).makespan
        whole = (busy + node.ready) / 3600
        return Night(nodes, whole, nodes * whole * node.dollars_an_hour)

    if night(MOST).hours > hours:
        return None
    low, high = 0, MOST  # `high` nodes are enough, `low` are not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if night(middle).hours <= hours else (middle, high)
    return night(high)


def _units(work: Work, node: Node, references: ReferencesConfig, layers: int, shape: Shape) -> list[float]:
    """Return the seconds of each unit of work, in the order in which a run does them."""
    members = {}
    for number in range(work.categories):
        images, total = (_share(of, work.categories, number) for of in (work.images, work.total))
        if images and total > 1:
            count = expected_references(references, total)
            members[str(number)] = Members(images, count, total, "", work.grid, mutual=images == total)
    units = plan_units(members, [(layer,) for layer in range(layers)], shape, node.memory, UNIT_OPERATIONS["cuda"])
    return [node.rates.seconds(unit_cost(unit, shape)) for unit in units]


def _share(images: int, categories: int, number: int) -> int:
    """Return how many of the images fall to one of the categories."""
    return images // categories + (number < images % categories)
