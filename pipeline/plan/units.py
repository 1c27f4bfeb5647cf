"""Units of work: what one scoring worker does at a time, what is retried and what is resumed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError

# About a minute of work: a CPU core makes some 6e10 multiply-adds a second in fp32, a data-centre GPU 5e13 in bf16. A
# constant and not what was measured, so that a run that is taken up again finds the units that it left.
UNIT_OPERATIONS = {"cpu": 4e12, "cuda": 3e15}
UNIT_MEMORY = 4e9  # bytes of a worker without a GPU, where nobody says; likewise a constant
FEWEST_QUERIES = 16  # images of a unit, where memory allows


@dataclass(frozen=True)
class Shape:
    """What is done with each patch of an image, in one part, its layer or layers.

    `width` D values of `bytes` each are stored; LNAMD takes `degrees` of them, and `comparisons` of
    mutual scoring compare vectors of `compared` values.
    """

    width: int
    bytes: int
    degrees: int
    comparisons: int
    compared: int

    def pair(self, patches: int) -> int:
        """Return the multiply-adds between two images of so many patches."""
        return self.comparisons * patches**2 * self.compared


@dataclass(frozen=True)
class Reach:
    """Where a patch's nearest one is looked for: `radius` patches around its own place, None: in the whole image.

    `kept` is the share of distances that stay as they are, None where nobody measured it, `products` that of the pairs
    of patches that are compared. Of a reference's patches every `thin`th row and column is looked at.
    """

    radius: int | None = None
    kept: float | None = None
    products: float = 1.0
    thin: int = 1


@dataclass(frozen=True)
class Members:
    """The encoded images of a category: how many, and how many references they have.

    `population` is the number of images that the references were drawn from: theirs, where they were not drawn.
    `digest` changes with the images, the references and the settings of the run. `grid` (rows, columns) of patches
    holds those of all of them. `mutual` says that the references are among the images. `radius`, `share` and `thin` are
    those of a `Reach`: how far from its own place a patch is compared, the share of the pairs of patches that are, and
    which of a reference's patches. Each reference is seen as `turns` images, and an image is compared with the
    `nearest` of them only, 0: with all.
    """

    total: int
    references: int
    population: int
    digest: str
    grid: tuple[int, int]
    mutual: bool = True
    radius: int | None = None
    share: float = 1.0
    thin: int = 1
    turns: int = 1
    nearest: int = 0

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def compared(self) -> int:
        """How many references an image is compared with."""
        return min(self.nearest or self.references, self.references)


@dataclass(frozen=True)
class Unit:
    """Score images [start, stop) of a category, on some layers, against its references.

    A unit that holds the whole category, all of it references, multiplies each pair once. Positions count the
    category's encoded images; of a pass that goes through the references they are places among those, and `total` is
    their number. `rows` and `columns` are those of the grid of `Members`; `population`, `digest`, `mutual`, `radius`,
    `share`, `thin`, `turns` and `nearest` are those of `Members`: what was computed for other images, or within another
    radius, is another unit.
    """

    category: str
    layers: tuple[int, ...]
    start: int
    stop: int
    total: int
    references: int
    population: int
    rows: int
    columns: int
    reference_block: int
    digest: str
    mutual: bool = True
    radius: int | None = None
    share: float = 1.0
    thin: int = 1
    turns: int = 1
    nearest: int = 0

    @property
    def compared(self) -> int:
        """How many references an image is compared with."""
        return min(self.nearest or self.references, self.references)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))  # rows of tables hold lists

    @property
    def grid(self) -> tuple[int, int]:
        return self.rows, self.columns

    @property
    def patches(self) -> int:
        return self.rows * self.columns

    @property
    def whole(self) -> bool:
        symmetric = self.mutual and self.thin == self.turns == 1 and not self.nearest
        return symmetric and self.stop - self.start == self.total == self.references

    @property
    def id(self) -> str:
        """A name for files: the same for the same work, whatever the category may be called."""
        of = f"{self.category}\0{self.digest}" + ("" if self.radius is None else f"\0{self.radius}")
        digest = hashlib.sha256(of.encode()).hexdigest()[:16]
        layers = ".".join(f"{layer:02d}" for layer in self.layers)
        return f"{digest}-{layers}-{self.start:07d}-{self.stop:07d}"


def plan_units(
    categories: Mapping[str, Members],
    parts: Sequence[tuple[int, ...]],
    shape: Shape,
    memory: float,
    operations: float,
) -> list[Unit]:
    """Cut the mutual scoring of each category into units, the largest first.

    The longest last would leave all workers but one idle at the end.

    Args:
        categories: the encoded images of each.
        parts: the encoder's blocks that are scored together; each part has units of its own.
        shape: what is done with each patch of one part of an image.
        memory: bytes that one worker may hold.
        operations: multiply-adds of one unit at most, unless it has FEWEST_QUERIES images or less.

    Raises:
        ConfigError: when the memory does not even hold one image's distances to its references.
    """
    units = []
    for category, members in categories.items():
        total = members.total
        block, references = _blocks(category, members, shape, memory, operations)
        for part in parts:
            for start in range(0, total, block):
                stop = min(start + block, total)
                units.append(
                    Unit(
                        category,
                        part,
                        start,
                        stop,
                        total,
                        members.references,
                        members.population,
                        *members.grid,
                        references,
                        members.digest,
                        members.mutual,
                        members.radius,
                        members.share,
                        members.thin,
                        members.turns,
                        members.nearest,
                    )
                )
    return sorted(units, key=lambda unit: (unit.stop - unit.start) * unit.references, reverse=True)


def _blocks(category: str, members: Members, shape: Shape, memory: float, operations: float) -> tuple[int, int]:
    """Return how many query images and how many reference images a unit holds at a time."""
    total = members.total
    symmetric = members.mutual and members.thin == members.turns == 1 and not members.nearest
    all_with_all = symmetric and members.references == members.total
    vector = members.patches * shape.width
    row = 4 * members.patches * members.references  # fp32 distances of one image to its references

    pair = shape.pair(members.patches) * members.share * members.turns

    # Whole category: tokens, one comparison's vectors, centred and rounded, and a temporary; distances with a mask and
    # the selection of the smallest
    whole = total * (vector * (shape.bytes + 4 * 4) + 3 * row)
    if all_with_all and whole <= memory and (total <= FEWEST_QUERIES or total * total / 2 * pair <= operations):
        return total, total

    reference = vector * (shape.bytes + 4 * 4)
    result = 3 * 4 * members.patches  # of one query and one reference
    # Each comparison's vectors and three temporaries; distances of each, one copy in selecting; one reference's results
    query = vector * (shape.bytes + 4 * shape.comparisons + 3 * 4) + (shape.comparisons + 1) * row + result
    if query + reference > memory:
        raise ConfigError(
            f"search.memory_gb {memory / 1e9:g} is too small for category {category!r}: one of its {total} images "
            f"against {members.references} others needs {(query + reference) / 1e9:.3g} GB"
        )
    # Queries get most of the memory: the more of them, the less often the references are read
    references = max(1, min(members.references, int(min(memory / 16, memory - query) // (reference + result))))
    query += result * (references - 1)
    queries = int((memory - references * reference) // query)
    # a reference is read and aggregated once for all queries of the unit, so that few of them waste its making
    most = max(FEWEST_QUERIES, int(operations // (members.compared * pair)))
    return min(queries, total, most), references
