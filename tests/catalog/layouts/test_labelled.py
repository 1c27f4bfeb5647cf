"""Folders that say what is normal, each category by itself."""

import pytest

from pipeline.catalog.layouts import detect
from tests.catalog.layouts.trees import found, labels

AD_2 = [
    "can/train/good/000_regular.png",
    "can/validation/good/000_regular.png",
    "can/test_public/good/000_regular.png",
    "can/test_public/bad/000_regular.png",
    "can/test_public/ground_truth/bad/000_regular_mask.png",
    "can/test_private/000_regular.png",
    "can/test_private_mixed/000_mixed.png",
]
MPDD = [
    "bracket_black/train/good/000.png",
    "bracket_black/test/good/000.png",
    "bracket_black/test/scratches/000.png",
    "bracket_black/test/hole/000.png",
    "bracket_black/ground_truth/scratches/000_mask.png",
    "bracket_black/ground_truth/hole/000_mask.png",
]


def test_each_category_has_its_own_word_for_normal() -> None:
    paths = [f"{category}/test/{kind}/0.png" for category, kind in (("a", "good"), ("a", "hole"), ("b", "ok"))]
    paths += ["b/test/ko/0.png", "c/test/Normal/0.png", "c/test/NG/0.png", "d/test/Good/0.png", "d/test/OK/0.png"]
    assert {path: label for path, (_, label, _) in labels(paths).items()} == {
        "a/test/good/0.png": False,
        "a/test/hole/0.png": True,
        "b/test/ok/0.png": False,
        "b/test/ko/0.png": True,
        "c/test/Normal/0.png": False,
        "c/test/NG/0.png": True,
        "d/test/Good/0.png": False,
        "d/test/OK/0.png": False,
    }


def test_good_beside_ko_is_normal() -> None:
    assert [item.label for item in found(["part/test/good/0.png", "part/test/ko/0.png"]).values()] == [False, True]


@pytest.mark.parametrize("folder", ["ground_truth", "Ground_Truth", "gt", "masks", "mask", "labels", "label"])
@pytest.mark.parametrize("normal", ["good", "OK"])
def test_a_test_without_normal_images_takes_those_of_training(folder: str, normal: str) -> None:
    mask = f"part/{folder}/scratch/0_mask.png"
    assert labels(["part/test/scratch/0.png", f"part/train/{normal}/0.png", mask]) == {
        "part/test/scratch/0.png": ("part", True, (mask,)),
        f"part/train/{normal}/0.png": ("part", False, ()),
    }


def test_training_images_count_only_where_the_test_has_no_normal_ones() -> None:
    paths = ["a/test/hole/0.png", "a/train/good/0.png", "b/test/good/0.png", "b/test/hole/0.png", "b/train/good/0.png"]
    assert sorted(found(paths)) == ["a/test/hole/0.png", "a/train/good/0.png", "b/test/good/0.png", "b/test/hole/0.png"]


def test_mvtec_ad_2_has_labels_in_public_and_none_in_private() -> None:
    assert detect(AD_2) == "mvtec_ad_2"
    assert labels(AD_2) == {
        "can/test_public/good/000_regular.png": ("can", False, ()),
        "can/test_public/bad/000_regular.png": (
            "can",
            True,
            ("can/test_public/ground_truth/bad/000_regular_mask.png",),
        ),
        "can/test_private/000_regular.png": ("can", None, ()),
        "can/test_private_mixed/000_mixed.png": ("can", None, ()),
    }


def test_mpdd_is_laid_out_as_mvtec() -> None:
    assert detect(MPDD) == "mvtec"
    assert labels(MPDD) == {
        "bracket_black/test/good/000.png": ("bracket_black", False, ()),
        "bracket_black/test/scratches/000.png": (
            "bracket_black",
            True,
            ("bracket_black/ground_truth/scratches/000_mask.png",),
        ),
        "bracket_black/test/hole/000.png": ("bracket_black", True, ("bracket_black/ground_truth/hole/000_mask.png",)),
    }


@pytest.mark.parametrize("above", ["", "plant 7/", "plant/line 2/"])
@pytest.mark.parametrize("mask", ["ground_truth/bad/0.png", "masks/bad/0_mask.png", "mask/0.png", "labels/0_label.tif"])
def test_good_and_bad_in_one_folder_are_one_category_with_masks_beside(above: str, mask: str) -> None:
    paths = [f"{above}good/0.png", f"{above}bad/0.png", f"{above}{mask}"]
    assert detect(paths) == "flat"
    category = above.rstrip("/") or "lake"
    assert labels(paths) == {
        f"{above}good/0.png": (category, False, ()),
        f"{above}bad/0.png": (category, True, (f"{above}{mask}",)),
    }


@pytest.mark.parametrize("name", ["0_mask.png", "0-MASK.png", "0_gt.tif", "mask_0.png", "0_ground_truth.bmp"])
def test_a_mask_beside_its_image_is_no_image(name: str) -> None:
    paths = ["nut/OK/0.png", "nut/NG/0.png", f"nut/NG/{name}"]
    assert labels(paths)["nut/NG/0.png"] == ("nut", True, (f"nut/NG/{name}",))
    assert f"nut/NG/{name}" not in found(paths)


