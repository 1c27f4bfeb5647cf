"""What fewer references and cheaper vectors cost in AUROC and AP, on three sets of real images.

    python -m bench.accuracy

The sets are those in ../shared/data (or LAKESCORE_SHARED), encoded by the sample's ViT-S/14. Everything but the named
change is the paper's: four layers, degrees 1 3 5, RsCIN over windows 1 2 3.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from bench.report import Cell, Report, start
from bench.sets import Set, real_sets
from pipeline.config import ReferencesConfig
from pipeline.metrics.category import PixelTruth, pixel_metrics
from pipeline.plan.sampling import choose_references
from pipeline.scoring.maps import anomaly_maps
from pipeline.scoring.musc.lnamd import Aggregation
from pipeline.scoring.musc.mutual import interval_average, mutual_scores, sampling_error
from pipeline.scoring.musc.projection import pca, random_projection
from pipeline.scoring.musc.rscin import rscin
from pipeline.scoring.musc.scorer import FITTED_ON
from pipeline.scoring.search.gemm import GemmSearch
from pipeline.store.int8 import from_steps, to_steps
from pipeline.views import View

DEGREES, INTERVAL, WINDOWS = (1, 3, 5), 0.3, (1, 2, 3)
LOSES_NOTHING = 0.1  # percent points, on every set


@dataclass(frozen=True)
class Sizes:
    """Pixels that images are resized to, images of each set (None: all), and samples of references with their seeds."""

    side: int
    images: int | None
    references: tuple[int, ...]
    seeds: int


FULL = Sizes(side=224, images=None, references=(8, 16, 32, 64), seeds=5)
TOY = Sizes(side=56, images=6, references=(3, 4), seeds=2)


@dataclass(frozen=True)
class Variant:
    """One way to make mutual scoring cheaper: what is compared, how precisely, and how tokens are stored."""

    name: str
    dtype: str = "fp32"
    fuse: bool = False
    project: Callable[[Tensor], Tensor] | None = None  # from vectors (n, D) to a projection (D, d)
    store: Callable[[Tensor], Tensor] | None = None  # from tokens (N, P, D) to what is read back


def variants() -> Iterator[Variant]:
    for dtype in ("fp16", "bf16", "int8"):
        yield Variant(f"{dtype} products", dtype=dtype)
    for part in (2, 4, 8):
        yield Variant(f"PCA to D/{part}", project=partial(_pca, part))
    for part in (2, 4, 8):
        yield Variant(f"random projection to D/{part}", project=partial(_random, part))
    yield Variant("degrees fused", fuse=True)
    yield Variant("degrees fused, int8 products", fuse=True, dtype="int8")
    yield Variant(
        "degrees fused, PCA to D/2, int8 products",
        fuse=True,
        dtype="int8",
        project=partial(_pca, 2),
    )
    yield Variant("int8 stored tokens", store=lambda tokens: torch.from_numpy(from_steps(*to_steps(tokens.numpy()))))


def _pca(part: int, vectors: Tensor) -> Tensor:
    return pca(vectors, vectors.shape[1] // part)


def _random(part: int, vectors: Tensor) -> Tensor:
    return random_projection(vectors.shape[1], vectors.shape[1] // part)


def main(report: Report, sizes: Sizes) -> None:
    report.title("What cheaper scoring costs, on three sets of real images")
    sets = real_sets(sizes.side, sizes.images)
    full = {of.name: figures(of, *score(of, Variant("paper"))) for of in sets}
    cheaper(report, sets, full)
    spread = fewer_references(report, sets, full, sizes)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for of in sets:
            means = [np.mean(spread[of.name, count]) for count in sizes.references]
            errors = [np.std(spread[of.name, count]) for count in sizes.references]
            axes.errorbar(
                sizes.references, means, errors, marker="o", capsize=3, label=f"{of.name} ({len(of.labels)} images)"
            )
            axes.axhline(full[of.name]["AUROC"], color=axes.lines[-1].get_color(), linestyle=":", linewidth=1)
        axes.set_xlabel("reference images (dotted: all)")
        axes.set_ylabel("image AUROC, percent")
        axes.legend()

    report.save(draw)


def cheaper(report: Report, sets: list[Set], full: dict[str, dict[str, float]]) -> None:
    """Print what each variant loses, in percent points, and its seconds."""
    rows: list[list[Cell]] = []
    for variant in variants():
        began, worst = time.perf_counter(), 0.0
        cells: list[float] = []
        for of in sets:
            found = figures(of, *score(of, variant))
            changes = [found[name] - full[of.name][name] for name in found]
            worst = min(worst, *changes)
            cells += [round(change, 2) + 0.0 for change in changes]
        seconds = round(time.perf_counter() - began, 1)
        rows.append([variant.name, *cells, seconds, "nothing" if worst >= -LOSES_NOTHING else ""])
    columns = [f"{of.name} {name}" for of in sets for name in full[of.name]]
    report.table("Figures of the paper's way, percent", columns, [[v for of in sets for v in full[of.name].values()]])
    report.table("Change, percent points", ["variant", *columns, "seconds", "loses"], rows)


def fewer_references(
    report: Report, sets: list[Set], full: dict[str, dict[str, float]], sizes: Sizes
) -> dict[tuple[str, int], list[float]]:
    """Print image AUROC and the spread over seeds for samples of references; return all AUROCs."""
    found: dict[tuple[str, int], list[float]] = {}
    rows: list[list[Cell]] = []
    for of in sets:
        distances = all_distances(of)
        for count in sizes.references:
            scored = [score_by_sample(of, distances, count, seed) for seed in range(sizes.seeds)]
            found[of.name, count] = [figures(of, raw, maps)["AUROC"] for raw, maps, _ in scored]
            raws = torch.stack([raw for raw, _, _ in scored])  # (seeds, N)
            rows.append(
                [
                    of.name,
                    count,
                    round(float(np.mean(found[of.name, count])), 2),
                    round(float(np.std(found[of.name, count])), 2),
                    round(full[of.name]["AUROC"], 2),
                    float(raws.std(dim=0).mean()),
                    float(torch.stack([errors for _, _, errors in scored]).mean()),
                ]
            )
    columns = ["set", "references", "AUROC", "spread", "all", "deviation of a score", "stderr reported"]
    report.table(f"Image AUROC in percent over {sizes.seeds} seeds", columns, rows)
    return found


def figures(of: Set, raw: Tensor, maps: Tensor) -> dict[str, float]:
    """Return image AUROC and AP after RsCIN, and pixel AP where there are masks, in percent."""
    final = rscin(raw, of.embeddings, WINDOWS).numpy()
    result = {"AUROC": 100 * roc_auc_score(of.labels, final), "AP": 100 * average_precision_score(of.labels, final)}
    if of.masks is not None:
        pixel = pixel_metrics(maps.numpy(), PixelTruth(of.masks), "exact")["pixel_ap"].value
        result["pixel AP"] = 100 * (pixel or 0.0)
    return {name: float(value) for name, value in result.items()}


@torch.inference_mode()
def score(of: Set, variant: Variant) -> tuple[Tensor, Tensor]:
    """Return raw scores (N,) and maps (N, S, S), with all references."""
    layers = [mutual_scores(*compared(of, tokens, variant)) for tokens in of.tokens.unbind(1)]
    maps = anomaly_maps(torch.stack(layers).mean(dim=0), View((of.side, of.side), of.grid))
    return maps.amax(dim=(1, 2)), maps


def compared(of: Set, tokens: Tensor, variant: Variant) -> tuple[Tensor, Aggregation, float, GemmSearch]:
    """Return what mutual_scores takes for one layer's tokens (N, P, D)."""
    stored = tokens if variant.store is None else variant.store(tokens)
    aggregation = Aggregation(of.grid, DEGREES, variant.fuse)
    if variant.project is not None:
        vectors = torch.cat([vectors.flatten(0, 1) for vectors in aggregation(stored[:FITTED_ON])])
        aggregation = Aggregation(of.grid, DEGREES, variant.fuse, variant.project(vectors))
    return stored, aggregation, INTERVAL, GemmSearch(variant.dtype)


