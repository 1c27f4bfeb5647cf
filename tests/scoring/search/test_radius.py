"""The radius that keeps a share of distances: known shifts need known radii, and what is measured is what is taken."""

import pytest
import torch
from torch import Tensor

from pipeline.plan.squares import near_products
from pipeline.scoring.search import radius as radius_of
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.near import NearSearch
from pipeline.scoring.search.radius import RADII, SAME, WORTH_IT, choose_radius
from tests.scoring.search.test_search import others, unit_vectors

GRID = (20, 18)


def cut_out(by: int, images: int = 3) -> Tensor:
    """Return images (n, P, D) of one large scene, each seen `by` patches further along both sides."""
    far = by * (images - 1)
    scene = unit_vectors(0, GRID[0] + far, GRID[1] + far, 32)
    views = [scene[i * by : i * by + GRID[0], i * by : i * by + GRID[1]].flatten(0, 1) for i in range(images)]
    return torch.stack(views)


def kept(vectors: Tensor, radius: int) -> float:
    whole = others(GemmSearch().mutual(vectors))
    return float((others(NearSearch("fp32", GRID, radius).mutual(vectors)) <= whole + SAME).float().mean())


@pytest.mark.parametrize(("by", "radius"), [(0, 1), (1, 1), (2, 2), (3, 3)])
def test_a_scene_that_moved_needs_the_radius_it_moved_by(by: int, radius: int) -> None:
    # What has left the picture has its nearest patch anywhere: a fifth of the patches at most.
    found, share = choose_radius(cut_out(by, 2), GRID, least_share=0.7)
    assert found == radius and 0.7 <= share <= 1
    assert share == pytest.approx(kept(cut_out(by, 2), radius), abs=1e-3)


@pytest.mark.parametrize("radius", [1, 2, 3, 4])
def test_the_share_is_that_of_the_search_itself(radius: int) -> None:
    vectors = cut_out(1, 4)
    found, share = choose_radius(vectors, GRID, least_share=0.0, candidates=[radius])
    assert found == radius and share == pytest.approx(kept(vectors, radius), abs=1e-3) and share < 1


def test_the_smallest_that_keeps_enough_is_taken_in_any_order_of_the_candidates() -> None:
    vectors = cut_out(1, 4)
    shares = {radius: choose_radius(vectors, GRID, 0.0, [radius])[1] for radius in (1, 2, 3)}
    assert shares[1] < shares[2] < shares[3]
    for radius, share in shares.items():
        assert choose_radius(vectors, GRID, share, [3, 1, 2]) == (radius, share)


def test_patches_at_any_place_need_the_whole_image() -> None:
    assert choose_radius(unit_vectors(0, 3, 360, 16), GRID) == (None, 1.0)


def test_windows_that_save_too_little_are_not_taken() -> None:
    same = unit_vectors(0, 1, 360, 16).expand(2, 360, 16)
    too_large = [radius for radius in RADII if near_products(GRID, radius) > WORTH_IT * 360**2]
    assert too_large and choose_radius(same, GRID, candidates=too_large) == (None, 1.0)
    assert choose_radius(same, GRID) == (1, 1.0)
    assert choose_radius(same[:, :4], (2, 2)) == (None, 1.0)


@pytest.mark.parametrize("images", [0, 1])
def test_without_a_pair_the_whole_image_is_searched(images: int) -> None:
    assert choose_radius(unit_vectors(0, images, 360, 16), GRID) == (None, 1.0)


def test_vectors_of_any_length_are_left_as_they_are() -> None:
    vectors = 0.3 * cut_out(1) + 5
    before = vectors.clone()
    assert choose_radius(vectors, GRID, 0.7)[0] == 2 and torch.equal(vectors, before)


@pytest.mark.parametrize("by", [0, 1, 2, 3])
def test_some_patches_of_a_large_grid_tell_the_same(by: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = cut_out(by, 3)
    expected, whole = choose_radius(vectors, GRID, least_share=0.6)
    monkeypatch.setattr(radius_of, "LARGE", 359)  # of a grid of 360
    assert len({int(place) for place in torch.linspace(0, 359, radius_of.SOME).round()}) == 360  # all are looked at
    found, share = choose_radius(vectors, GRID, least_share=0.6)
    assert found == expected and share == pytest.approx(whole, abs=2e-2)
    monkeypatch.setattr(radius_of, "SOME", 120)
    found, share = choose_radius(vectors, GRID, least_share=0.6)
    assert found == expected and share == pytest.approx(whole, abs=0.05)


def test_which_grids_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radius_of, "_choose_by_some", lambda *_: (99, 0.5))
    monkeypatch.setattr(radius_of, "LARGE", 360)
    assert choose_radius(cut_out(1), GRID, 0.6)[0] != 99
    monkeypatch.setattr(radius_of, "LARGE", 359)
    assert choose_radius(cut_out(1), GRID, 0.6) == (99, 0.5)


def test_some_patches_at_any_place_need_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radius_of, "LARGE", 100)
    assert choose_radius(unit_vectors(0, 3, 360, 16), GRID) == (None, 1.0)
    same = unit_vectors(0, 1, 360, 16).expand(2, 360, 16)
    assert choose_radius(same, GRID) == (1, 1.0)


@pytest.mark.parametrize("large", [False, True])
def test_patches_that_do_not_count_have_no_voice(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = cut_out(1)
    counts = torch.zeros(3, *GRID, dtype=torch.bool)
    counts[0, :10], counts[1, 3:13], counts[2, :, :9] = True, True, True  # of each as many
    counts = counts.flatten(1)
    vectors[~counts] = unit_vectors(7, int((~counts).sum()), 32)  # whose nearest ones lie anywhere
    if large:
        monkeypatch.setattr(radius_of, "LARGE", 359)
        assert len({int(place) for place in torch.linspace(0, 179, radius_of.SOME).round()}) == 180  # all are asked
    pairs = counts[:, :, None] & ~torch.eye(3, dtype=torch.bool)[:, None]
    whole, shares = GemmSearch().mutual(vectors), {}
    for radius in (1, 2, 3):
        near = NearSearch("fp32", GRID, radius).mutual(vectors)
        shares[radius] = float((near <= whole + SAME)[pairs].float().mean())
        _, share = choose_radius(vectors, GRID, 0.0, [radius], counts)
        assert share == pytest.approx(shares[radius], abs=2e-2 if large else 1e-3)
        assert share > choose_radius(vectors, GRID, 0.0, [radius])[1] + 0.1
    least = (shares[1] + shares[2]) / 2
    assert choose_radius(vectors, GRID, least, counts=counts)[0] == 2 != choose_radius(vectors, GRID, least)[0]
