"""Images per second of extraction through Ray, beside plain torch loops, and where the time goes.

    python -m bench.extract

One encoder worker of one thread against loops of one thread, then both cores. The images are JPEG files of a camera's
size. The aim holds the steady rate, from a worker's first finished block to the last, against a loop whose model is
loaded and whose pixels are decoded: starting costs the same seconds for 500 images as for a million.
"""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import torch
from matplotlib.figure import Figure
from PIL import Image

from bench.report import Report, start
from bench.sets import sample_encoder
from pipeline.catalog import build_catalog
from pipeline.config import InputConfig, OutputConfig, PoolConfig, RayConfig, ScoreConfig
from pipeline.encoders.encoder import Encoded, Encoder
from pipeline.encoders.spec import EncoderSpec
from pipeline.encoders.timm import load
from pipeline.engine.cluster import cluster, pool
from pipeline.engine.tasks import OnRay
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.images import Pixels, decode
from pipeline.io.storage import Location
from pipeline.sample.lake import CROPS, samples
from pipeline.sample.weights import ENCODER, sample_weights
from pipeline.stages import encode
from pipeline.stages.decode import DecodeBlock
from pipeline.store.features import FeatureStore
from pipeline.views import View

BATCH = 8
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Sizes:
    """Images extracted by one worker and by two, and of one pass of a plain loop, before and after ours.

    Pixels a side of a file's image, and of what the encoder sees.
    """

    images: int
    both_cores: int
    pass_images: int
    file_side: int
    side: int


FULL = Sizes(images=500, both_cores=256, pass_images=64, file_side=1024, side=224)  # files as in MVTec AD
TOY = Sizes(
    images=65, both_cores=65, pass_images=8, file_side=64, side=28
)  # three blocks: one after each worker's first


class PlainLoop:
    """What one writes without Ray: a model, and a loop over batches of images."""

    def __init__(self, spec: EncoderSpec, side: int) -> None:
        backbone = load(spec.name.partition(":")[2], (side, side), sample_weights())
        self._side = side
        backbone.module.requires_grad_(False).eval()
        self._forward = backbone.make_forward(spec.layers)
        self._mean = torch.tensor(backbone.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(backbone.std).view(1, 3, 1, 1)

    def encode(self, pixels: Sequence[Pixels]) -> None:
        for first in range(0, len(pixels), BATCH):
            self._encode(np.stack(pixels[first : first + BATCH]))

    def read_and_encode(self, files: Sequence[Path]) -> None:
        for first in range(0, len(files), BATCH):
            self._encode(np.stack([_pixels(file, self._side) for file in files[first : first + BATCH]]))

    @torch.inference_mode()
    def _encode(self, pixels: Pixels) -> None:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        self._forward((images - self._mean) / self._std)


class TimedBlock(encode.EncodeBlock):
    """The worker of extraction, with a clock on each of its steps; it leaves a line for each block in `_log(store)`."""

    def setup(self, device: str, threads: int) -> None:
        super().setup(device, threads)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        steps: list[tuple[Any, str]] = [
            (Encoder, "__call__"),
            (Encoder, "_normalised"),
            (self._encoder, "_forward"),
            (Encoded, "finite"),
            (FeatureStore, "write"),
            (Location, "write_bytes"),
        ]
        for owner, name in steps:  # in this worker's process alone
            setattr(owner, name, self._timed(name, getattr(owner, name)))

    def __call__(self, block: pa.Table) -> pa.Table:
        self._seconds.clear()
        start = time.time()
        result = super().__call__(block)
        line = {"images": block.num_rows, "start": start, "end": time.time()} | self._seconds
        with _log(self.store).open("a") as file:
            file.write(json.dumps(line) + "\n")
        return result

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **arguments)
            self._seconds[name] += time.perf_counter() - start
            return result

        return timed


@dataclass(frozen=True)
class Extraction:
    """One extraction: images per second with the start of its workers, and a line for each block, as they ended."""

    whole: float
    blocks: list[dict[str, float]]

    def steady(self, workers: int) -> float:
        """Return images per second from the first block of each worker to the last one of all."""
        after = self.blocks[workers:]
        return _total(after, "images") / (after[-1]["end"] - self.blocks[workers - 1]["end"])

    def steps(self) -> dict[str, float]:
        """Return milliseconds an image of each step of a lone worker after its first block; they add up to all."""
        after = self.blocks[1:]
        busy = sum(block["end"] - block["start"] for block in after)
        encode, write = _total(after, "__call__"), _total(after, "write")
        normalise, forward, file = (_total(after, name) for name in ("_normalised", "_forward", "write_bytes"))
        seconds = {
            "waiting for a block, and Ray": after[-1]["end"] - self.blocks[0]["end"] - busy,
            "pixels out of Arrow, rows": busy - encode - write - _total(after, "finite"),
            "pixels to float, normalise": normalise,
            "forward": forward,
            "tokens to the store's type": encode - normalise - forward,
            "check that all are finite": _total(after, "finite"),
            "Arrow and Parquet": write - file,
            "write the file": file,
        }
        return {name: 1000 * of / _total(after, "images") for name, of in seconds.items()}


def _log(store: FeatureStore) -> Path:
    return Path(store.root.path).with_suffix(".log")


