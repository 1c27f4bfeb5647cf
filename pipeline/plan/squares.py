"""A grid of patches cut into squares: a patch is compared with those of its own square and of the squares around it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Squares:
    """Rows and columns of a grid of patches, cut into parts: a square is where a part of each meets.

    A part is at least `radius` long, unless the grid is smaller, and as long as the others or one longer. So the parts
    around its own let a patch reach at least `radius` patches in every direction, as far as the grid goes.
    """

    rows: tuple[range, ...]
    columns: tuple[range, ...]


def cut(grid: tuple[int, int], radius: int) -> Squares:
    """Cut a grid (H, W) of patches into squares of about radius x radius.

    Raises:
        ValueError: for a radius of less than one patch.
    """
    if radius < 1:
        raise ValueError(f"squares have a side of at least one patch, got {radius}")
    return Squares(_parts(grid[0], radius), _parts(grid[1], radius))


def around(parts: tuple[range, ...], first: int, last: int) -> range:
    """Return what the parts from `first` to `last` and their neighbours hold."""
    return range(parts[max(0, first - 1)].start, parts[min(last + 1, len(parts) - 1)].stop)


def near_products(grid: tuple[int, int], radius: int) -> int:
    """Return how many pairs of patches of two images (H, W) are compared, out of (H * W)^2.

    One direction; where each pair of images is multiplied once, this is what it costs.
    """
    squares = cut(grid, radius)
    reached = 1
    for parts in (squares.rows, squares.columns):
        reached *= sum(len(part) * len(around(parts, i, i)) for i, part in enumerate(parts))
    return reached


def _parts(side: int, radius: int) -> tuple[range, ...]:
    count = max(1, side // radius)
    return tuple(range(i * side // count, (i + 1) * side // count) for i in range(count))
