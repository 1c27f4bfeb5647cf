"""Which method ranks best, and which rule finds the defects, at every share of defects.

    python -m bench.answers

The sets are those of ../shared/data and ../shared/more_data (or LAKESCORE_SHARED) and the embedded sample, encoded by
the sample's ViT-S/14. Benchmarks hold 20 to 89 % defects, factories 0.1 to 5 %: each set is judged as it is, and as
lakes with all of its normal images and a seeded draw of its defects. Features and distances are kept below out/bench,
so that a new idea costs a minute: it is a line in METHODS, or in RULES.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from bench.distances import Distances, distances_of
from bench.draws import WHOLE, draws, windows
from bench.report import Cell, Report, start
from bench.sets import Set, judged_sets
from pipeline.metrics.category import PixelTruth, pixel_metrics
from pipeline.scoring.lakescore.cleaning import clean, pooled
from pipeline.scoring.lakescore.rounds import CLEANED, FIRST, both_rounds, second_round
from pipeline.scoring.maps import anomaly_maps
from pipeline.scoring.musc.mutual import interval_average
from pipeline.scoring.musc.rscin import rscin
from pipeline.tables.verdict import of_batch, of_window
from pipeline.views import View

Array = NDArray[np.float64]
SAID = ("image AUROC", "image AP", "pixel AP", "AUPRO")
BASE, OURS = "paper", "lakescore"
FALSE_ALARMS = 0.02


@dataclass(frozen=True)
class Sizes:
    """Pixels a side, images of each set (None: all), shares of defects, those whose maps are measured, and draws."""

    side: int
    images: int | None
    shares: tuple[float, ...]
    mapped: tuple[float, ...]
    draws: int


FULL = Sizes(224, None, (0.0, 0.01, 0.03, 0.05, 0.15, 0.4, WHOLE), (0.05, 0.15, WHOLE), 5)
TOY = Sizes(56, 6, (0.0, 0.25, WHOLE), (WHOLE,), 2)


@dataclass(frozen=True)
class Scored:
    """Scores (n,) of images, by which they are ranked, and patch scores (n, P)."""

    scores: Array
    patches: Tensor


def paper(of: Set, found: Distances, images: Tensor) -> Scored:
    """MuSc as it was published, with RsCIN."""
    raw = paper_raw(of, found, images)
    return Scored(rscin(torch.from_numpy(raw.scores), of.embeddings[images], (1, 2, 3)).double().numpy(), raw.patches)


def paper_raw(of: Set, found: Distances, images: Tensor) -> Scored:
    """The same without RsCIN."""
    own = torch.arange(len(images))
    patches = torch.stack([interval_average(rows, own, 0.3) for rows in found.paper(images)]).mean(dim=0)
    return Scored(maps_of(of, patches).amax(dim=(1, 2)).double().numpy(), patches)


def whole(of: Set, found: Distances, images: Tensor) -> Scored:
    """The default method, each patch compared with the whole image."""
    return _pooled(both_rounds(found.whole(images)))


def lakescore(of: Set, found: Distances, images: Tensor) -> Scored:
    """The default method."""
    return _pooled(both_rounds(found.near(images)))


def one_round(of: Set, found: Distances, images: Tensor) -> Scored:
    """The default method's descriptor, without cleaning: the lowest tenth of all references."""
    return _pooled(interval_average(found.near(images), torch.arange(len(images)), 0.1))


def recipe(of: Set, found: Distances, images: Tensor) -> Scored:
    """One descriptor, and references cleaned at one tolerance only."""
    distances, own = found.near(images), torch.arange(len(images))
    stays = clean(pooled(interval_average(distances, own, FIRST)), 2.0)
    return _pooled(interval_average(distances.masked_fill(~stays, torch.inf), own, CLEANED))


def _pooled(patches: Tensor) -> Scored:
    return Scored(pooled(patches).double().numpy(), patches)


METHODS: dict[str, Callable[[Set, Distances, Tensor], Scored]] = {
    BASE: paper,
    "paper without RsCIN": paper_raw,
    "one descriptor, one round": one_round,
    "one descriptor, cleaned": recipe,
    "lakescore, whole image": whole,
    OURS: lakescore,
}


def _quantile(scores: Array) -> float:
    return float(np.quantile(scores, 0.95))


def _deviations(scores: Array) -> float:
    middle = np.median(scores)
    return float(middle + 3 * 1.4826 * np.median(np.abs(scores - middle)))


RULES: dict[str, Callable[[Array], float]] = {
    "quantile 0.95": _quantile,
    "median + 3 MAD": _deviations,
    "auto: batch": of_batch,
}


