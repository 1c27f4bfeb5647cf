"""What real weights are worth: image AUROC of the embedded sample with the sample's weights and with random ones.

python -m bench.sample
"""

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file

from bench.accuracy import Variant, figures, score
from bench.report import Cell, Report, start
from bench.sets import Set, sample_encoder
from pipeline.config import EncoderConfig
from pipeline.encoders.encoder import Encoder
from pipeline.images import Pixels
from pipeline.sample.lake import CROPS, IMAGES, samples
from pipeline.sample.weights import ENCODER


@dataclass(frozen=True)
class Sizes:
    """Images of each category, and pixels that they are resized to."""

    images: int
    side: int


FULL = Sizes(IMAGES, 224)
TOY = Sizes(6, 56)


def main(report: Report, sizes: Sizes) -> None:
    report.title("What real weights are worth, on the embedded sample")
    lake = {category: _pixels(category, sizes) for category in CROPS}
    real = Encoder(sample_encoder(sizes.side))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        torch.manual_seed(0)
        save_file(timm.create_model(ENCODER.partition(":")[2], pretrained=False, num_classes=0).state_dict(), path)
        random = Encoder(EncoderConfig(name=ENCODER, weights=str(path), size=sizes.side))
    rows: list[list[Cell]] = []
    areas: dict[str, list[float]] = {"real": [], "random": []}
    for category, (pixels, labels) in lake.items():
        for name, encoder in (("real", real), ("random", random)):
            areas[name].append(_auroc(encoder, category, pixels, labels))
        rows.append([category, *(round(of[-1], 1) for of in areas.values())])
    report.table("Image AUROC in percent", ["category", *areas], rows)
    for name, of in areas.items():
        report.figure(f"mean image AUROC, {name} weights", float(np.mean(of)), unit=" %")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, of in areas.items():
            axes.plot(list(lake), of, "o-", label=f"{name} weights")
        axes.set_ylabel("image AUROC, percent")
        axes.legend()

    report.save(draw)


def _pixels(category: str, sizes: Sizes) -> tuple[Pixels, list[bool]]:
    images = list(itertools.islice(samples(category), sizes.images))
    small = torch.nn.functional.interpolate(
        torch.from_numpy(np.stack([sample.image for sample in images]))[:, None],
        size=(sizes.side, sizes.side),
        mode="area",
    )
    rgb = small.round().to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    return rgb.numpy(), [sample.defect != "good" for sample in images]


def _auroc(encoder: Encoder, category: str, pixels: Pixels, labels: list[bool]) -> float:
    encoded, spec = encoder(pixels), encoder.spec
    tokens, embeddings, side = encoded.tokens, encoded.embeddings, pixels.shape[1]
    of = Set(category, tokens, embeddings, np.array(labels), None, [], spec.grid, side)
    return figures(of, *score(of, Variant("paper")))["AUROC"]


if __name__ == "__main__":
    start(main, FULL, TOY)
