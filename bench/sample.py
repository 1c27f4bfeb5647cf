"""What real weights are worth, and what lower precision costs, on the embedded sample.

    make bench

Everything is measured in one process; times are medians of three, interleaved.
"""

import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor

from pipeline.config import EncoderConfig
from pipeline.encoders import Encoder
from pipeline.method import Search, anomaly_maps, mutual_scores, rscin
from pipeline.sample.lake import CROPS, samples
from pipeline.sample.weights import ENCODER, sample_weights
from pipeline.search import GemmSearch
from pipeline.search.faiss import FaissSearch

SIZE = 224
SEARCHES: dict[str, Search] = {
    "gemm fp32": GemmSearch(),
    "gemm fp16": GemmSearch(torch.float16),
    "gemm bf16": GemmSearch(torch.bfloat16),
    "faiss fp32": FaissSearch(),
}


def main() -> None:
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, timm {timm.__version__}"
    )
    lake = {category: _pixels(category) for category in CROPS}
    real = Encoder(EncoderConfig(name=ENCODER, weights=str(sample_weights()), size=SIZE))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        torch.manual_seed(0)
        save_file(timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0).state_dict(), path)
        random = Encoder(EncoderConfig(name=ENCODER, weights=str(path), size=SIZE))

    print(f"\nImage AUROC in percent\n{'category':10} {'real':>8} {'random':>8}")
    for category, (pixels, labels) in lake.items():
        areas = [100 * _auroc(encoder, pixels, labels) for encoder in (real, random)]
        print(f"{category:10} {areas[0]:8.1f} {areas[1]:8.1f}")

    print("\nOne layer of each category: seconds, and the largest difference of a patch score from gemm fp32")
    print(f"{'category':10} {'search':>12} {'seconds':>8} {'difference':>11}")
    for category, (pixels, _) in lake.items():
        for name, seconds, difference in _precision(real(pixels).tokens[:, 1], real.spec.grid):
            print(f"{category:10} {name:>12} {seconds:8.2f} {difference:11.1e}")


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
    layers = [mutual_scores(tokens, grid, (1, 3, 5), 0.3, GemmSearch()) for tokens in encoded.tokens.unbind(1)]
    raw = anomaly_maps(torch.stack(layers).mean(dim=0), grid, SIZE).amax(dim=(1, 2))
    return float(roc_auc_score(labels, rscin(raw, encoded.embeddings, (1, 2, 3))))


@torch.inference_mode()
def _precision(tokens: Tensor, grid: tuple[int, int]) -> Iterator[tuple[str, float, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in SEARCHES}
    scores: dict[str, Tensor] = {}
    for _ in range(3):
        for name, search in SEARCHES.items():
            start = time.perf_counter()
            scores[name] = mutual_scores(tokens, grid, (1, 3, 5), 0.3, search)
            seconds[name].append(time.perf_counter() - start)
    for name in SEARCHES:
        yield name, statistics.median(seconds[name]), float((scores[name] - scores["gemm fp32"]).abs().max())


if __name__ == "__main__":
    main()
