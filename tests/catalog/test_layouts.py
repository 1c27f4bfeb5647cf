"""Layouts: what counts as an image, of which category, with which label and masks."""

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.catalog.layouts import LOCO_DEFECTS, SIDECARS, VISA_SPLIT, Item, arrange, detect
from tests.corpus import HOSTILE_NAMES

MVTEC = [
    "bottle/train/good/000.png",
    "bottle/test/good/000.png",
    "bottle/test/broken/000.png",
    "bottle/test/broken/001.png",
    "bottle/ground_truth/broken/000_mask.png",
]
BTAD = ["01/train/ok/0000.bmp", "01/test/ok/0000.bmp", "01/test/ko/0000.bmp", "01/ground_truth/ko/0000.png"]
LOCO = [
    "box/test/good/000.png",
    "box/test/logical_anomalies/000.png",
    "box/test/structural_anomalies/000.png",
    "box/ground_truth/logical_anomalies/000/000.png",
    "box/ground_truth/logical_anomalies/000/001.png",
    "box/ground_truth/structural_anomalies/000/000.png",
    f"box/{LOCO_DEFECTS}",
]
VISA = [
    "candle/Data/Images/Normal/0000.JPG",
    "candle/Data/Images/Anomaly/000.JPG",
    "candle/Data/Images/Anomaly/001.JPG",
    "candle/Data/Masks/Anomaly/000.png",
    "candle/image_anno.csv",
]
LAYOUTS = {"mvtec": MVTEC, "btad": BTAD, "loco": LOCO, "visa": VISA}


def no_file(path: str) -> bytes:
    raise AssertionError(f"{path} was read")


def items(layout: str, paths: Iterable[str], root: str = "lake") -> list[Item]:
    return list(arrange(layout, list(paths), root, no_file))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_recognised_by_its_folders(layout: str) -> None:
    assert detect(LAYOUTS[layout]) == layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_recognised_at_any_depth(layout: str) -> None:
    assert detect(f"plant 7/line/{path}" for path in LAYOUTS[layout]) == layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_recognised_when_the_root_is_one_category(layout: str) -> None:
    assert detect(path.partition("/")[2] for path in LAYOUTS[layout]) == layout


@given(st.sampled_from(sorted(LAYOUTS)).flatmap(lambda name: st.tuples(st.just(name), st.permutations(LAYOUTS[name]))))
def test_recognition_does_not_depend_on_the_order_of_the_listing(drawn: tuple[str, list[str]]) -> None:
    layout, paths = drawn
    assert detect(paths) == layout


@pytest.mark.parametrize("defect", ["logical_anomalies", "structural_anomalies"])
def test_loco_is_recognised_without_its_defects_file(defect: str) -> None:
    assert detect(["box/test/good/000.png", f"box/test/{defect}/000.png"]) == "loco"


@pytest.mark.parametrize(
    "paths",
    [
        [],
        ["a.png"],
        ["line/a.png", "line/b.png"],
        ["line/test/good"],  # a file of that name is no folder
        ["line/Data/Images"],
        ["line/test/ok"],
        ["latest/good/0.png"],
        ["test/goods/0.png"],
    ],
)
def test_anything_else_is_a_folder(paths: list[str]) -> None:
    assert detect(paths) == "folder"


def test_mvtec_takes_the_test_images_with_label_and_mask() -> None:
    assert items("mvtec", MVTEC) == [
        Item("bottle/test/good/000.png", "bottle", False),
        Item("bottle/test/broken/000.png", "bottle", True, ("bottle/ground_truth/broken/000_mask.png",)),
        Item("bottle/test/broken/001.png", "bottle", True),
    ]


def test_btad_takes_ok_and_ko() -> None:
    assert items("btad", BTAD) == [
        Item("01/test/ok/0000.bmp", "01", False),
        Item("01/test/ko/0000.bmp", "01", True, ("01/ground_truth/ko/0000.png",)),
    ]


