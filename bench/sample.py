"""What real weights are worth: image AUROC of the embedded sample with the sample's weights and with random ones.

python -m bench.sample
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from bench.report import Report
from pipeline.config import EncoderConfig
from pipeline.encoders import Encoder
from pipeline.sample.lake import CROPS, samples
from pipeline.sample.weights import ENCODER, sample_weights
from pipeline.scoring.maps import anomaly_maps
from pipeline.scoring.musc import Aggregation, mutual_scores, rscin
from pipeline.scoring.search import GemmSearch

SIZE = 224


def main() -> None:
    report = Report("sample", "What real weights are worth, on the embedded sample")
    lake = {category: _pixels(category) for category in CROPS}
    real = Encoder(EncoderConfig(name=ENCODER, weights=str(sample_weights()), size=SIZE))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        torch.manual_seed(0)
        save_file(timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0).state_dict(), path)
        random = Encoder(EncoderConfig(name=ENCODER, weights=str(path), size=SIZE))
    rows: list[list[Any]] = []
    for category, (pixels, labels) in lake.items():
        areas = [100 * _auroc(encoder, pixels, labels) for encoder in (real, random)]
        rows.append([category, *(round(area, 1) for area in areas)])
    report.table("Image AUROC in percent", ["category", "real", "random"], rows)
    for column, name in ((1, "real"), (2, "random")):
        report.figure(f"mean image AUROC, {name} weights", float(np.mean([row[column] for row in rows])), unit=" %")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for column, name in ((1, "real weights"), (2, "random weights")):
            axes.plot([row[0] for row in rows], [row[column] for row in rows], "o-", label=name)
        axes.set_ylabel("image AUROC, percent")
        axes.legend()

    report.save(draw)


def _pixels(category: str) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], list[bool]]:
    images = list(samples(category))
    small = torch.nn.functional.interpolate(
        torch.from_numpy(np.stack([sample.image for sample in images]))[:, None], size=(SIZE, SIZE), mode="area"
    )
    rgb = small.round().to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    return rgb.numpy(), [sample.defect != "good" for sample in images]


@torch.inference_mode()
def _auroc(encoder: Encoder, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], labels: list[bool]) -> float:
    encoded, grid = encoder(pixels), encoder.spec.grid
    paper = Aggregation(grid, (1, 3, 5))
    layers = [mutual_scores(tokens, paper, 0.3, GemmSearch()) for tokens in encoded.tokens.unbind(1)]
    raw = anomaly_maps(torch.stack(layers).mean(dim=0), grid, SIZE).amax(dim=(1, 2))
    return float(roc_auc_score(labels, rscin(raw, encoded.embeddings, (1, 2, 3))))


if __name__ == "__main__":
    main()
