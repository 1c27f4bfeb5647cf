"""The choice of a search: among what the settings allow, the default unless another is clearly faster."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest

from pipeline.scoring.search import tuning
from pipeline.scoring.search.gemm import TILE
from pipeline.scoring.search.tuning import TILES, WORTH_IT, tune

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
