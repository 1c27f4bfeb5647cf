"""Units of work: what one scoring worker does at a time, what is retried and what is resumed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError

# About a minute of work: a CPU core multiplies 1e11 to 2e11 times a second in fp32, a data-centre GPU 1e14 in bf16.
# Reviewed where the rates are measured, see bench/.
UNIT_OPERATIONS = {"cpu": 1e13, "cuda": 3e15}
FEWEST_QUERIES = 16  # images of a unit, where memory allows


@dataclass(frozen=True)
class Shape:
    """The size of one layer of one image's tokens: P patches of D values of `bytes` each."""

    patches: int
    width: int
    bytes: int


@dataclass(frozen=True)
class Members:
    """The encoded images of a category: how many, and a digest that changes with them and with the settings."""

    total: int
    digest: str


@dataclass(frozen=True)
class Unit:
    """Score images [start, stop) of a category, on one layer, against all `total` images of it.

    A unit that holds the whole category multiplies each pair once. Positions count the category's encoded images.
    `members` is their digest: what was computed for other images is another unit.
    """

    category: str
    layer: int
    start: int
    stop: int
    total: int
    reference_block: int
    members: str

    @property
    def whole(self) -> bool:
        return self.stop - self.start == self.total

    @property
    def id(self) -> str:
        """A name for files: the same for the same work, whatever the category may be called."""
        digest = hashlib.sha256(f"{self.category}\0{self.members}".encode()).hexdigest()[:16]
        return f"{digest}-{self.layer:02d}-{self.start:07d}-{self.stop:07d}"


def plan_units(
    categories: Mapping[str, Members],
    layers: Sequence[int],
    shape: Shape,
    degrees: int,
    memory: float,
    operations: float,
) -> list[Unit]:
    """Cut the mutual scoring of each category into units.

    Args:
        categories: the encoded images of each, at least two.
        layers: the encoder's blocks; each is a unit of its own.
        shape: size of one layer of one image.
        degrees: number of LNAMD degrees.
        memory: bytes that one worker may hold.
        operations: multiply-adds of one unit at most, unless it has FEWEST_QUERIES images or less.

    Raises:
        ConfigError: when the memory does not even hold one image's distances to its category.
    """
    units = []
    for category, members in categories.items():
        total = members.total
        block, references = _blocks(category, total, shape, degrees, memory, operations)
        for layer in layers:
            for start in range(0, total, block):
                units.append(Unit(category, layer, start, min(start + block, total), total, references, members.digest))
    return units


def _blocks(category: str, total: int, shape: Shape, degrees: int, memory: float, operations: float) -> tuple[int, int]:
    """Return how many query images and how many reference images a unit holds at a time."""
    vector = shape.patches * shape.width
    pair = degrees * shape.patches**2 * shape.width  # multiply-adds between two images
    row = 4 * shape.patches * total  # fp32 distances of one image to all

    # Whole category: tokens, one degree's vectors and two temporaries of its making, distances and their selection
    whole = total * (vector * (shape.bytes + 3 * 4) + 2 * row)
    if whole <= memory and (total <= FEWEST_QUERIES or total * total / 2 * pair <= operations):
        return total, total

    query = vector * (shape.bytes + 4 * degrees + 2 * 4) + (degrees + 1) * row
    reference = vector * (shape.bytes + 3 * 4)
    if query + reference > memory:
        raise ConfigError(
            f"search.memory_gb {memory / 1e9:g} is too small for category {category!r}: one of its {total} images "
            f"against all others needs {(query + reference) / 1e9:.3g} GB"
        )
    references = max(1, min(total, int(min(memory / 4, memory - query) // reference)))
    queries = int((memory - references * reference) // query) or 1
    # a reference is read and aggregated once for all queries of the unit, so that few of them waste its making
    return min(queries, total, max(FEWEST_QUERIES, int(operations // (total * pair)))), references
