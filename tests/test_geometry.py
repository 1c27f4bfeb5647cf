"""From an image's size to its view, and to the tiles that it is encoded in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry import (
    WORTH_SEEING,
    Geometry,
    LakeGeometry,
    angles,
    area_sides,
    parse_seen,
    tile_scale,
    tiles_along,
)
from pipeline.values import LakeValues, Values
from pipeline.views import View

SIDES = st.integers(16, 5000)


@pytest.mark.parametrize(
    ("geometry", "image_size", "size", "grid"),
    [
        (Geometry(14, sides=(56, 140)), (999, 3), (56, 140), (4, 10)),
        (Geometry(14, short=56), (200, 100), (56, 112), (4, 8)),
        (Geometry(14, short=56), (100, 200), (112, 56), (8, 4)),
        (Geometry(14, short=60), (100, 100), (56, 56), (4, 4)),
        (Geometry(14, scale=0.5), (300, 100), (56, 154), (4, 11)),
        (Geometry(14, scale=0.01), (300, 100), (14, 14), (1, 1)),
    ],
)
def test_the_view_of_an_image_follows_from_its_size(
    geometry: Geometry, image_size: tuple[int, int], size: tuple[int, int], grid: tuple[int, int]
) -> None:
    assert geometry.on(image_size) == View(size, grid)


def test_a_view_without_end_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="it would be seen at"):
        Geometry(14, short=518).on((1_000_000, 100))


@given(
    st.builds(
        Geometry,
        st.integers(1, 32),
        st.none() | st.tuples(SIDES, SIDES),
        st.integers(0, 2000),
        st.floats(0, 4),
        st.integers(0, 1000),
        st.integers(0, 500),
        st.builds(Values, st.sampled_from([None, 8, 12, 16]), st.none() | st.just((0, 2, 1))),
    )
)
def test_a_geometry_is_read_as_it_was_written(geometry: Geometry) -> None:
    assert parse_seen(str(geometry)) == geometry


def test_a_view_is_read_as_such_and_is_the_same_on_every_image() -> None:
    view = View((56, 140), (4, 10), values=Values(12))
    assert parse_seen(str(view)) == view
    assert view.on((10, 2000)) == view


def test_keys_say_what_is_not_usual() -> None:
    lake = LakeGeometry(Geometry(14, (56, 56)), {"b": Geometry(14, (28, 112))}, LakeValues({"a": 12, "b": 12}))
    assert lake.key("c") == ""
    assert lake.key("a") == "12bit"
    assert lake.key("b") == "geometry:14,28x112,0,0.0,0,0 12bit"
    assert lake.of("b") == Geometry(14, (28, 112), values=Values(12))
    assert (lake.grid("a"), lake.grid("b")) == ((4, 4), (2, 8))


@given(SIDES, SIDES, st.sampled_from([224**2, 518**2]))
def test_an_area_keeps_the_aspect_and_about_the_patches(width: int, height: int, area: int) -> None:
    high, wide = area_sides((width, height), area, 14)
    assert high % 14 == wide % 14 == 0
    assert high * wide <= area + 14 * max(high, wide)
    if 1 / 8 < width / height < 8:
        assert 0.75 < (wide / high) / (width / height) < 1.34
        assert high * wide > 0.7 * area


def test_a_square_area_is_the_square() -> None:
    assert area_sides((800, 800), 224**2, 14) == (224, 224)
    assert area_sides((720, 293), 224**2, 14) == (140, 350)


def test_tiles_are_taken_where_the_whole_image_does_not_show_the_smallest_defect() -> None:
    whole = View((518, 518), (37, 37))
    assert tile_scale((2072, 2072), whole, 14, 100) is None
    assert tile_scale((2072, 2072), whole, 14, 10) == 1
    assert tile_scale((2072, 2072), whole, 14, 42) == WORTH_SEEING * 14 / 42


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 39))
def test_tiles_cover_a_side_and_each_patch_is_taken_once(length: int, tile: int, overlap: int) -> None:
    if overlap >= tile:
        with pytest.raises(ValueError, match="cannot overlap"):
            tiles_along(length, tile, overlap)
        return
    tiles = tiles_along(length, tile, overlap)
    assert [place for of in tiles for place in range(of.low, of.high)] == list(range(length))
    for one in tiles:
        assert one.stop - one.start == min(tile, length)
        assert one.start <= one.low < one.high <= one.stop
    for one, other in zip(tiles, tiles[1:], strict=False):
        assert one.stop - other.start >= overlap
        for place in range(one.low, other.high):  # most central in its own
            own, beside = (one, other) if place < one.high else (other, one)
            if beside.start <= place < beside.stop:
                middle = (tile - 1) / 2
                assert abs(place - own.start - middle) <= abs(place - beside.start - middle) + 1


@pytest.mark.parametrize(("turns", "expected"), [(1, []), (4, [90, 180, 270]), (8, [45, 90, 135, 180, 225, 270, 315])])
def test_turns_are_even_and_the_first_is_none(turns: int, expected: list[int]) -> None:
    assert angles(turns) == expected


@pytest.mark.parametrize("geometry", [Geometry(14, short=56), Geometry(14, scale=0.5, tile=28)], ids=str)
@pytest.mark.parametrize("turned", [0, 90])
def test_a_stray_is_not_seen_where_images_differ(geometry: Geometry, turned: int) -> None:
    """All images of a category have room for the longest one: of two strays, one lying, for its square."""
    lake = LakeGeometry(Geometry(14, short=56), {"nut": geometry}, sizes={"nut": (112, 112)}, turned=turned)
    found = lake.of("nut")
    assert found.most == 8 * 56 and parse_seen(str(found)) == found and parse_seen(str(found.of_box(BOX))).within == BOX
    assert max(found.on((112, 896)).size) == max(found.on((896, 112)).size) == 448
    for size in ((112, 952), (952, 112)):
        with pytest.raises(ValueError, match="448 a side at most, 8 times what is usual in its category"):
            found.on(size)
    assert lake.key("nut") == LakeGeometry(Geometry(14, short=56), {"nut": geometry}, turned=turned).key("nut")
    assert lake.of("bolt").most == 0  # of which nothing is known


def test_a_category_of_strays_alone_is_spoken_of_all_the_same() -> None:
    lake = LakeGeometry(Geometry(14, short=56), sizes={"nut": (16, 20_000)})
    assert lake.grid("nut") == (4, 4) and lake.of("nut").most == 0
    assert "16 x 20000 pixels are not seen: it would be seen at 56 x 70000" in lake.of("nut").about((16, 20_000))


def test_squeezed_images_have_no_strays() -> None:
    lake = LakeGeometry(Geometry(14, (56, 56)), sizes={"nut": (100, 100)})
    assert lake.of("nut").most == 0 and lake.of("nut").on((16, 20_000)).size == (56, 56)


BOX = (1, 2, 30, 40)
