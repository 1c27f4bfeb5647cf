"""Real-IAD's lists."""

import json
from typing import Any

import pytest

from pipeline.catalog.layouts import Item, arrange, detect
from pipeline.errors import CatalogError

GOOD, WRONG = "OK/S0001/audiojack_0001_OK_C1_x.jpg", "NG/BX/S0002/audiojack_0002_NG_BX_C{}_x"
LIST: dict[str, Any] = {
    "meta": {"normal_class": "OK", "prefix": "audiojack/"},
    "train": [{"category": "audiojack", "anomaly_class": "OK", "image_path": "OK/S0009/a.jpg", "mask_path": None}],
    "test": [
        {"category": "audiojack", "anomaly_class": "OK", "image_path": GOOD, "mask_path": None},
        *(
            {
                "category": "audiojack",
                "anomaly_class": "BX",
                "image_path": f"{WRONG.format(view)}.jpg",
                "mask_path": f"{WRONG.format(view)}.png",
            }
            for view in (1, 2)
        ),
    ],
}
IMAGES = [f"audiojack/{GOOD}", *(f"audiojack/{WRONG.format(view)}.{end}" for view in (1, 2) for end in ("jpg", "png"))]
FILES = [*IMAGES, "audiojack/OK/S0009/a.jpg"]


def items(paths: list[str], found: object = LIST) -> list[Item]:
    assert detect(paths) == "real_iad"
    return list(arrange("real_iad", paths, "lake", lambda path: json.dumps(found).encode()))


@pytest.mark.parametrize("above", ["", "sets/"])
@pytest.mark.parametrize("lists", ["realiad_jsons", "realiad_jsons/realiad_jsons"])
@pytest.mark.parametrize("base", ["realiad_1024/", ""])
def test_the_tested_images_of_all_views_are_one_category(above: str, lists: str, base: str) -> None:
    others = [f"{above}realiad_jsons/realiad_jsons_sv/audiojack.json"]
    paths = [f"{above}{lists}/audiojack.json", *others, *(f"{above}{base}{path}" for path in FILES)]
    at = f"{above}{base}"
    assert items(paths) == [
        Item(f"{at}{IMAGES[0]}", "audiojack", False),
        Item(f"{at}{IMAGES[1]}", "audiojack", True, (f"{at}{IMAGES[2]}",)),
        Item(f"{at}{IMAGES[3]}", "audiojack", True, (f"{at}{IMAGES[4]}",)),
    ]


@pytest.mark.parametrize("found", [{}, [], {"meta": {}}, {"meta": {"normal_class": "OK"}, "test": [{"category": "x"}]}])
def test_a_list_of_another_form_is_refused_and_named(found: object) -> None:
    with pytest.raises(CatalogError, match="realiad_jsons/audiojack.json is no list"):
        items(["realiad_jsons/audiojack.json", *FILES], found)


def test_a_list_of_images_that_are_not_there_is_refused() -> None:
    with pytest.raises(CatalogError, match="names 3 test images, and none of them lies below the root, other/"):
        items(["realiad_jsons/audiojack.json", "other/a.jpg"])