def test_a_mask_beside_an_image_of_another_kind_of_file_may_be_called_label() -> None:
    assert labels(["kos01/Part0.jpg", "kos01/Part0_label.bmp", "kos01/Part1.jpg"]) == {
        "kos01/Part0.jpg": ("kos01", None, ("kos01/Part0_label.bmp",)),
        "kos01/Part1.jpg": ("kos01", None, ()),
    }


def test_a_folder_of_files_named_as_masks_of_those_above_holds_masks() -> None:
    paths = ["Class1/Test/0001.PNG", "Class1/Test/0002.PNG", "Class1/Test/Label/0002_label.PNG"]
    assert labels(paths) == {paths[0]: ("Class1", None, ()), paths[1]: ("Class1", None, (paths[2],))}


def test_kinds_of_defects_beside_good_are_known_by_their_masks() -> None:
    paths = ["good/0.png", "scratch/0.png", "hole/0.png"]
    masks = ["ground_truth/scratch/0.png", "ground_truth/hole/0.png"]
    assert labels([*paths, *masks]) == {
        "good/0.png": ("lake", False, ()),
        "scratch/0.png": ("lake", True, (masks[0],)),
        "hole/0.png": ("lake", True, (masks[1],)),
    }


def test_images_and_masks_in_two_trees_belong_together() -> None:
    paths = ["nut/images/good/0.png", "nut/images/bad/0.png", "nut/masks/bad/0.png"]
    assert labels(paths) == {
        "nut/images/good/0.png": ("nut", False, ()),
        "nut/images/bad/0.png": ("nut", True, ("nut/masks/bad/0.png",)),
    }
    assert labels(["images/nut/0.png", "masks/nut/0.png"]) == {"images/nut/0.png": ("nut", None, ("masks/nut/0.png",))}


def test_one_mask_that_could_be_of_two_images_is_of_none() -> None:
    paths = ["a/test/good/0.png", "a/test/cut/0.png", "a/test/hole/0.png", "a/test/hole/1.png"]
    masks = ["a/ground_truth/0_mask.png", "a/ground_truth/1_mask.png"]
    assert [item.masks for item in found([*paths, *masks]).values()] == [(), (), (), (masks[1],)]


def test_what_has_no_label_keeps_its_category_beside_good_and_bad() -> None:
    paths = ["nut/good/0.png", "nut/bad/0.png", "nut/extra/0.png", "bolt/0.png", "screw/a/good/0.png"]
    assert {path: label[:2] for path, label in labels(paths).items()} == {
        "nut/good/0.png": ("nut", False),
        "nut/bad/0.png": ("nut", True),
        "nut/extra/0.png": ("nut", None),
        "bolt/0.png": ("bolt", None),
        "screw/a/good/0.png": ("screw/a", False),  # which has no bad ones today
    }


@pytest.mark.parametrize("mask", ["NG/cut/0_label.jpg", "NG/cut/0.png"])
def test_what_lies_beside_anomalous_images_only_is_their_masks(mask: str) -> None:
    paths = ["OK/0.jpg", "NG/cut/0.jpg"]
    assert labels([*paths, mask])["NG/cut/0.jpg"] == ("lake", True, (mask,))
    assert len(found([*paths, mask, mask.replace("NG/cut", "OK")])) == 4


def test_masks_of_a_test_may_lie_in_it_without_kinds() -> None:
    paths = ["a/test/good/0.png", "a/test/bad/0.png", "a/test/masks/0.png"]
    assert labels(paths)["a/test/bad/0.png"] == ("a", True, (paths[2],)) and len(found(paths)) == 2


def test_a_defect_may_be_called_label() -> None:
    paths = ["pill/test/good/0.png", "pill/test/label/0.png", "pill/ground_truth/label/0_mask.png"]
    assert labels(paths)["pill/test/label/0.png"] == ("pill", True, ("pill/ground_truth/label/0_mask.png",))


@pytest.mark.parametrize(
    "paths",
    [
        ["good/0.png", "line 2/0.png"],
        ["line 1/good/0.png", "line 2/good/0.png"],
        ["masks/0.png", "gloves/0.png"],
        ["labels/0.png", "bottles/0.png", "label/1.png"],
        ["line/0.png", "line/0_label.png"],
        ["line/0.png", "line/label/0.png"],
        ["line/mask_0.png", "line/mask_1.png"],
        ["line/x_mask.png"],
        ["line 1/2026-01-01/x.png", "line 1/2026-01-02/x.png"],
        ["test/2026-01-01/x.png", "production/2026-01-01/x.png"],
        ["images/a/0.png", "images/b/0.png"],
    ],
)
def test_a_lake_without_labels_stays_a_folder(paths: list[str]) -> None:
    assert detect(paths) == "folder"
    assert sorted(found(paths)) == sorted(paths)
