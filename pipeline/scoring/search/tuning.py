"""The faster search for a shape and a device, measured in a second or two on the worker that will use it."""

import functools
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F

from pipeline.precision import keep_fp32_sums
from pipeline.scoring.musc.lnamd import lnamd
from pipeline.scoring.musc.mutual import Search
from pipeline.scoring.scorer import Tuning
from pipeline.scoring.search.gemm import TILE, GemmSearch
from pipeline.scoring.search.near import NearSearch

TILES = {"cpu": (512, TILE, 1536, 2048), "cuda": (TILE, 4096, 8192, 16384)}
PATCHES = {"cpu": 4096, "cuda": 32768}  # of the images that are searched, about
ROUNDS = 3
WORTH_IT = 1.05  # times faster than the default before another is taken: less is noise


@functools.lru_cache(maxsize=1)
def make_search(
    tuning: Tuning,
    dtype: str = "fp32",
    device: str = "cpu",
    grid: tuple[int, int] = (0, 0),
    radius: int | None = None,
) -> Search:
    """Return the search that was chosen, ready on a device ("cpu" or "cuda").

    Within a radius, in patches of a grid (H, W), there is one way only. The last one is kept, since it may hold memory
    of a GPU.
    """
    keep_fp32_sums()
    if radius is not None:
        return NearSearch(dtype, grid, radius)
    if tuning.kind == "gemm":
        return GemmSearch(dtype, tuning.tile)
    from pipeline.scoring.search.faiss import FaissSearch  # the library takes seconds to import

    return FaissSearch(device)


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