def test_loco_takes_every_mask_in_the_folder_named_like_the_image() -> None:
    assert items("loco", LOCO) == [
        Item("box/test/good/000.png", "box", False),
        Item(
            "box/test/logical_anomalies/000.png",
            "box",
            True,
            (
                "box/ground_truth/logical_anomalies/000/000.png",
                "box/ground_truth/logical_anomalies/000/001.png",
            ),
        ),
        Item(
            "box/test/structural_anomalies/000.png",
            "box",
            True,
            ("box/ground_truth/structural_anomalies/000/000.png",),
        ),
    ]


def test_visa_without_its_split_takes_every_image() -> None:
    assert items("visa", VISA) == [
        Item("candle/Data/Images/Normal/0000.JPG", "candle", False),
        Item("candle/Data/Images/Anomaly/000.JPG", "candle", True, ("candle/Data/Masks/Anomaly/000.png",)),
        Item("candle/Data/Images/Anomaly/001.JPG", "candle", True),
    ]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_visa_with_its_split_takes_the_test_rows_alone(start: bytes, end: str) -> None:
    split = end.join(
        [
            "object,split,label,image,mask",
            "candle,train,normal,candle/Data/Images/Normal/0000.JPG,",
            "candle,test,normal,candle/Data/Images/Normal/0001.JPG,",
            "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png",
            'candle,test,anomaly,"candle/Data/Images/Anomaly/a, b.JPG",',
            "",
        ]
    )
    asked = []

    def read(path: str) -> bytes:
        asked.append(path)
        return start + split.encode()

    assert list(arrange("visa", [*VISA, VISA_SPLIT], "lake", read)) == [
        Item("candle/Data/Images/Normal/0001.JPG", "candle", False),
        Item("candle/Data/Images/Anomaly/000.JPG", "candle", True, ("candle/Data/Masks/Anomaly/000.png",)),
        Item("candle/Data/Images/Anomaly/a, b.JPG", "candle", True),
    ]
    assert asked == [VISA_SPLIT]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("above", ["plant", "plant 7/line 1", "2024.01"])
def test_category_is_the_whole_path_above_the_layouts_own_folders(layout: str, above: str) -> None:
    expected = [f"{above}/{item.category}" for item in items(layout, LAYOUTS[layout])]
    assert [item.category for item in items(layout, (f"{above}/{path}" for path in LAYOUTS[layout]))] == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_category_is_the_roots_name_when_the_root_is_one_category(layout: str) -> None:
    whole = items(layout, LAYOUTS[layout])
    alone = items(layout, (path.partition("/")[2] for path in LAYOUTS[layout]), root="socket")
    assert [item.category for item in alone] == ["socket"] * len(whole)
    assert [(item.label, len(item.masks)) for item in alone] == [(item.label, len(item.masks)) for item in whole]


def test_folder_called_test_above_the_categories_changes_no_label() -> None:
    paths = ["test/bottle/test/good/0.png", "test/bottle/test/broken/0.png", "test/bottle/ground_truth/broken/0.png"]
    assert items("mvtec", paths) == [
        Item("test/bottle/test/good/0.png", "test/bottle", False),
        Item("test/bottle/test/broken/0.png", "test/bottle", True, ("test/bottle/ground_truth/broken/0.png",)),
    ]


@pytest.mark.parametrize("mask", ["000_mask.png", "000.png", "000_mask.bmp", "000.tif"])
def test_mask_is_named_like_its_image_with_or_without_mask_behind_it(mask: str) -> None:
    (item,) = items("mvtec", ["bottle/test/broken/000.png", f"bottle/ground_truth/broken/{mask}"])
    assert item.masks == (f"bottle/ground_truth/broken/{mask}",)


def test_masks_of_one_image_are_sorted() -> None:
    masks = ("bottle/ground_truth/broken/000.png", "bottle/ground_truth/broken/000_mask.png")
    (item,) = items("mvtec", ["bottle/test/broken/000.png", *reversed(masks)])
    assert item.masks == masks


def test_mask_of_another_defect_category_or_image_is_not_taken() -> None:
    others = [
        "bottle/ground_truth/cut/000_mask.png",
        "cable/ground_truth/broken/000_mask.png",
        "bottle/ground_truth/broken/0000_mask.png",
        "bottle/ground_truth/broken/00_mask.png",
    ]
    (item,) = items("mvtec", ["bottle/test/broken/000.png", *others])
    assert item.masks == ()


