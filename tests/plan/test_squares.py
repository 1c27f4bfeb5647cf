"""Squares of a grid: each patch once, none too small, and as far in every direction as the radius says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.plan.squares import around, cut, near_products

GRIDS = st.tuples(st.integers(1, 60), st.integers(1, 60))
RADII = st.integers(1, 70)


@given(GRIDS, RADII)
def test_parts_hold_every_line_once_and_are_about_as_long_as_the_radius(grid: tuple[int, int], radius: int) -> None:
    squares = cut(grid, radius)
    for side, parts in zip(grid, (squares.rows, squares.columns), strict=True):
        assert [line for part in parts for line in part] == list(range(side))
        lengths = {len(part) for part in parts}
        assert min(lengths) >= min(radius, side) and max(lengths) - min(lengths) <= 1
        assert max(lengths) < 2 * radius or side < 2 * radius


@given(GRIDS, RADII)
def test_a_window_reaches_at_least_the_radius_in_every_direction(grid: tuple[int, int], radius: int) -> None:
    squares = cut(grid, radius)
    for side, parts in zip(grid, (squares.rows, squares.columns), strict=True):
        for i, part in enumerate(parts):
            window = around(parts, i, i)
            for line in part:
                assert window.start <= max(0, line - radius) and min(side, line + radius + 1) <= window.stop


@given(GRIDS, RADII)
def test_what_a_patch_sees_sees_it_too(grid: tuple[int, int], radius: int) -> None:
    # One product for both directions would miss some otherwise.
    for parts in (cut(grid, radius).rows, cut(grid, radius).columns):
        sees = {line: set(around(parts, i, i)) for i, part in enumerate(parts) for line in part}
        assert all(line in sees[other] for line, others in sees.items() for other in others)


@pytest.mark.parametrize(
    ("grid", "radius", "pairs"),
    [
        ((16, 16), 2, (2 * 2 * (8 * 3 - 2)) ** 2),  # 8 parts of 2 lines; all but two have two neighbours
        ((24, 24), 3, (3 * 3 * (8 * 3 - 2)) ** 2),
        ((5, 1), 2, 5 * 5),  # 2 and 3 rows, side by side
        ((7, 4), 2, (2 * 4 + 2 * 7 + 3 * 5) * 16),
        ((3, 3), 1, 7 * 7),
        ((9, 9), 9, 81 * 81),
        ((9, 9), 100, 81 * 81),
    ],
)
def test_pairs_of_patches_are_counted(grid: tuple[int, int], radius: int, pairs: int) -> None:
    assert near_products(grid, radius) == pairs


def test_a_square_has_at_least_one_patch() -> None:
    with pytest.raises(ValueError, match="at least one patch, got 0"):
        cut((4, 4), 0)
