"""The faster search for a shape and a device, measured in a second or two on the worker that will use it."""

import functools
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

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
FUSED_TILES = (32, 64, 128)
SAME = 1e-4  # of two ways to search the same rounded vectors; their sums have another order

log = logging.getLogger(__name__)


@functools.lru_cache(maxsize=1)
def make_search(
    tuning: Tuning,
    device: str = "cpu",
    grid: tuple[int, int] = (0, 0),
    radius: int | None = None,
) -> Search:
    """Return the search that was chosen, ready on a device ("cpu" or "cuda").

    `radius` is in patches of a grid (H, W), None: the whole image. The last one is kept, since it may hold memory of a
    GPU.
    """
    keep_fp32_sums()
    if radius is not None:
        if tuning.near_tile:
            return _fused_near(grid, radius, tuning.near_tile)
        return NearSearch(tuning.dtype, grid, radius)
    if tuning.kind == "gemm":
        return GemmSearch(tuning.dtype, tuning.tile)
    if tuning.kind == "fused":
        return _fused(tuning.tile)
    from pipeline.scoring.search.faiss import FaissSearch  # the library takes seconds to import

    return FaissSearch(device)


def tune(
    kind: Literal["auto", "gemm", "faiss"],
    dtype: str,
    grid: tuple[int, int],
    width: int,
    compared: int,
    device: str,
    radius: int | None = None,
) -> Tuning:
    """Measure the searches that the settings allow on random vectors, and take the fastest.

    Args:
        kind: "auto", "gemm" or "faiss".
        dtype: of the products; FAISS takes part in fp32 only.
        grid: (H, W) in patches.
        width: D of the tokens.
        compared: D of the compared vectors.
        device: "cpu" or "cuda". On CUDA fused searches take part, where they find the same.
        radius: within which patches are usually compared; None: in the whole image only.
    """
    patches = grid[0] * grid[1]
    images = max(2, PATCHES[device] // patches)
    generator = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn((images, patches, compared), generator=generator), dim=-1).to(device)
    candidates: dict[tuple[str, int], Search] = {}
    if kind != "faiss":
        tiles = sorted(set(TILES[device]), key=lambda tile: tile != TILE)  # the default first
        steps = {max(1, tile // patches): tile for tile in reversed(tiles)}  # those that cut images alike are one
        candidates |= {("gemm", tile): GemmSearch(dtype, tile) for tile in tiles if tile in steps.values()}
    if kind == "faiss" or (kind == "auto" and dtype == "fp32"):
        from pipeline.scoring.search.faiss import FaissSearch  # the library takes seconds to import

        candidates["faiss", 0] = FaissSearch(device)
    fused_too = fuses(kind, dtype, device)
    if fused_too:
        fused = same_searches(next(iter(candidates.values())), _fused, vectors)
        candidates |= {("fused", tile): search for tile, search in fused.items()}
    seconds = _seconds({name: partial(search.nearest, vectors, vectors) for name, search in candidates.items()})
    best = _fastest(seconds)
    near_tile = 0
    if fused_too and radius is not None:
        plain = NearSearch(dtype, grid, radius)
        searches = {0: plain} | same_searches(plain, partial(_fused_near, grid, radius), vectors)
        near_tile = _fastest(_seconds({tile: partial(of.mutual, vectors) for tile, of in searches.items()}))

    tokens = torch.randn((2, patches, width), generator=generator).to(device)
    aggregating = _seconds({("lnamd", 3): partial(lnamd, tokens, grid, 3)})["lnamd", 3]
    rate = (images * patches) ** 2 * compared / seconds[best]
    return Tuning(best[0], best[1], rate, tokens.numel() / aggregating, dtype, near_tile)


def fuses(kind: Literal["auto", "gemm", "faiss"], dtype: str, device: str) -> bool:
    """Tell whether fused searches take part: the kernels are for CUDA's tensor cores, in fp16."""
    return device == "cuda" and kind == "auto" and dtype == "fp16"


def same_searches(plain: Search, make: Callable[[int], Search], vectors: Tensor) -> dict[int, Search]:
    """Return the fused searches, by their tiles, that this device takes and that find in vectors (N, P, D) the same."""
    others = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    found = dict[int, Search]()
    for tile in FUSED_TILES:
        try:
            search = make(tile)
            one_way = (search.nearest(vectors, vectors) - plain.nearest(vectors, vectors)).abs().max()
            both = (search.mutual(vectors) - plain.mutual(vectors)).transpose(0, 1)[:, others].abs().max()
            apart = float(torch.maximum(one_way, both))  # NaN if any is
        except Exception as error:  # what Triton, its compiler and drivers say is of many types
            log.info("fused search with tiles of %d is left out: %s", tile, " ".join(str(error).split())[:300])
            continue
        if apart <= SAME:
            found[tile] = search
        else:
            log.warning("fused search with tiles of %d is left out: distances differ by %.1e", tile, apart)
    return found


def _fused(tile: int) -> Search:
    from pipeline.scoring.search.fused import FusedSearch  # Triton is not everywhere

    return FusedSearch(tile)


def _fused_near(grid: tuple[int, int], radius: int, tile: int) -> Search:
    from pipeline.scoring.search.fused import FusedNearSearch

    return FusedNearSearch(grid, radius, tile)


def _fastest(seconds: Mapping[Any, float]) -> Any:
    """Return the fastest, or the first one where no other is clearly faster."""
    default = next(iter(seconds))
    best = min(seconds, key=seconds.__getitem__)
    return default if seconds[default] < WORTH_IT * seconds[best] else best


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
