"""Families of defects against the types that people know: by regions, by whole images, and by worst patches.

    python -m bench.families

Defects whose folders name their type: those of MVTec AD's transistor in ../shared/more_data (or LAKESCORE_SHARED), and
the made ones of the embedded sample, encoded by the sample's ViT-S/14 and scored by musc. Anomaly Clustering (WACV
2023) has NMI, ARI and F1 of 52.5, 43.1 and 60.4 over all of MVTec AD, by another encoder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from bench.accuracy import Variant, score
from bench.report import Cell, Report, start
from bench.sets import Set, beside, sample_folder, sets_of
from pipeline.scoring.differences import difference_vectors, joined
from pipeline.scoring.families import cluster
from pipeline.scoring.regions import Region, find_regions, patches_of
from pipeline.stages.differences import REFERENCES
from pipeline.views import View

QUANTILE = 0.999  # of the maps of a category, as runs take it by default


@dataclass(frozen=True)
class Sizes:
    """Pixels that images are resized to, and images of each category (None: all)."""

    side: int
    images: int | None


FULL = Sizes(side=224, images=None)
TOY = Sizes(side=56, images=12)


def main(report: Report, sizes: Sizes) -> None:
    report.title("Families of defects, against the types that people know")
    named = sets_of(beside("more_data/mvtec_ad"), sizes.side, sizes.images, "transistor")
    sets = named + sets_of(sample_folder(), sizes.side, sizes.images)
    rows: list[list[Cell]] = []
    means: dict[tuple[str, str], list[list[float]]] = {}
    for of in sets:
        types = np.array([Path(uri).parent.name for uri in of.uris])[of.labels]
        count = len(set(types.tolist()))
        for name, vectors in compared(of):
            for how, families in (("given", cluster(vectors, count)), ("found", cluster(vectors))):
                figures = agreement(types, families)
                means.setdefault((name, how), []).append(figures)
                rows.append(
                    [of.name, name, how, int(families.max()) + 1, count, *(round(value, 1) for value in figures)]
                )
    columns = ["set", "clustered", "number", "families", "types", "NMI", "ARI", "F1"]
    report.table("Agreement in percent", columns, rows)
    for (name, how), of_sets in means.items():
        for kind, value in zip(("NMI", "ARI", "F1"), np.mean(of_sets, axis=0), strict=True):
            report.figure(f"mean {kind}, {name}, number {how}", float(value), unit=" %")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for place, ((name, how), of_sets) in enumerate(means.items()):
            axes.bar(np.arange(3) + 0.13 * place, np.mean(of_sets, axis=0), 0.12, label=f"{name}, number {how}")
        axes.set_xticks(np.arange(3) + 0.3, ["NMI", "ARI", "F1"])
        axes.set_ylabel("percent, mean of the sets")
        axes.legend()

    report.save(draw)


def compared(of: Set) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the vectors (A, D) of the A anomalous images of a set, in each way."""
    _, maps = score(of, Variant("paper"))
    view, images = View((of.side, of.side), of.grid), np.flatnonzero(of.labels)
    threshold = float(np.quantile(maps.numpy(), QUANTILE))
    found = [find_regions(maps[image].numpy(), threshold, view.pixels / view.patches) for image in images]
    largest = [max(regions, key=lambda region: region.area) for regions in found]
    yield "regions", region_vectors(of, maps.numpy(), view, images, largest)
    embeddings = F.normalize(of.embeddings, dim=1)
    yield "whole images", F.normalize(embeddings[images] - embeddings.mean(dim=0), dim=1).numpy()  # all are much alike
    worst = view.patches_at(maps[images].flatten(1).argmax(dim=1).numpy())
    tokens = [of.tokens[image, :, patch] for image, patch in zip(images, worst, strict=True)]
    vectors = joined(list(torch.stack(tokens).unbind(1)))
    yield "worst patches", vectors.numpy()


@torch.inference_mode()
def region_vectors(
    of: Set, maps: NDArray[np.float32], view: View, images: NDArray[np.int64], regions: list[Region]
) -> NDArray[np.float32]:
    """Return the difference vectors (A, D) of one region of each image, as runs take them."""
    layers = of.tokens.shape[1]
    vectors = joined(list(of.tokens[:, layers // 2 :].unbind(1)))
    chosen = np.unique(np.linspace(0, len(vectors) - 1, REFERENCES).round().astype(np.int64))
    groups = [patches_of(region, maps[image], view) for image, region in zip(images, regions, strict=True)]

    def references() -> Iterator[Tensor]:
        return (vectors[place] for place in chosen)

    return difference_vectors(
        torch.cat([vectors[image, torch.from_numpy(p)] for image, (p, _) in zip(images, groups, strict=True)]),
        torch.from_numpy(np.concatenate([weights for _, weights in groups])).float(),
        torch.from_numpy(np.repeat(np.arange(len(groups)), [len(patches) for patches, _ in groups])),
        references,
        chosen[None] != images[:, None],
    )


def agreement(types: NDArray[np.str_], families: NDArray[np.int64]) -> list[float]:
    """Return NMI, ARI, and the mean F1 of the types with the families that fit them best, one each, in percent."""
    names, numbers = np.unique(types), np.unique(families)
    both = np.array([[((types == name) & (families == number)).sum() for number in numbers] for name in names])
    f1 = 2 * both / (both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True))
    matched = f1[linear_sum_assignment(f1, maximize=True)].sum() / len(names)
    nmi, ari = normalized_mutual_info_score(types, families), adjusted_rand_score(types, families)
    return [100 * float(nmi), 100 * float(ari), 100 * float(matched)]


if __name__ == "__main__":
    start(main, FULL, TOY)
