"""The choice of a search: among what the settings allow, the default unless another is clearly faster."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from pipeline.scoring.musc.mutual import Search
from pipeline.scoring.search import tuning
from pipeline.scoring.search.gemm import TILE, GemmSearch
from pipeline.scoring.search.tuning import FUSED_TILES, TILES, WORTH_IT, fuses, same_searches, tune
from tests.scoring.search.test_search import unit_vectors

Kind = Literal["auto", "gemm", "faiss"]
DEFAULT = ("gemm", TILE)
FAISS = ("faiss", 0)
CLEARLY, HARDLY = 1 / (WORTH_IT * 1.01), 1 / (WORTH_IT * 0.99)  # seconds, where the default takes 1


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[Any, float]], list[Any]]:
    """Let some functions take the seconds that are given, and all others 1; return the names of what took part."""

    def setting(seconds: Mapping[Any, float]) -> list[Any]:
        took_part: list[Any] = []

        def measured(functions: Mapping[Any, Callable[[], object]]) -> dict[Any, float]:
            took_part.extend(functions)
            return {name: seconds.get(name, 1.0) for name in functions}

        monkeypatch.setattr(tuning, "_seconds", measured)
        return took_part

    return setting


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("auto", "fp32"), ("gemm", "fp32"), ("faiss", "fp32"), ("auto", "bf16"), ("gemm", "fp16"), ("auto", "int8")],
)
def test_what_is_measured_is_one_of_the_searches_that_the_settings_allow(kind: Kind, dtype: str) -> None:
    found = tune(kind, dtype, (8, 8), width=24, compared=16, device="cpu")
    allowed = {("gemm", tile) for tile in TILES["cpu"]} if kind != "faiss" else set[tuple[str, int]]()
    if kind == "faiss" or (kind == "auto" and dtype == "fp32"):
        allowed.add(FAISS)
    assert (found.kind, found.tile) in allowed
    assert 0 < found.products < 1e16 and 0 < found.aggregated < 1e16


@pytest.mark.parametrize(
    ("kind", "dtype", "searches"),
    [
        ("auto", "fp32", {"gemm", "faiss"}),
        ("gemm", "fp32", {"gemm"}),
        ("faiss", "fp32", {"faiss"}),
        ("auto", "fp16", {"gemm"}),
        ("auto", "bf16", {"gemm"}),
        ("auto", "int8", {"gemm"}),
    ],
)
def test_only_searches_that_the_settings_allow_take_part(
    pretend: Callable[[Mapping[Any, float]], list[Any]], kind: Kind, dtype: str, searches: set[str]
) -> None:
    took_part = pretend({FAISS: 1e-3})
    found = tune(kind, dtype, (8, 8), width=24, compared=16, device="cpu")
    assert {name for name, _ in took_part} == searches | {"lnamd"}
    assert found.kind == ("faiss" if "faiss" in searches else "gemm")


@pytest.mark.parametrize("other", [FAISS, *(("gemm", tile) for tile in TILES["cpu"] if tile != TILE)])
def test_another_search_than_the_default_is_taken_only_when_it_is_clearly_faster(
    pretend: Callable[[Mapping[Any, float]], list[Any]], other: tuple[str, int]
) -> None:
    for seconds, expected in ((1.0, DEFAULT), (HARDLY, DEFAULT), (CLEARLY, other), (1e-3, other), (2.0, DEFAULT)):
        pretend({other: seconds})
        found = tune("auto", "fp32", (8, 8), width=24, compared=16, device="cpu")
        assert (found.kind, found.tile) == expected


def test_tiles_that_cut_images_alike_are_measured_once(pretend: Callable[[Mapping[Any, float]], list[Any]]) -> None:
    took_part = pretend({})
    tune("gemm", "fp32", (37, 37), width=8, compared=4, device="cpu")  # every tile is one image
    assert took_part == [DEFAULT, ("lnamd", 3)]
    took_part.clear()
    tune("gemm", "fp32", (8, 8), width=8, compared=4, device="cpu")
    assert sorted(took_part) == sorted([*(("gemm", tile) for tile in TILES["cpu"]), ("lnamd", 3)])


def test_rates_are_the_work_done_in_a_second(pretend: Callable[[Mapping[Any, float]], list[Any]]) -> None:
    pretend({FAISS: 0.5, ("lnamd", 3): 0.25})
    found = tune("auto", "fp32", (8, 8), width=24, compared=16, device="cpu")
    assert found.kind == "faiss"
    assert found.products == 4096**2 * 16 / 0.5  # 64 images of 64 patches, each patch with each
    assert found.aggregated == 2 * 64 * 24 / 0.25


@pytest.mark.parametrize(
    ("kind", "dtype", "device", "may"),
    [
        ("auto", "fp16", "cuda", True),
        ("auto", "fp16", "cpu", False),
        ("gemm", "fp16", "cuda", False),
        ("auto", "fp32", "cuda", False),
        ("auto", "bf16", "cuda", False),
    ],
)
def test_fused_searches_take_part_on_cuda_in_fp16_only(kind: Kind, dtype: str, device: str, may: bool) -> None:
    assert fuses(kind, dtype, device) == may


@pytest.mark.parametrize("radius", [None, 2])
def test_a_fused_search_is_taken_where_it_is_faster_each_reach_by_itself(
    pretend: Callable[[Mapping[Any, float]], list[Any]], radius: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "fuses", lambda *of: True)
    monkeypatch.setattr(tuning, "same_searches", lambda plain, make, vectors: {64: plain})
    for whole, near in ((CLEARLY, CLEARLY), (HARDLY, CLEARLY), (CLEARLY, HARDLY)):
        pretend({("fused", 64): whole, 64: near})
        found = tune("auto", "fp16", (8, 8), 24, 16, "cpu", radius)
        assert (found.kind, found.tile) == (("fused", 64) if whole == CLEARLY else DEFAULT)
        assert found.near_tile == (64 if near == CLEARLY and radius else 0)
        assert found.dtype == "fp16"


class Off(GemmSearch):
    """Finds distances that are off by some."""

    by = 0.0

    def mutual(self, images: Tensor) -> Tensor:
        return super().mutual(images) + self.by


def test_a_fused_search_that_finds_others_or_does_not_run_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    vectors, plain = unit_vectors(0, 3, 20, 16), GemmSearch("fp16")
    assert list(same_searches(plain, lambda tile: Off("fp16"), vectors)) == list(FUSED_TILES)
    off = Off("fp16")
    off.by = 1.5 * tuning.SAME
    assert same_searches(plain, lambda tile: off, vectors) == {}
    assert caplog.text.count("distances differ by 1.5e-04") == len(FUSED_TILES)

    def refused(tile: int) -> Search:
        raise RuntimeError("out of resource: shared memory")

    with caplog.at_level(logging.INFO):
        assert same_searches(plain, refused, vectors) == {}
    assert caplog.text.count("out of resource: shared memory") == len(FUSED_TILES)


def test_distances_that_are_no_numbers_are_no_others_than_wrong() -> None:
    off = Off("fp16")
    off.by = torch.nan
    assert same_searches(GemmSearch("fp16"), lambda tile: off, unit_vectors(0, 3, 20, 16)) == {}
