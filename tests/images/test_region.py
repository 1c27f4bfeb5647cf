"""Which patches a mask covers: by half of them, at any size of the mask, however the image is turned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.config import InputConfig
from pipeline.errors import StoreUnavailable
from pipeline.images import Quarantine, Reason, region
from pipeline.images.files import mask_values
from pipeline.images.region import patches_in
from pipeline.io.storage import Location
from pipeline.views import View

SIZE = (80, 40)  # width, height of the image
VIEW = View((64, 128), (4, 8))
CONFIG = InputConfig(uri="lake")


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region, "_kept", {})


def mask(path: Path, values: NDArray[Any]) -> tuple[str, str]:
    """Write a mask; return its uri and its tag."""
    Image.fromarray(values.astype(np.uint8)).save(path)
    return str(path), Location.parse(str(path)).entry().etag


def left_half(width: int = 80, height: int = 40, until: float = 0.5) -> NDArray[Any]:
    """Return a mask that is white left of a share of its width."""
    return np.broadcast_to(255 * ((np.arange(width) + 0.5) / width < until), (height, width))


def found(at: tuple[str, str], view: View = VIEW, size: tuple[int, int] = SIZE) -> list[list[int]]:
    return patches_in(*at, view, size, CONFIG).reshape(view.grid).astype(int).tolist()


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_a_mask_may_have_any_size_of_the_images_aspect(scale: float, tmp_path: Path) -> None:
    at = mask(tmp_path / "m.png", left_half(round(80 * scale), round(40 * scale)))
    assert found(at) == [[1, 1, 1, 1, 0, 0, 0, 0]] * 4


@pytest.mark.parametrize(("until", "columns"), [(0.5 + 0.3 / 8, 4), (0.5 + 0.7 / 8, 5), (1, 8)])
def test_a_patch_counts_from_the_half_of_it(until: float, columns: int, tmp_path: Path) -> None:
    at = mask(tmp_path / "m.png", left_half(800, 400, until))
    assert found(at) == [[1] * columns + [0] * (8 - columns)] * 4


def test_what_is_not_black_counts_whatever_it_is(tmp_path: Path) -> None:
    values = np.zeros((40, 80))
    values[:10], values[10:20] = 1, 200
    assert found(mask(tmp_path / "m.png", values)) == [[1] * 8] * 2 + [[0] * 8] * 2


def test_a_turned_image_is_looked_at_in_the_same_places(tmp_path: Path) -> None:
    values = np.zeros((40, 80))
    values[:10, :20] = 255  # the upper left corner: one row of two patches
    at = mask(tmp_path / "m.png", values)
    upright = np.array(found(at))
    for turned in (90, 180, 270):
        view = View((128, 64), (8, 4), turned=turned) if turned != 180 else View((64, 128), (4, 8), turned=180)
        assert np.array_equal(found(at, view), np.rot90(upright, -turned // 90)), turned


def test_by_an_eighth_the_middle_stays_where_it_is(tmp_path: Path) -> None:
    values = np.zeros((160, 160))
    values[60:100, 60:100] = 255
    counts = np.array(found(mask(tmp_path / "m.png", values), View((128, 128), (8, 8), turned=45), (50, 50)))
    assert counts[3:5, 3:5].all() and np.array_equal(counts, np.rot90(counts))
    assert not counts[0].any() and counts.sum() >= 4


def test_a_mask_of_another_aspect_is_refused_with_both_sizes(tmp_path: Path) -> None:
    at = mask(tmp_path / "m.png", left_half(80, 80))
    with pytest.raises(Quarantine, match="has 80 x 80 pixels, the image 80 x 40: their aspects differ") as caught:
        found(at)
    assert caught.value.reason == Reason.UNREADABLE
    assert found(mask(tmp_path / "n.png", left_half(81, 40)))[0][:4] == [1, 1, 1, 1]  # rounded a pixel otherwise


def test_a_black_mask_leaves_nothing_to_look_at(tmp_path: Path) -> None:
    at = mask(tmp_path / "m.png", np.zeros((40, 80)))
    with pytest.raises(Quarantine, match=r"its region .*m\.png covers half of no patch") as caught:
        found(at)
    assert caught.value.reason == Reason.TOO_SMALL


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_what_is_no_mask_is_the_images_reason_and_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(content)
    tag = Location.parse(str(tmp_path / "m.png")).entry().etag
    with pytest.raises(Quarantine, match=r"its region .*m\.png cannot be used: (?!.*changed)") as caught:
        found((str(tmp_path / "m.png"), tag))
    assert caught.value.reason == Reason.UNREADABLE


def test_a_mask_that_is_gone_is_the_images_reason_and_a_silent_store_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Quarantine, match=r"m\.png cannot be used: "):
        found((str(tmp_path / "m.png"), "1"))

    def silent(self: Location) -> Any:
        raise StoreUnavailable("tried for 120 s")

    monkeypatch.setattr(Location, "entry", silent)
    with pytest.raises(StoreUnavailable):
        found((str(tmp_path / "m.png"), "1"))


def test_a_mask_is_decoded_once_for_all_images_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counting(uri: str, *more: Any) -> Any:
        read.append(uri)
        return mask_values(uri, *more)

    monkeypatch.setattr(region, "mask_values", counting)
    at = mask(tmp_path / "m.png", left_half())
    assert found(at) == found(at) and len(read) == 1
    found(at, View((64, 64), (4, 4)))
    assert len(read) == 2  # another grid
    changed = mask(tmp_path / "m.png", 255 - left_half())
    assert changed[1] != at[1] and found(changed) == [[0, 0, 0, 0, 1, 1, 1, 1]] * 4 and len(read) == 3


def test_few_masks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region, "MOST", 2)
    for number in range(5):
        found(mask(tmp_path / f"{number}.png", left_half()))
        assert len(region._kept) <= 2


def test_a_mask_that_changed_since_it_was_listed_is_not_taken_for_the_listed_one(tmp_path: Path) -> None:
    at = mask(tmp_path / "m.png", left_half())
    mask(tmp_path / "m.png", 255 - left_half())
    with pytest.raises(Quarantine, match=r"m\.png cannot be used: .*it changed since it was listed"):
        found(at)