def main(report: Report, sizes: Sizes) -> None:
    report.title("Which method ranks best, and which rule finds the defects")
    began = time.perf_counter()
    sets = judged_sets(sizes.side, sizes.images)
    distances = {of.name: distances_of(of) for of in sets}
    print(f"features and distances of {sum(len(of.labels) for of in sets)} images: {time.perf_counter() - began:.0f} s")
    ranked = rank(report, sets, distances, sizes)
    decide(report, sets, distances, sizes)
    decide_by_window(report, sets, distances, sizes)
    shares = [share for share in sizes.shares if share]

    def draw(figure: Figure) -> None:
        for axes, place in zip(figure.subplots(1, 2), (0, 1), strict=True):
            for name in METHODS:
                means = [np.mean([ranked[name, share, of.name][place] for of in sets]) for share in shares]
                axes.plot([_named(share) for share in shares], means, "o-", label=name)
            axes.set(title=f"{SAID[place]}, mean of {len(sets)} sets", xlabel="share of defects")
        axes.legend(fontsize=8)

    report.save(draw)


@torch.inference_mode()
def rank(
    report: Report, sets: list[Set], distances: dict[str, Distances], sizes: Sizes
) -> dict[tuple[str, float, str], list[float]]:
    """Print how each method ranks images and pixels; return the means over draws, by method, share and set."""
    found: dict[tuple[str, float, str], list[float]] = {}
    for of in sets:
        for share in sizes.shares:
            figures = defaultdict[str, list[list[float]]](list)
            for number, images in enumerate(draws(of.labels, share, sizes.draws)):
                for name, method in METHODS.items():
                    scored = method(of, distances[of.name], torch.from_numpy(images))
                    if share:
                        mapped = share in sizes.mapped and number == 0
                        figures[name].append(_figures(of, images, scored, mapped))
            for name, of_draws in figures.items():
                found[name, share, of.name] = [_mean(values) for values in zip(*of_draws, strict=True)]
    for place, what in enumerate(SAID):
        shares = [share for share in (sizes.mapped if place > 1 else sizes.shares) if share]
        masked = [of for of in sets if place < 2 or of.masks is not None]
        if not masked:
            continue
        rows: list[list[Cell]] = [
            [name, *(float(np.mean([found[name, share, of.name][place] for of in masked])) for share in shares)]
            for name in METHODS
        ]
        report.table(f"{what} in percent, mean of {len(masked)} sets", ["method", *map(_named, shares)], rows)
    for place, what in enumerate(SAID[:3]):
        shares = [share for share in (sizes.mapped if place > 1 else sizes.shares) if share]
        changes: list[list[Cell]] = [
            [of.name, _radius(distances[of.name])]
            + [found[OURS, share, of.name][place] - found[BASE, share, of.name][place] for share in shares]
            for of in sets
            if place < 2 or of.masks is not None
        ]
        report.table(
            f"Gain of lakescore over the paper, {what}, points", ["set", "radius", *map(_named, shares)], changes
        )
    for share, place, aim in ((0.05, 0, 4.0), (0.15, 0, 4.0), (0.05, 1, 10.0), (WHOLE, 2, 8.0)):
        if share in sizes.shares:
            gains = [found[OURS, share, of.name][place] - found[BASE, share, of.name][place] for of in sets]
            report.figure(f"{SAID[place]} over the paper, {_named(share)}", _mean(gains), aim, " points")
    worst = min(
        found[OURS, share, of.name][0] - found[BASE, share, of.name][0]
        for of in sets
        for share in sizes.shares
        if share
    )
    report.figure("image AUROC over the paper, worst set and share", worst, -1.0, " points")
    return found


