"""Mutual scoring of one layer and degree: ours against the paper's way, FAISS, and the machine's matrix products.

    python -m bench.mutual

Rivals are written plainly: torch.cdist of one image against all others at once, as the paper's code does it where
memory allows, and between two images at a time, as it does otherwise; and a FAISS flat index for each reference image
that all other patches are looked up in. The peak is a large square product of the same precision in
the same run; ours counts only the half of the products that must be computed. With a GPU the same is measured there,
after parity with the CPU was checked.

The search near a patch's own place, with a radius of an eighth of the side, is measured against the whole image's on
two layers of a small encoder, side by side; images there are noise on a field that changes slowly from patch to patch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from bench.report import Cell, Report, interleaved, start
from pipeline.plan.squares import near_products
from pipeline.precision import DTYPES as PRECISIONS
from pipeline.precision import keep_fp32_sums
from pipeline.scoring.musc.mutual import interval_average
from pipeline.scoring.search.faiss import FaissSearch
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.near import NearSearch
from pipeline.scoring.search.tuning import tune

DTYPES = ("fp32", "bf16", "fp16", "int8")
NEAR_DTYPES = ("fp32", "int8")
FAISS_AIM, PEAK_AIM = 5.0, 80.0
TOLERANCE = {"fp32": 1e-5, "fp16": 5e-4, "bf16": 3e-3, "int8": 8e-3}
INTERVAL = 0.3

Shape = tuple[int, int, int]  # (N, P, D)


@dataclass(frozen=True)
class Sizes:
    """Shapes (N, P, D), each with the aims against cdist; rows of the square product that says what the peak is; shapes
    that are searched near each patch's place, each with its aim against the whole image in fp32."""

    shapes: tuple[tuple[Shape, dict[str, float]], ...]
    peak: int
    near: tuple[tuple[Shape, float], ...]


FULL = Sizes(
    (((83, 256, 384), {"fp32": 12.0, "bf16": 30.0}), ((12, 1369, 1024), {"fp32": 3.0, "bf16": 10.0})),
    4096,
    (((100, 256, 768), 4.0), ((40, 576, 768), 6.0), ((16, 1369, 768), 6.0)),
)
TOY = Sizes((((4, 256, 64), {}),), 64, (((4, 256, 64), 4.0),))


def main(report: Report, sizes: Sizes) -> None:
    report.title("Mutual scoring of one layer and degree, from vectors to patch scores")
    keep_fp32_sums()
    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    bars: dict[str, dict[str, float]] = {}
    for device in devices:
        for shape, aims in sizes.shapes:
            bars[f"N={shape[0]} P={shape[1]} D={shape[2]} {device}"] = measure(report, shape, aims, device, sizes.peak)
        for shape, aim in sizes.near:
            measure_near(report, shape, aim, device)
    if "cuda" not in devices:
        print("\nNo GPU here: the CUDA path was not run. This same command checks and times it where there is one.")

    def draw(figure: Figure) -> None:
        for axes, (title, speed) in zip(figure.subplots(1, len(bars), squeeze=False)[0], bars.items(), strict=True):
            axes.bar(list(speed), list(speed.values()), color=["#999", "#999", *["#2a6f97"] * len(DTYPES)])
            axes.bar_label(axes.containers[0], fmt="%.3g")
            axes.set_title(title, fontsize=9)
            axes.set_ylabel("times faster than cdist")

    report.save(draw)


@torch.inference_mode()
def measure(report: Report, shape: Shape, aims: dict[str, float], device: str, side: int) -> dict[str, float]:
    """Return how many times faster than cdist each way is; `side` is of the product that says what the peak is."""
    images, patches, width = shape
    vectors = tokens_like(shape).to(device)
    grid = (int(patches**0.5), int(patches**0.5))
    tiles = {dtype: tune("gemm", dtype, grid, width, width, device).tile for dtype in DTYPES}
    ours = {dtype: GemmSearch(dtype, tiles[dtype]) for dtype in DTYPES}
    reference = scores_by(ours["fp32"].mutual, vectors)
    for dtype, search in ours.items():
        error = float((scores_by(search.mutual, vectors) - reference).abs().max())
        print(f"parity of {dtype} on {device}: {error:.1e} from fp32, tile {tiles[dtype]}")
        if error > TOLERANCE[dtype]:
            raise SystemExit(f"{dtype} on {device} is off by {error:.1e}, more than {TOLERANCE[dtype]}: nothing timed")
    if device != "cpu":
        error = float((reference.cpu() - scores_by(GemmSearch().mutual, vectors.cpu())).abs().max())
        if error > TOLERANCE["fp32"]:
            raise SystemExit(f"fp32 on {device} is off by {error:.1e} from the CPU: nothing timed")

    functions: dict[str, Callable[[], object]] = {f"peak {dtype}": peak(dtype, device, side) for dtype in DTYPES}
    functions |= {dtype: _synchronised(partial(scores_by, search.mutual, vectors)) for dtype, search in ours.items()}
    functions["cdist"] = _synchronised(lambda: scores_by(cdist_against_all, vectors))
    functions["cdist by pairs"] = _synchronised(lambda: scores_by(cdist_by_pairs, vectors))
    functions["faiss"] = _synchronised(lambda: scores_by(FaissSearch(device).mutual, vectors))
    for function in functions.values():
        function()  # the first call allocates
    seconds = interleaved(functions, rounds=3)

    name = f"N={images} P={patches} D={width} {device}"
    must = images * (images - 1) * patches**2 * width  # operations: two for each product, half the pairs
    rows: list[list[Cell]] = []
    for dtype in DTYPES:
        rate, best = must / seconds[dtype] / 1e9, 2 * side**3 / seconds[f"peak {dtype}"] / 1e9
        rows.append([dtype, tiles[dtype], seconds[dtype], rate, best, 100 * rate / best])
    for rival in ("faiss", "cdist", "cdist by pairs"):
        rows.append([rival, "", seconds[rival], 2 * must / seconds[rival] / 1e9, "", ""])
    report.table(name, ["way", "tile", "seconds", "GFLOP/s", "peak", "% of peak"], rows)
    speed = {way: seconds["cdist"] / seconds[way] for way in ("cdist", "faiss", *DTYPES)}
    for dtype in DTYPES:
        report.figure(f"{name} {dtype} against cdist", speed[dtype], aims.get(dtype), "x")
    for dtype in DTYPES:
        aim = FAISS_AIM if dtype == "bf16" else None
        report.figure(f"{name} {dtype} against FAISS", seconds["faiss"] / seconds[dtype], aim, "x")
    for row in rows[: len(DTYPES)]:
        report.figure(f"{name} {row[0]} of its peak", float(row[5]), PEAK_AIM, " %")
    return speed


