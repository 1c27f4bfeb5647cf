"""What rounded products cost the default method in accuracy, and what they save, on every set of real images.

    python -m bench.rounding

The sets are those of ../shared/data and ../shared/more_data (or LAKESCORE_SHARED) and the embedded sample, encoded by
the sample's ViT-S/14. Each is scored by preset lakescore, all with all, near each patch's place and in the
whole image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score
from torch import Tensor

from bench.report import Cell, Report, interleaved, start
from bench.sets import Set, judged_sets
from pipeline.metrics.category import PixelTruth, pixel_metrics
from pipeline.scoring.lakescore.cleaning import pooled
from pipeline.scoring.lakescore.descriptor import Descriptor
from pipeline.scoring.lakescore.rounds import both_rounds
from pipeline.scoring.lakescore.scorer import SAMPLE
from pipeline.scoring.maps import anomaly_maps
from pipeline.scoring.musc.mutual import Search
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.near import NearSearch
from pipeline.scoring.search.radius import choose_radius
from pipeline.views import View

MIDDLE = (1, 2)  # of the four stored layers, those of the default method
EXACT, ROUNDED = "fp32", ("fp16", "bf16", "int8")
NEAR, WHOLE = "near", "whole"
LOSES_NOTHING = 0.005  # percent points: 0.00 as it is written


@dataclass(frozen=True)
class Sizes:
    """Pixels a side, images of each set (None: all), and rounds of timing."""

    side: int
    images: int | None
    rounds: int


FULL = Sizes(224, None, 3)
TOY = Sizes(56, 6, 1)


@torch.inference_mode()
def main(report: Report, sizes: Sizes) -> None:
    report.title("What rounded products cost preset lakescore, and what they save")
    rows = list[list[Cell]]()
    worst = dict.fromkeys(ROUNDED, 0.0)
    shares: dict[tuple[str, str], list[float]] = {(way, dtype): [] for way in (NEAR, WHOLE) for dtype in ROUNDED}
    for of in judged_sets(sizes.side, sizes.images):
        [vectors] = Descriptor(of.grid, len(MIDDLE))(torch.cat([of.tokens[:, layer] for layer in MIDDLE], dim=2))
        chosen = np.sort(np.random.default_rng(0).permutation(len(vectors))[:SAMPLE])
        radius, _ = choose_radius(vectors[chosen], of.grid)
        for way in (WHOLE,) if radius is None else (NEAR, WHOLE):
            searches = {dtype: _search(of, dtype, radius if way == NEAR else None) for dtype in (EXACT, *ROUNDED)}
            found = {dtype: figures(of, both_rounds(search.mutual(vectors))) for dtype, search in searches.items()}
            calls: dict[str, Callable[[], Tensor]] = {
                dtype: partial(search.mutual, vectors) for dtype, search in searches.items()
            }
            seconds = interleaved(calls, sizes.rounds)
            for dtype in ROUNDED:
                changes = [after - before for before, after in zip(found[EXACT], found[dtype], strict=True)]
                worst[dtype] = min(worst[dtype], *changes)
                shares[way, dtype].append(seconds[dtype] / seconds[EXACT])
                where = radius if way == NEAR and radius is not None else WHOLE
                cells: list[Cell] = [round(change, 3) + 0.0 for change in changes]
                rows.append([of.name, where, dtype, *cells, *[""] * (2 - len(cells)), shares[way, dtype][-1]])
    columns = ["set", "radius", "products", "image AUROC", "pixel AP", "seconds of fp32's"]
    report.table("Change by rounding, percent points", columns, rows)
    for dtype in ROUNDED:
        report.figure(f"worst change, {dtype}", worst[dtype], -LOSES_NOTHING, " points")
        for way in (NEAR, WHOLE):
            if shares[way, dtype]:
                report.figure(f"seconds of fp32's, {dtype}, {way}", float(np.mean(shares[way, dtype])))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for way in (NEAR, WHOLE):
            if shares[way, ROUNDED[0]]:
                axes.plot(ROUNDED, [float(np.mean(shares[way, dtype])) for dtype in ROUNDED], "o-", label=way)
        axes.set_ylabel("seconds of the search, of fp32's")
        axes.legend()

    report.save(draw)


def figures(of: Set, patches: Tensor) -> list[float]:
    """Return image AUROC, and pixel AP where there are masks, in percent, of patch scores (N, P)."""
    found = [100 * float(roc_auc_score(of.labels, pooled(patches).double().numpy()))]
    if of.masks is not None:
        maps = anomaly_maps(patches, View((of.side, of.side), of.grid)).numpy()
        found.append(100 * (pixel_metrics(maps, PixelTruth(of.masks), "exact")["pixel_ap"].value or 0.0))
    return found


def _search(of: Set, dtype: str, radius: int | None) -> Search:
    return GemmSearch(dtype) if radius is None else NearSearch(dtype, of.grid, radius)


if __name__ == "__main__":
    start(main, FULL, TOY)
