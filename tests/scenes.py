"""Images of one texture at any size and shape, some with a bright spot, for runs that see them in several ways."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pipeline.result import Result
from pipeline.run import score_lake
from tests.running import flags, parse, settings

CELLS = 14  # of the texture, along the shorter side


def scene(
    seed: int,
    size: tuple[int, int],
    spot: tuple[float, float] | None = None,
    radius: float = 0.0,
    cells: int = CELLS,
    colour: tuple[int, int, int] = (250, 20, 60),
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return an image (H, W, 3) of (width, height), and where its spot is: middle in shares, radius in pixels."""
    width, height = size
    generator = np.random.default_rng(seed)
    coarse = [max(1, round(cells * side / min(size))) for side in size]
    grey = Image.fromarray(generator.normal(110, 20, (coarse[1], coarse[0])).clip(0, 255).astype(np.uint8))
    pixels = np.asarray(grey.resize(size, Image.Resampling.BICUBIC).convert("RGB")).copy()
    x, y = spot or (0.0, 0.0)
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    mask = np.hypot(across - x * width, down - y * height) < (radius if spot else -1)
    pixels[mask] = colour  # which the tiny encoder tells from any grey
    return pixels, mask


def write(path: Path, pixels: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_scene(lake: Path, category: str, number: int, size: tuple[int, int], *more: Any, **options: Any) -> None:
    """Write an image of a lake in MVTec's layout, with its mask where it has a spot."""
    pixels, mask = scene(number, size, *more, **options)
    kind = "spot" if mask.any() else "good"
    write(lake / category / "test" / kind / f"{number:03d}.png", pixels)
    if mask.any():
        write(lake / category / "ground_truth" / kind / f"{number:03d}_mask.png", mask * np.uint8(255))


@dataclass(frozen=True)
class Night:
    """What a run found: `scores` in the order of its catalog."""

    result: Result
    scores: pd.DataFrame

    def of(self, category: str) -> pd.DataFrame:
        return self.scores[self.scores["category"] == category]

    def worst(self, category: str) -> str:
        """Return the name of the file with the highest score."""
        of = self.of(category)
        return str(of.sort_values("score_raw")["uri"].iloc[-1]).rpartition("/")[2]


def run_night(lake: Path | str, output: Path, run_id: str = "test", more: Sequence[str] = (), **options: Any) -> Night:
    """Score a lake with settings given as encoder__size, and flags as they are."""
    given = settings(lake, output, output__run_id=run_id, **options)
    result = score_lake(parse([*flags(given), *more]))
    return Night(result, result.scores.to_pandas())
