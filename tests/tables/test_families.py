"""Families in tables: an image's is that of the largest area, and what is known grows from night to night."""

from typing import Any

import pytest

from pipeline.schema.tables import DECIDED, FAMILIES, FOUND, MEMBERS
from pipeline.tables.families import known_families, with_families


def member(image: int, region: int, family: str, **more: Any) -> dict[str, Any]:
    return {"image": image, "region": region, "category": "nut", "family": family} | more


def test_an_image_has_the_family_of_its_largest_area() -> None:
    areas = [(1, 1, 5.0), (1, 2, 3.0), (1, 3, 3.0), (2, 1, 1.0), (3, 1, 9.0)]
    found = FOUND.rows([{"image": image, "region": region, "area": area} for image, region, area in areas])
    members = MEMBERS.rows([member(1, 1, "a"), member(1, 2, "b"), member(1, 3, "b"), member(2, 1, "a")])
    decided, regions = with_families(DECIDED.rows([{"image": n} for n in (3, 2, 1, 4)]), found, members)
    assert decided.schema == DECIDED.arrow and decided["family"].to_pylist() == [None, "a", "b", None]
    assert regions["family"].to_pylist() == ["a", "b", "b", "a", None]


def test_what_is_known_is_the_middle_of_all_nights() -> None:
    first = MEMBERS.rows(
        [
            member(1, 1, "family-1", regions=3, centroid=[1, 0]),
            member(1, 2, "family-1"),
            member(2, 1, "family-2", regions=1, centroid=[0, 1], replaced=[]),
        ]
    )
    monday = known_families(first, FAMILIES.empty())
    assert monday.schema == FAMILIES.arrow
    assert monday.to_pylist() == [
        {"category": "nut", "family": "family-1", "regions": 3, "centroid": [1, 0]},
        {"category": "nut", "family": "family-2", "regions": 1, "centroid": [0, 1]},
    ]
    tuesday = known_families(MEMBERS.rows([member(9, 1, "family-1", regions=4, centroid=[0, 1])]), monday)
    assert tuesday["regions"].to_pylist() == [7, 1]
    assert tuesday["centroid"].to_pylist()[0] == pytest.approx([0.6, 0.8])
    renamed = known_families(
        MEMBERS.rows([member(9, 1, "crack", regions=1, centroid=[1, 0], replaced=["family-1"])]), tuesday
    )
    assert renamed["family"].to_pylist() == ["crack", "family-2"] and renamed["regions"].to_pylist() == [8, 1]
    assert known_families(MEMBERS.empty(), renamed).equals(renamed)
