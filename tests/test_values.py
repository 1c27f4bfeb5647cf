"""What is seen of values: its text, and the depths that hold a value."""

import pytest

from pipeline.values import LakeValues, Values, depth_of
from pipeline.views import View

ALL = [
    Values(),
    Values(8),
    Values(12),
    Values(None),
    Values(16, (3, 2, 0)),
    Values(10, (0, 0, 0)),
    Values(None, (9, 5, 29)),
]


@pytest.mark.parametrize("values", ALL, ids=str)
def test_values_are_read_as_they_were_written_alone_and_in_a_view(values: Values) -> None:
    assert Values.parse(str(values)) == values
    view = View((56, 112), (4, 8), (0.0, 0.25, 0.5, 1.0), 90, values)
    assert View.parse(str(view)) == view
    assert str(view).isascii() and "\n" not in str(view)


def test_usual_values_say_nothing_and_others_differ() -> None:
    assert str(Values()) == ""
    assert str(View((112, 112), (8, 8))) == "112x112 8x8 0.0,0.0,1.0,1.0 0"  # as before there were values
    assert len(set(map(str, ALL))) == len(ALL)


@pytest.mark.parametrize(
    ("largest", "bits"),
    [
        (0, 8),
        (255, 8),
        (256, 10),
        (1023, 10),
        (1024, 12),
        (4095, 12),
        (4096, 14),
        (16383, 14),
        (16384, 16),
        (65535, 16),
    ],
)
def test_a_depth_is_the_smallest_of_a_camera_that_holds_a_value(largest: int, bits: int) -> None:
    assert depth_of(largest) == bits


def test_a_category_that_nobody_looked_at_has_the_usual_values_and_one_that_says_nothing_has_its_features() -> None:
    lake = LakeValues({"ten": 10, "all": 16, "none": None})
    assert [lake.of(name).bits for name in ("ten", "all", "none", "other")] == [10, 16, None, 16]
    assert [lake.key(name) for name in ("ten", "all", "none", "other")] == ["10bit", "", "", ""]
    assert lake.shallow() == {"ten": 10}
