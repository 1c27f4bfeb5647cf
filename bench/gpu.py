"""What a GPU does with the search for nearest patches: parity first, then times, beside its own matrix products.

    python bench/gpu.py

Needs torch, Triton and numpy alone, and takes a few minutes. Rows say how a search is made: by products that are
written to memory, or fused with the search for the largest, which writes none of them. `peak` is a large square product
of cuBLAS in fp16; `% of peak` counts what the search has to multiply, each pair of images once for both directions. A
fused search that does not give the same as the other one is not timed. Without a GPU it says NOT RUN;
with --toy in Triton's interpreter it shows that it runs.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ABSENT = 3  # exit code where there is no GPU, as of the other benches
SAME = 1e-4  # of distances: the same rounded vectors, sums in another order
SECONDS = 300  # after which no further row is begun


@dataclass(frozen=True)
class Sizes:
    """Shapes (N, side, D) of N images of side x side patches, tiles of the fused searches, rows of the peak, rounds."""

    shapes: tuple[tuple[int, int, int], ...]
    tiles: tuple[int, ...]
    peak: int
    rounds: int


FULL = Sizes(((128, 16, 768), (32, 37, 768), (128, 16, 2048), (32, 37, 2048)), (32, 64, 128), 8192, 5)
TOY = Sizes(((3, 4, 64),), (32,), 64, 1)


def measure(device: str, sizes: Sizes) -> bool:
    """Print one table; return whether every fused search that ran gives the same."""
    import torch
    import torch.nn.functional as F
    from torch import Tensor

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from pipeline.plan.squares import near_products
    from pipeline.precision import keep_fp32_sums
    from pipeline.scoring.search.fused import FusedNearSearch, FusedSearch
    from pipeline.scoring.search.gemm import GemmSearch
    from pipeline.scoring.search.near import NearSearch

    def seconds(function: Callable[[], object]) -> float:
        times = []
        for _ in range(1 + sizes.rounds):  # the first one compiles and allocates
            if device == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
            function()
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        return statistics.median(times[1:])

    began, is_same = time.perf_counter(), True
    keep_fp32_sums()
    name = torch.cuda.get_device_name() if device == "cuda" else "Triton's interpreter: the figures mean nothing"
    print(f"{name}, torch {torch.__version__}")
    square = torch.randn((sizes.peak, sizes.peak), device=device).half()
    peak = 2 * sizes.peak**3 / seconds(lambda: square @ square.T) / 1e12
    print(f"peak in fp16, {sizes.peak} x {sizes.peak}: {peak:.3g} TFLOP/s")
    print(f"{'images, patches, values':>24} {'compared':>9} {'search':>12} {'apart':>8} {'ms':>9} {'% of peak':>10}")
    for images, side, width in sizes.shapes:
        grid, patches, radius = (side, side), side**2, side // 8 or 1
        generator = torch.Generator().manual_seed(0)
        common = torch.randn((1, 1, width), generator=generator)
        noise = torch.randn((images, patches, width), generator=generator)
        vectors = F.normalize(common + noise, dim=-1).to(device)
        others = ~torch.eye(images, dtype=torch.bool, device=device)

        def of_others(distances: Tensor, others: Tensor = others) -> Tensor:
            return distances.transpose(0, 1)[:, others]

        written: dict[str, Callable[[Tensor], Tensor]] = {
            "whole": GemmSearch("fp16", 8192).mutual,
            "near": NearSearch("fp16", grid, radius).mutual,
        }
        pairs = {"whole": patches**2, "near": near_products(grid, radius)}
        for reach, plain in written.items():
            operations = images * (images - 1) * pairs[reach] * width  # two for each product, half of the pairs
            expected = of_others(plain(vectors))
            for tile in (0, *sizes.tiles):
                if time.perf_counter() - began > SECONDS:
                    print("stopped: time is up")
                    return is_same
                shape = f"{images}, {patches}, {width}"
                line = f"{shape:>24} {reach:>9} {f'fused {tile}' if tile else 'written':>12}"
                mutual = plain
                if tile:
                    whole = reach == "whole"
                    mutual = FusedSearch(tile).mutual if whole else FusedNearSearch(grid, radius, tile).mutual
                try:
                    apart = float((of_others(mutual(vectors)) - expected).abs().max())
                except Exception as error:  # what Triton, its compiler and drivers say is of many types
                    print(f"{line} {' '.join(str(error).split())[:60]}")
                    continue
                if not apart <= SAME:
                    is_same = False
                    print(f"{line} {apart:8.1e}  NOT THE SAME")
                    continue
                took = seconds(partial(mutual, vectors))
                share = 100 * operations / took / 1e12 / peak
                print(f"{line} {apart:8.1e} {1e3 * took:9.2f} {share:10.1f}")
    return is_same


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python bench/gpu.py")
    parser.add_argument("--toy", action="store_true", help="see in a minute that it runs, without a GPU")
    is_toy = parser.parse_args().toy
    if is_toy:
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported
    else:
        import torch

        if not torch.cuda.is_available():
            print("NOT RUN: gpu: there is no GPU here", file=sys.stderr)
            sys.exit(ABSENT)
    sys.exit(0 if measure("cpu" if is_toy else "cuda", TOY if is_toy else FULL) else 1)