def test_normal_image_has_no_mask_even_where_there_is_a_file() -> None:
    (item,) = items("mvtec", ["bottle/test/good/000.png", "bottle/ground_truth/good/000_mask.png"])
    assert item == Item("bottle/test/good/000.png", "bottle", False)


def test_images_in_folders_of_a_defect_find_their_masks_in_the_same_folders() -> None:
    paths = [
        "bottle/test/broken/day 1/000.png",
        "bottle/test/broken/day 2/000.png",
        "bottle/ground_truth/broken/day 1/000_mask.png",
        "bottle/ground_truth/broken/day 2/000_mask.png",
    ]
    assert [item.masks for item in items("mvtec", paths)] == [(paths[2],), (paths[3],)]


@pytest.mark.parametrize("layout", ["mvtec", "btad", "loco"])
def test_image_that_lies_in_no_folder_of_a_test_is_not_taken(layout: str) -> None:
    assert items(layout, ["a.png", "bottle/a.png", "bottle/test/a.png", "bottle/train/good/a.png"]) == []


def test_folder_takes_the_first_level_as_category_and_knows_no_labels() -> None:
    assert items("folder", ["a.png", "line/b.png", "line/deep/er/c.png"], root="lake") == [
        Item("a.png", "lake"),
        Item("line/b.png", "line"),
        Item("line/deep/er/c.png", "line"),
    ]


@pytest.mark.parametrize("suffix", sorted(SIDECARS))
def test_notes_beside_images_are_no_inputs(suffix: str) -> None:
    assert items("folder", [f"line/a{suffix}", f"line/B{suffix.upper()}", "line/c.png"]) == [Item("line/c.png", "line")]
    assert items("mvtec", [f"bottle/test/good/a{suffix}", "bottle/test/good/c.png"]) == [
        Item("bottle/test/good/c.png", "bottle", False)
    ]


@pytest.mark.parametrize("name", ["a", "a.png.part", "a.heic", "a.raw", "txt", "a.txt.png", "a.pngtxt"])
def test_whatever_is_not_a_note_is_an_input(name: str) -> None:
    assert items("folder", [f"line/{name}"]) == [Item(f"line/{name}", "line")]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_taken_literally_by_every_layout(name: str) -> None:
    stem = name.rpartition(".")[0]
    assert items("folder", [name, f"{stem}/{name}"]) == [Item(name, "lake"), Item(f"{stem}/{name}", stem)]
    image, mask = f"{stem}/test/{stem}/{name}", f"{stem}/ground_truth/{stem}/{stem}_mask.png"
    for layout in ("mvtec", "btad"):
        assert items(layout, [image, mask]) == [Item(image, stem, True, (mask,))]
    mask = f"{stem}/ground_truth/{stem}/{stem}/0.png"
    assert items("loco", [image, mask]) == [Item(image, stem, True, (mask,))]
    image, mask = f"{stem}/Data/Images/Anomaly/{name}", f"{stem}/Data/Masks/Anomaly/{name}"
    assert items("visa", [image, mask]) == [Item(image, stem, True, (mask,))]


segments = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
names = st.one_of(segments, st.builds(lambda stem, end: stem + end, segments, st.sampled_from([*SIDECARS, ".png"])))
trees = st.lists(st.builds("/".join, st.lists(names, min_size=1, max_size=4)), unique=True, max_size=12)


@given(trees)
def test_folder_gives_every_path_that_is_no_note_exactly_one_item(paths: list[str]) -> None:
    expected = Counter(path for path in paths if not path.lower().endswith(tuple(SIDECARS)))
    found = items("folder", paths)
    assert Counter(item.path for item in found) == expected
    assert all(item.label is None and item.masks == () and item.category for item in found)


@given(st.sampled_from(sorted(LAYOUTS)), trees)
def test_no_layout_gives_a_path_twice_or_one_that_is_not_there(layout: str, paths: list[str]) -> None:
    listed = list(dict.fromkeys(LAYOUTS[layout] + paths))
    found = [item.path for item in items(layout, listed)]
    assert len(found) == len(set(found))
    assert set(found) <= set(listed)
