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
def test_the_tested_images_of_a_camera_are_a_category_and_of_a_part_a_group(above: str, lists: str, base: str) -> None:
    others = [f"{above}realiad_jsons/realiad_jsons_sv/audiojack.json"]
    paths = [f"{above}{lists}/audiojack.json", *others, *(f"{above}{base}{path}" for path in FILES)]
    at = f"{above}{base}"
    assert items(paths) == [
        Item(f"{at}{IMAGES[0]}", "audiojack/C1", False, (), "audiojack_0001_OK"),
        Item(f"{at}{IMAGES[1]}", "audiojack/C1", True, (f"{at}{IMAGES[2]}",), "audiojack_0002_NG_BX"),
        Item(f"{at}{IMAGES[3]}", "audiojack/C2", True, (f"{at}{IMAGES[4]}",), "audiojack_0002_NG_BX"),
    ]


@pytest.mark.parametrize(
    ("name", "category", "part"),
    [
        ("OK/S0004/toy_brick_0004_OK_C5_20231021130716.jpg", "toy_brick/C5", "toy_brick_0004_OK"),
        ("NG/AK/S0004/toy_brick_0004_NG_AK_C3_20230917142453.jpg", "toy_brick/C3", "toy_brick_0004_NG_AK"),
        ("OK/S0004/photo.jpg", "toy_brick", None),
        ("OK/S0004/toy_brick_4_OK_C5_20231021130716.jpg", "toy_brick", None),
        ("OK/toy_brick_0004_OK_C5_x/front.jpg", "toy_brick", None),  # it is the file that has such a name
    ],
)
def test_files_of_another_name_are_views_of_no_part(name: str, category: str, part: str | None) -> None:
    row = {"category": "toy_brick", "anomaly_class": "OK", "image_path": name, "mask_path": None}
    found = {"meta": LIST["meta"] | {"prefix": "toy_brick"}, "test": [row]}
    [item] = items(["realiad_jsons/toy_brick.json", f"toy_brick/{name}"], found)
    assert (item.category, item.group, item.label) == (category, part, False)


@pytest.mark.parametrize("found", [{}, [], {"meta": {}}, {"meta": {"normal_class": "OK"}, "test": [{"category": "x"}]}])
def test_a_list_of_another_form_is_refused_and_named(found: object) -> None:
    with pytest.raises(CatalogError, match="realiad_jsons/audiojack.json is no list"):
        items(["realiad_jsons/audiojack.json", *FILES], found)


def test_a_list_of_images_that_are_not_there_is_refused() -> None:
    with pytest.raises(CatalogError, match="names 3 test images, and none of them lies below the root, other/"):
        items(["realiad_jsons/audiojack.json", "other/a.jpg"])
