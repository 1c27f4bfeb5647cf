"""Runs over the same photographs with 8 bits, and with 10 or 12 in 16-bit files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.running import flags, read_scores, run_job_here, settings

BITS = {"eight": 8, "ten": 10, "twelve": 12}


def greys(number: int) -> Any:
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:64, :64]
    picture = 120 + 80 * np.sin(columns / 5) + 30 * np.sin(rows / 9) + rng.normal(0, 8, (64, 64))
    if number == 3:
        picture[20:40, 20:40] = 20
    return picture.clip(0, 255).astype(np.uint8)


def write(lake: Path, category: str, numbers: range) -> None:
    (lake / category).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        values, bits = greys(number), BITS[category]
        image = Image.fromarray(values if bits == 8 else values.astype(np.uint16) << (bits - 8))
        image.save(lake / category / f"{number:02}.png")


def run(values: dict[str, Any]) -> str:
    done = run_job_here(*flags(values))
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.usefixtures("ray_here")
def test_bits_in_files_change_no_score_and_later_nights_read_their_images_alike(tmp_path: Path) -> None:
    lake, output = tmp_path / "lake", tmp_path / "output"
    for category in BITS:
        write(lake, category, range(6))
    Image.fromarray(np.full((64, 64), 40_000, np.uint16)).save(lake / "twelve" / "stray.png")
    usual = settings(lake, output, references__source="window", report__images=2)
    said = run(usual)
    assert "values   of 'ten': the low 10 of 16 bits count" in said
    assert "values   of 'twelve': the low 12 of 16 bits count" in said and "values   of 'eight'" not in said
    first = read_scores(output)
    by_bits = [first[(first["category"] == category) & (first["status"] == "scored")] for category in BITS]
    for other in by_bits[1:]:
        np.testing.assert_allclose(other["score_raw"], by_bits[0]["score_raw"], atol=1e-6)
        np.testing.assert_allclose(other["brightness"], by_bits[0]["brightness"], atol=1e-6)
    [stray] = first[first["status"] == "quarantined"].to_dict("records")
    assert stray["reason"] == "unsupported_mode" and "values up to 40000" in stray["detail"]
    told = json.loads((output / "runs" / "run_id=test" / "run.json").read_text())
    assert told["bits"] == {"ten": 10, "twelve": 12}
    assert json.loads((output / "calibration" / "depths.json").read_text()) == {"ten": 10, "twelve": 12}
    worst = by_bits[1].sort_values("score_raw").index[-1]
    with Image.open(output / f"runs/run_id=test/report/images/0/{worst}.webp") as picture:
        assert abs(np.asarray(picture).mean() - greys(3).mean()) < 6  # not black

    # The next night has dark images only, which take 8 bits and have 10: they are dark, and the others are references
    for number in (6, 7):
        values = (greys(number) >> 3).astype(np.uint16) << 2
        Image.fromarray(values).save(lake / "ten" / f"{number:02}.png")
    said = run(usual | {"output.run_id": "second"})
    assert "values   of 'ten': the low 10 of 16 bits count" in said
    second = read_scores(output, "second")
    ten = second[second["category"] == "ten"]
    assert list(ten["scored_by"]) == ["test"] * 6 + ["second"] * 2
    assert ten["brightness"].iloc[6:].max() < 0.15
    assert (ten["references"].iloc[6:] >= 6).all()

    # Said to have other bits, nothing is taken over from these nights
    run(usual | {"output.run_id": "third", "input.bits": 14})
    third = read_scores(output, "third")
    assert set(third[third["category"] == "ten"]["scored_by"]) == {"third"}
    assert set(third[third["category"] == "eight"]["scored_by"]) == {"third"}
    assert json.loads((output / "calibration" / "depths.json").read_text()) == {"ten": 10, "twelve": 12}
