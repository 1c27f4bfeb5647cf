"""The faster search for a shape and a device, measured in a second or two on the worker that will use it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F

from pipeline.scoring.musc import Search, lnamd
from pipeline.scoring.search.gemm import TILE, GemmSearch

TILES = {"cpu": (512, TILE, 1536, 2048), "cuda": (TILE, 4096, 8192, 16384)}
PATCHES = {"cpu": 4096, "cuda": 32768}  # of the images that are searched, about
ROUNDS = 3
WORTH_IT = 1.05  # times faster than the default before another is taken: less is noise


@dataclass(frozen=True)
class Tuning:
    """What was found: the search to use, its tile, and what the worker does in a second.

    `products` are multiply-adds of the search, `aggregated` values of LNAMD at degree 3.
    """

    kind: Literal["gemm", "faiss"]
    tile: int
    products: float
    aggregated: float


def untuned(kind: Literal["auto", "gemm", "faiss"], device: str) -> Tuning:
    """Return what is taken where measuring would cost more than it gains, with rates of a modest machine."""
    products = {"cpu": 5e10, "cuda": 1e13}[device]
    return Tuning("faiss" if kind == "faiss" else "gemm", TILE if device == "cpu" else 8192, products, products / 1e3)


def tune(
    kind: Literal["auto", "gemm", "faiss"], dtype: str, grid: tuple[int, int], width: int, compared: int, device: str
) -> Tuning:
    """Measure the searches that the settings allow on random vectors, and take the fastest.

    Args:
        kind: "auto", "gemm" or "faiss".
        dtype: of the products; FAISS takes part in fp32 only.
        grid: (H, W) in patches.
        width: D of the tokens.
        compared: D of the compared vectors.
        device: "cpu" or "cuda".
    """
    patches = grid[0] * grid[1]
    images = max(2, PATCHES[device] // patches)
    generator = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn((images, patches, compared), generator=generator), dim=-1).to(device)
    candidates: dict[tuple[Literal["gemm", "faiss"], int], Search] = {}
    if kind != "faiss":
        tiles = sorted(set(TILES[device]), key=lambda tile: tile != TILE)  # the default first
        steps = {max(1, tile // patches): tile for tile in reversed(tiles)}  # those that cut images alike are one
        candidates |= {("gemm", tile): GemmSearch(dtype, tile) for tile in tiles if tile in steps.values()}
    if kind == "faiss" or (kind == "auto" and dtype == "fp32"):
        from pipeline.scoring.search.faiss import FaissSearch  # the library takes seconds to import

        candidates["faiss", 0] = FaissSearch(device)
    seconds = _seconds({name: partial(search.nearest, vectors, vectors) for name, search in candidates.items()})
    default = next(iter(candidates))
    best = min(seconds, key=seconds.__getitem__)
    if seconds[default] < WORTH_IT * seconds[best]:
        best = default

    tokens = torch.randn((2, patches, width), generator=generator).to(device)
    aggregating = _seconds({("lnamd", 3): partial(lnamd, tokens, grid, 3)})["lnamd", 3]
    return Tuning(best[0], best[1], (images * patches) ** 2 * compared / seconds[best], tokens.numel() / aggregating)


def _seconds(functions: Mapping[Any, Callable[[], object]]) -> dict[Any, float]:
    """Return each function's shortest time; all take turns, after one call that warms up."""
    best = dict.fromkeys(functions, float("inf"))
    for turn in range(ROUNDS + 1):
        for name, function in functions.items():
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            start = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    return best
