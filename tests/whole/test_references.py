"""References of other kinds: turned with the parts, thinned, and the nearest of each image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scenes import Night, run_night, write

pytestmark = pytest.mark.usefixtures("ray_here")
SIDE, COUNT, DEFECT = 112, 16, (3, 11)


def parts(folder: Path) -> Path:
    """Write parts with stripes of their own slant in each corner, each part turned at random, two with a defect.

    The defect is a corner of the stripes of another one, turned: found only by who knows how a whole part looks.
    """
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(COUNT):
        pixels = np.full((SIDE, SIDE), 120.0)
        pixels[:56] += 70 * np.sin(x[:56] / 3 + generator.uniform(0, 6))  # upright stripes above
        if number in DEFECT:
            pixels[70:98, 40:68] += 70 * np.sin(y[70:98, 40:68] / 3)  # and lying ones, which no part has
        pixels += generator.normal(0, 4, pixels.shape)
        turned = np.rot90(pixels, int(generator.integers(4))).clip(0, 255).astype(np.uint8)
        write(folder / "nut" / f"{number:02d}.png", np.repeat(turned[..., None], 3, axis=2))
    return folder


def auroc(night: Night) -> float:
    """Return the share of pairs of a defect and a normal image that are in order."""
    bad = night.scores["uri"].str[-6:-4].astype(int).isin(DEFECT)
    defects, normal = (night.scores.loc[of, "score_raw"].to_numpy() for of in (bad, ~bad))
    return float((defects[:, None] > normal[None]).mean())


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return parts(tmp_path_factory.mktemp("turned") / "lake")


def test_turned_references_find_what_parts_that_lie_anyhow_hide(lake: Path, tmp_path: Path) -> None:
    as_they_are = run_night(lake, tmp_path / "out", "plain")
    turned = run_night(lake, tmp_path / "out", "turned", references__turns=4, report__images=4)
    assert turned.result.run.counts.features_reused == COUNT
    assert (
        turned.scores["score_raw"] <= as_they_are.scores["score_raw"] + 1e-3
    ).mean() > 0.8  # there is more to be near to
    assert auroc(turned) > auroc(as_they_are)


def test_eighths_are_one_run(lake: Path, tmp_path: Path) -> None:
    night = run_night(lake, tmp_path / "out", references__turns=8)
    assert (night.scores["status"] == "scored").all() and night.scores["score_raw"].notna().all()


@pytest.mark.parametrize("preset", ["lakescore", "paper"])
def test_a_second_night_finds_the_first_ones_turned_references(preset: str, lake: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "references__turns": 4,
        "references__source": "window",
        "references__count": 8,
        "method__preset": preset,
    }
    once = run_night(lake, tmp_path / "out", "one", **more)
    write(tmp_path / "more/nut/x.png", np.full((SIDE, SIDE, 3), 120, np.uint8))
    for path in (lake / "nut").iterdir():
        (tmp_path / "more/nut" / path.name).write_bytes(path.read_bytes())
    night = run_night(tmp_path / "more", tmp_path / "out", "two", **more)
    assert (once.scores["status"] == "scored").all() and (night.scores["status"] == "scored").all()


@pytest.mark.parametrize(
    ("more", "compared"),
    [
        ({"references__mode": "nearest", "references__count": 5}, 5),
        ({"references__thin": 2}, COUNT - 1),
        ({"references__thin": 2, "references__turns": 4, "references__mode": "nearest", "references__count": 5}, 5),
    ],
    ids=str,
)
def test_other_references_are_one_run(more: dict[str, Any], compared: int, lake: Path, tmp_path: Path) -> None:
    night = run_night(lake, tmp_path / "out", report__images=4, **more)
    assert (night.scores["status"] == "scored").all()
    assert night.scores["references"].between(compared - 1, compared).all()  # two are nearly the same
    assert np.isfinite(night.scores["score_raw"]).all()