def _extraction(lake: Path, output: Path, workers: int, images: int, side: int) -> Extraction:
    """Extract as a run does, into a store that is empty."""
    encoder = sample_encoder(side, BATCH)
    config = ScoreConfig(
        input=InputConfig(uri=str(lake), layout="folder"),
        output=OutputConfig(uri=str(output)),
        encoder=encoder,
        ray=RayConfig(encode=PoolConfig(min=workers, max=workers)),
    )
    first = build_catalog(config.input).table.slice(0, images)
    spec = Encoder(config.encoder).spec  # whose layers are those of the preset
    geometry = LakeGeometry(Geometry(spec.patch, config.encoder.sides))
    store = FeatureStore(Location.parse(str(output)), spec.grid, spec.width, spec.layers, "float16")
    began = time.perf_counter()
    with mock.patch.object(encode, "EncodeBlock", TimedBlock):
        runner = OnRay(pool(config.ray.encode), DecodeBlock(config.input, geometry))
        extracted = encode.extract(first, config, spec, geometry, store, runner)
    seconds = time.perf_counter() - began
    if extracted.images["reason"].null_count != images:
        raise RuntimeError("not every image was encoded")
    blocks = [json.loads(line) for line in _log(store).read_text().splitlines()]
    return Extraction(images / seconds, sorted(blocks, key=lambda block: block["end"]))


def _write_images(folder: Path, count: int, side: int) -> list[Path]:
    """Write distinct images of one category: crops of the sample, in all four turns."""
    crops = (np.rot90(sample.image, turn) for turn in range(4) for category in CROPS for sample in samples(category))
    files = [folder / "parts" / f"{number:04d}.jpg" for number in range(count)]
    files[0].parent.mkdir(parents=True)
    for file, crop in zip(files, crops, strict=False):
        image = Image.fromarray(crop.astype(np.uint8)).convert("RGB")
        image.resize((side, side), Image.Resampling.BICUBIC).save(file, quality=95)
    return files


def _pixels(file: Path, side: int) -> Pixels:
    return decode(file.read_bytes(), View((side, side)), MAX_PIXELS)[0]


def _total(blocks: Sequence[dict[str, float]], name: str) -> float:
    return sum(block[name] for block in blocks)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main(report: Report, sizes: Sizes) -> None:
    report.title(
        f"Extraction of {sizes.images} JPEG images of {sizes.file_side} x {sizes.file_side}, {ENCODER} at {sizes.side}"
    )
    with tempfile.TemporaryDirectory() as name:
        _measure(Path(name), report, sizes)


def _measure(folder: Path, report: Report, sizes: Sizes) -> None:
    lake, side = folder / "lake", sizes.side
    files = _write_images(lake, max(sizes.images, sizes.both_cores), sizes.file_side)[: sizes.pass_images]
    loop = PlainLoop(Encoder(sample_encoder(side)).spec, side)
    pixels = [_pixels(file, side) for file in files]
    rates: dict[str, list[float]] = {"forward": [], "sequence": [], "two threads": []}

    def rate(run: Callable[[], object]) -> float:
        """Return images per second of a run over the files."""
        began = time.perf_counter()
        run()
        return len(files) / (time.perf_counter() - began)

    def rivals() -> None:
        with _threads(1):
            rates["forward"].append(rate(lambda: loop.encode(pixels)))
            rates["sequence"].append(rate(lambda: loop.read_and_encode(files)))
        with _threads(2):
            rates["two threads"].append(rate(lambda: loop.read_and_encode(files)))

    loop.encode(pixels[:BATCH])
    rivals()
    with cluster(RayConfig()):
        one = _extraction(lake, folder / "one", workers=1, images=sizes.images, side=side)
        rivals()
        two = _extraction(lake, folder / "two", workers=2, images=sizes.both_cores, side=side)
    rivals()

    around = {name: float(np.mean(of[:2])) for name, of in rates.items()}  # the passes before and after ours
    both = max(rates["two threads"])  # a neighbour on one core halves a pass: its best one is the rival
    report.table(
        "Images per second",
        ["", "threads", "rate", "with the start"],
        [
            ["plain loop, forward only", 1, around["forward"], ""],
            ["plain loop, read, decode, forward", 1, around["sequence"], ""],
            ["extraction, one worker", 1, one.steady(1), one.whole],
            ["plain loop, read, decode, forward", 2, both, ""],
            ["extraction, two workers", 2, two.steady(2), two.whole],
        ],
    )
    steps = one.steps()
    report.table(
        "The worker of one thread",
        ["step", "ms an image", "percent"],
        [[step, of, 100 * of / sum(steps.values())] for step, of in steps.items()],
    )
    contents = [file.read_bytes() for file in files]
    before = {
        "read": 1000 / rate(lambda: [Location.parse(str(file)).read_bytes() for file in files]),
        "decode, resize": 1000
        / rate(lambda: [decode(content, View((side, side)), MAX_PIXELS) for content in contents]),
    }
    report.table("The tasks before it", ["step", "ms an image"], [list(item) for item in before.items()])
    steady = 100 * one.steady(1)
    report.figure("steady rate, of forward only, one thread", steady / around["forward"], 90, "%")
    report.figure("steady rate, of the loop that reads, one thread", steady / around["sequence"], None, "%")
    share = 100 * steps["forward"] / sum(steps.values())  # within one process and time: steadier than the ratio
    report.figure("forward, of the worker's time", share, None, "%")
    report.figure("with the start, of forward only, one thread", 100 * one.whole / around["forward"], None, "%")
    report.figure("both cores, of the loop that reads", 100 * two.steady(2) / both, None, "%")
    report.save(lambda figure: _draw(figure, before | steps))


def _draw(figure: Figure, steps: dict[str, float]) -> None:
    axes = figure.subplots()
    axes.barh(list(steps), list(steps.values()))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds an image")
    axes.set_title("Reading and decoding run beside the encoder's worker")


if __name__ == "__main__":
    start(main, FULL, TOY)
