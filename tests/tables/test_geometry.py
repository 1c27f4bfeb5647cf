"""How the images of a category are seen, by settings and their usual size."""

from typing import Any

import pytest

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.tables.geometry import geometries_of, geometry_of

PATCH = 14
SQUARE = Geometry(PATCH, (518, 518))
SHORT = Geometry(PATCH, short=518)
WIDE = (2072, 1036)


def seen(usual: Geometry, size: tuple[int, int] | None, defect: float | None = None, **groups: Any) -> Geometry:
    settings = {"input": {"uri": "in", "smallest_defect": defect}, "output": {"uri": "out"}}
    return geometry_of(ScoreConfig.model_validate(settings | groups), usual, size)


def test_without_tiles_all_is_as_usual_but_for_an_area() -> None:
    assert seen(SQUARE, WIDE) == SQUARE
    assert seen(SHORT, WIDE, encoder={"size": {"short": 518}}) == SHORT
    assert seen(Geometry(PATCH), WIDE, encoder={"size": {"area": 224}}) == Geometry(PATCH, (154, 308))
    assert seen(Geometry(PATCH), WIDE, encoder={"size": "auto"}) == Geometry(PATCH, (364, 728))
    assert seen(Geometry(PATCH), None, encoder={"size": "auto"}) == SQUARE


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_scale_takes_tiles_of_every_image(scale: float) -> None:
    found = seen(SQUARE, WIDE, tiles={"scale": scale, "size": 280, "overlap": 28})
    assert found == Geometry(PATCH, scale=scale, tile=280, overlap=28)
    assert seen(SQUARE, None, tiles={"scale": scale}) == Geometry(PATCH, scale=scale, tile=518, overlap=64)


def test_auto_takes_tiles_where_the_smallest_defect_would_not_be_seen() -> None:
    assert seen(SQUARE, WIDE, 84.1) == SQUARE  # a quarter of that is 1.5 patches
    assert seen(SQUARE, WIDE, 42) == Geometry(PATCH, scale=0.5, tile=518, overlap=64)
    assert seen(SQUARE, WIDE, 10) == Geometry(PATCH, scale=1.0, tile=518, overlap=64)
    assert seen(SQUARE, WIDE) == seen(SQUARE, None, 10) == seen(SQUARE, WIDE, 10, tiles={"scale": "none"}) == SQUARE


def test_of_an_area_the_category_that_needs_none_keeps_its_sides() -> None:
    groups: dict[str, Any] = {"encoder": {"size": {"area": 518}}}
    assert seen(Geometry(PATCH), WIDE, 1000, **groups) == Geometry(PATCH, (364, 728))
    assert seen(Geometry(PATCH), WIDE, 10, **groups) == Geometry(PATCH, scale=1.0, tile=518, overlap=64)


def test_the_side_of_a_tile_is_of_whole_patches() -> None:
    found = seen(SHORT, WIDE, encoder={"size": {"short": 525}}, tiles={"scale": 1})
    assert found == Geometry(PATCH, scale=1.0, tile=518, overlap=64)


@pytest.mark.parametrize(("size", "overlap"), [(281, 28), (280, 280), (28, 64), (70, 64)])
def test_tiles_that_do_not_fit_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ConfigError, match=f"tiles.size {size} must be a multiple of the encoder's patch, 14"):
        seen(SQUARE, WIDE, tiles={"scale": 1, "size": size, "overlap": overlap})


def test_a_category_that_is_seen_as_usual_has_features_of_usual_names() -> None:
    """Of a lake in which some need tiles, the others' features are those of before the defect was told."""
    settings = {"input": {"uri": "in", "smallest_defect": 42}, "output": {"uri": "out"}}
    sizes = {"large": WIDE, "small": (518, 518), "not read": None}
    found = geometries_of(ScoreConfig.model_validate(settings), SQUARE, sizes)
    assert found == {"large": Geometry(PATCH, scale=0.5, tile=518, overlap=64)}
    lake = LakeGeometry(SQUARE, found)
    assert lake.key("small") == lake.key("not read") == "" != lake.key("large")


def test_where_images_differ_in_shape_each_category_has_a_geometry() -> None:
    settings = {"input": {"uri": "in"}, "output": {"uri": "out"}, "encoder": {"size": {"short": 518}}}
    sizes = {"a": WIDE, "not read": None}
    assert geometries_of(ScoreConfig.model_validate(settings), SHORT, sizes) == {"a": SHORT, "not read": SHORT}