@torch.inference_mode()
def all_distances(of: Set) -> list[Tensor]:
    """Return distances (r, N, P, N) of each layer, of which a sample of references is some columns."""
    search, paper = GemmSearch(), Aggregation(of.grid, DEGREES)
    return [torch.stack([search.mutual(vectors) for vectors in paper(tokens)]) for tokens in of.tokens.unbind(1)]


@torch.inference_mode()
def score_by_sample(of: Set, layers: list[Tensor], count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return raw scores (N,), maps (N, S, S) and the scores' standard errors (N,) for a sample of references."""
    chosen = choose_references(ReferencesConfig(mode="sample", count=count, seed=seed), of.uris)
    own = torch.full((len(of.uris),), -1)
    own[chosen] = torch.arange(len(chosen))
    found = []
    for distances in layers:
        rows = distances[..., chosen]  # (r, N, P, R)
        scores = torch.stack([interval_average(of_degree, own, INTERVAL) for of_degree in rows]).mean(dim=0)
        errors = [sampling_error(rows[:, i], INTERVAL, len(own)) for i in range(len(own))]
        found.append(torch.stack([scores, torch.stack(errors)]))
    patch_scores, errors_of_patches = torch.stack(found).mean(dim=0)
    maps = anomaly_maps(patch_scores, View((of.side, of.side), of.grid))
    worst = patch_scores.argmax(dim=1, keepdim=True)
    return maps.amax(dim=(1, 2)), maps, errors_of_patches.gather(1, worst)[:, 0]


if __name__ == "__main__":
    start(main, FULL, TOY)