def tokens_like(shape: Shape) -> Tensor:
    """Return unit vectors (N, P, D) as near to each other as those of real images: half of each is the same."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn((1, 1, shape[2]), generator=generator)
    return F.normalize(common + torch.randn(shape, generator=generator), dim=-1)


@torch.inference_mode()
def measure_near(report: Report, shape: Shape, aim: float, device: str) -> None:
    """Measure the search near each patch's place against that of the whole image."""
    images, patches, width = shape
    side = int(patches**0.5)
    grid, radius = (side, side), side // 8
    vectors = smooth_tokens(shape).to(device)
    rows: list[list[Cell]] = []
    for dtype in NEAR_DTYPES:
        whole, near = (
            GemmSearch(dtype, tune("gemm", dtype, grid, width, width, device).tile),
            NearSearch(dtype, grid, radius),
        )
        expected, found = whole.mutual(vectors), near.mutual(vectors)
        is_other = expected.isfinite()
        kept = float((found <= expected + TOLERANCE[dtype])[is_other].float().mean())
        functions = {"whole": partial(whole.mutual, vectors), "near": partial(near.mutual, vectors)}
        seconds = interleaved({name: _synchronised(function) for name, function in functions.items()}, rounds=5)
        times = seconds["whole"] / seconds["near"]
        rows.append([dtype, seconds["whole"], seconds["near"], times, 100 * kept])
    left = 100 * near_products(grid, radius) / patches**2
    name = f"N={images} P={patches} D={width} {device}"
    columns = ["precision", "whole image", "near", "times faster", "% of distances kept"]
    report.table(
        f"Seconds near each patch's place, {name}, radius {radius}, {left:.3g} % of the products", columns, rows
    )
    for row in rows:
        report.figure(f"{name} {row[0]} near against whole", float(row[3]), aim if row[0] == "fp32" else None, "x")


def smooth_tokens(shape: Shape) -> Tensor:
    """Return unit vectors (N, P, D) whose nearest patches lie near their own place, none as near as a duplicate's."""
    generator = torch.Generator().manual_seed(0)
    side = int(shape[1] ** 0.5)
    coarse = torch.randn((1, shape[2], 4, 4), generator=generator)
    field = F.interpolate(coarse, size=(side, side), mode="bicubic").flatten(2).transpose(1, 2)  # (1, P, D)
    return F.normalize(field + torch.randn(shape, generator=generator), dim=-1)


def scores_by(distances: Callable[[Tensor], Tensor], vectors: Tensor) -> Tensor:
    """Return patch scores (N, P) by a way to all distances (N, P, N)."""
    return interval_average(distances(vectors), torch.arange(len(vectors), device=vectors.device), INTERVAL)


def cdist_against_all(vectors: Tensor) -> Tensor:
    """Return distances (N, P, N): cdist of each image against all others at once, then the minimum of each."""
    images, patches, _ = vectors.shape
    result = torch.full((images, patches, images), torch.inf, device=vectors.device)
    for i in range(images):
        others = torch.cat([vectors[:i], vectors[i + 1 :]])
        nearest = torch.cdist(vectors[i], others.flatten(0, 1)).view(patches, images - 1, patches).amin(dim=2)
        result[i, :, :i], result[i, :, i + 1 :] = nearest[:, :i], nearest[:, i:]
    return result


def cdist_by_pairs(vectors: Tensor) -> Tensor:
    """Return distances (N, P, N): cdist between two images, then the minimum."""
    rows = [torch.stack([torch.cdist(one, other).amin(dim=1) for other in vectors], dim=1) for one in vectors]
    return torch.stack(rows)


def peak(dtype: str, device: str, side: int) -> Callable[[], object]:
    """Return a large square product of a precision."""
    values = torch.randn((side, side), device=device)
    if dtype == "int8":
        steps = (values * 40).clamp(-127, 127).to(torch.int8)
        return _synchronised(lambda: torch._int_mm(steps, steps.T))
    values = values.to(PRECISIONS[dtype])
    return _synchronised(lambda: values @ values.T)


def _synchronised(function: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        result = function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return run


if __name__ == "__main__":
    start(main, FULL, TOY)
