"""Lakes as they are delivered: of normal images alone, with few defects, and with many; and two passes that are cut."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.result import Result
from pipeline.run import score_lake
from tests.running import flags, parse, read_scores, settings

pytestmark = pytest.mark.usefixtures("ray_here")
IMAGES = 40


def lake_of(folder: Path, defects: int) -> Path:
    """Write a lake of one category: noise on a pattern, and of the last images a bright bar."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:112, :112]
    folder.mkdir()
    for number in range(IMAGES):
        pixels = 120 + 40 * np.sin(x / 9) * np.cos(y / 7) + generator.normal(0, 6, (112, 112))
        if number >= IMAGES - defects:
            row, column = generator.integers(10, 70, 2)
            pixels[row : row + 24, column : column + 12] = 250
        grey = pixels.clip(0, 255).astype(np.uint8)
        Image.fromarray(np.stack([grey] * 3, axis=2)).save(folder / f"{number:03d}.png")
    return folder


def run(lake: Path, output: Path, **more: object) -> Result:
    return score_lake(parse(flags(settings(lake, output, **more))))


def test_of_a_lake_of_normal_images_few_are_flagged_where_a_quantile_flags_its_share(tmp_path: Path) -> None:
    result = run(lake_of(tmp_path / "lake", 0), tmp_path / "out")
    [decision] = result.run.decisions.values()
    scores = read_scores(tmp_path / "out")
    assert decision.rule == "auto: batch" and set(scores["rule"]) == {"auto: batch"}
    assert result.run.counts.anomalous == decision.flagged == scores["anomalous"].sum() <= 3  # 4 % of 40 are expected
    assert scores["score_final"].isna().all()
    np.testing.assert_allclose(scores["score"], scores["score_raw"] / scores["threshold"])
    assert (scores["pixel_threshold"] == scores["threshold"]).all()


@pytest.mark.parametrize("defects", [3, 15])
def test_defects_are_flagged_whatever_their_share(defects: int, tmp_path: Path) -> None:
    result = run(lake_of(tmp_path / "lake", defects), tmp_path / "out")
    scores = read_scores(tmp_path / "out")
    assert scores["anomalous"][IMAGES - defects :].all()
    assert scores["anomalous"][: IMAGES - defects].sum() <= 2
    assert result.run.decisions["lake"].flagged == result.run.counts.anomalous


def test_scores_are_the_same_in_any_units_and_with_the_first_pass_taken_up(tmp_path: Path) -> None:
    """One unit holds the category by default; with little memory there are units of two passes."""
    lake = lake_of(tmp_path / "lake", 3)
    whole = run(lake, tmp_path / "whole")
    parts = run(lake, tmp_path / "parts", search__memory_gb=0.0005)
    assert sum(whole.run.nodes.units.values()) == 1 < sum(parts.run.nodes.units.values())
    one, other = (read_scores(tmp_path / name) for name in ("whole", "parts"))
    np.testing.assert_allclose(other["score_raw"], one["score_raw"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(other["threshold"], one["threshold"], rtol=1e-4)
    assert other["anomalous"].equals(one["anomalous"])