@torch.inference_mode()
def decide(report: Report, sets: list[Set], distances: dict[str, Distances], sizes: Sizes) -> None:
    """Print what each rule finds without labels or window, beside the best threshold that there is."""
    shares = [share for share in sizes.shares if 0.02 < share < WHOLE]
    f1, alarms = defaultdict[tuple[str, float], list[float]](list), defaultdict[str, list[float]](list)
    for of in sets:
        for share in (0.0, *shares):
            of_set = defaultdict[str, list[float]](list)
            for images in draws(of.labels, share, sizes.draws):
                scores = lakescore(of, distances[of.name], torch.from_numpy(images)).scores
                for name, rule in RULES.items():
                    flagged = scores > rule(scores)
                    of_set[name].append(_f1(of.labels[images], flagged) if share else float(flagged.mean()))
                if share:
                    of_set["best possible"].append(_best_f1(of.labels[images], scores))
            for name, values in of_set.items():
                if share:
                    f1[name, share].append(float(np.mean(values)))
                else:
                    alarms[name] += values
    means = {
        name: [float(np.mean(f1[name, share])) for share in shares] for name in (*RULES, "best possible") if shares
    }
    rows: list[list[Cell]] = [
        [name, float(np.mean(alarms[name])) if alarms[name] else "", *of, float(np.mean(of))]
        for name, of in means.items()
    ]
    columns = ["rule", "false alarms at 0 %", *(f"F1 at {_named(share)}" for share in shares), "mean"]
    report.table("Verdicts without labels or window", columns, rows)
    best, ours = float(np.mean(means["best possible"])), float(np.mean(means["auto: batch"]))
    report.figure("F1 of auto: batch, of the best possible", 100 * ours / best, 75.0, " %")
    report.figure(
        "false alarms of auto: batch without defects", 100 * float(np.mean(alarms["auto: batch"])), 5.0, " %", most=True
    )


@torch.inference_mode()
def decide_by_window(report: Report, sets: list[Set], distances: dict[str, Distances], sizes: Sizes) -> None:
    """Print what a threshold from earlier nights finds: four fifths of the normal images are those nights'."""
    rows: list[list[Cell]] = []
    totals: list[list[float]] = []
    for of in sets:
        for share in (0.0, 0.15):
            of_draws = []
            for before, images in windows(of.labels, share, sizes.draws):
                then, scores = _against(distances[of.name], torch.from_numpy(before), torch.from_numpy(images))
                flagged = scores > of_window(then, FALSE_ALARMS)
                labels = of.labels[images]
                of_draws.append(
                    [_f1(labels, flagged), _best_f1(labels, scores)] if share else [float(flagged.mean()), np.nan]
                )
            found = np.mean(of_draws, axis=0).tolist()
            if share:
                rows[-1] += found
                totals[-1] += found
            else:
                rows.append([of.name, int((~of.labels).sum()) * 4 // 5, found[0]])
                totals.append([found[0]])
    report.table(
        f"Verdicts by a window, at {100 * FALSE_ALARMS:.0f} % false alarms",
        ["set", "images of the window", "false alarms", "F1 at 15 %", "best possible"],
        rows,
    )
    alarms, f1, best = np.mean(totals, axis=0).tolist()
    report.figure("F1 of auto: window, of the best possible", 100 * f1 / best, 90.0, " %")
    report.figure("false alarms of auto: window without defects", 100 * alarms, 2.0, " %", most=True)


def _against(found: Distances, before: Tensor, images: Tensor) -> tuple[Array, Array]:
    """Return the scores of a window's images against each other, and of others against them."""
    then = found.near(before)
    first = pooled(interval_average(then.clone(), torch.arange(len(before)), FIRST))
    of_window = pooled(both_rounds(then))
    strangers = torch.full((len(images),), -1)
    scores = pooled(second_round(found.near(images, before), strangers, first, len(before))[0])
    return of_window.double().numpy(), scores.double().numpy()


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are known, NaN where none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def maps_of(of: Set, patches: Tensor) -> Tensor:
    return anomaly_maps(patches, View((of.side, of.side), of.grid))


def _figures(of: Set, images: NDArray[np.intp], scored: Scored, mapped: bool) -> list[float]:
    """Return the figures of SAID in percent; those of pixels are NaN where there are no masks, or nobody asks."""
    labels = of.labels[images]
    found = [roc_auc_score(labels, scored.scores), average_precision_score(labels, scored.scores), np.nan, np.nan]
    if mapped and of.masks is not None:
        pixel = pixel_metrics(maps_of(of, scored.patches).numpy(), PixelTruth(np.asarray(of.masks)[images]), "exact")
        found[2:] = [pixel["pixel_ap"].value or 0.0, pixel["pixel_aupro"].value or 0.0]
    return [100 * float(value) for value in found]


def _f1(labels: NDArray[np.bool_], flagged: NDArray[np.bool_]) -> float:
    return float(2 * (labels & flagged).sum() / max(1, labels.sum() + flagged.sum()))


def _best_f1(labels: NDArray[np.bool_], scores: Array) -> float:
    found = np.cumsum(labels[np.argsort(-scores)])
    return float((2 * found / (np.arange(1, len(labels) + 1) + labels.sum())).max())


def _named(share: float) -> str:
    return "whole sets" if share == WHOLE else f"{100 * share:g} %"


def _radius(found: Distances) -> str:
    return "whole" if found.radius is None else str(found.radius)


if __name__ == "__main__":
    start(main, FULL, TOY)
