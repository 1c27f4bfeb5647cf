"""What is printed of a plan: as wide as a terminal, adding up, and saying where its rates are from."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from pipeline.cluster_plan import Question, describe, plan_lake, read_rates
from pipeline.errors import ConfigError
from pipeline.plan.rates import ClusterRates, Prices

QUESTION = Question(categories=20, new=0.05, masked=0.1, preset="lakescore", size=224, hours=8, gpus=None)


def told(question: Question = QUESTION, images: int = 50_000, rates: ClusterRates | None = None) -> list[list[str]]:
    """Return the lines of each paragraph and table."""
    rates = rates or ClusterRates()
    text = describe(question, [plan_lake(of, question, rates) for of in (2_000, images)], rates, Prices(), "rates.json")
    assert max(map(len, text.splitlines())) <= 100
    return [part.splitlines() for part in text.split("\n\n")]


def numbers(line: str) -> list[float]:
    """Return the figures of a line that add up, those in brackets left out."""
    return [float(cell.replace(",", "").replace("-", "0")) for cell in line.split()[-2:] if not cell.startswith("(")]


@pytest.mark.parametrize("preset", ["lakescore", "paper"])
def test_the_stages_add_up_to_the_night(preset: Literal["lakescore", "paper"]) -> None:
    [title], nights, _, (_, _, *stages, whole), limits, _ = told(replace(QUESTION, preset=preset, gpus=3))
    assert title.startswith(f"Preset {preset} at 224 pixels, 20 categories, 5 % of") and "hours" not in title
    rows = [numbers(stage) for stage in stages if "(" not in stage]
    assert [sum(of) for of in zip(*rows, strict=True)] == pytest.approx(numbers(whole), abs=len(stages))
    first, nightly = (float(line.split()[place]) for line, place in ((nights[4], 3), (nights[5], 2)))
    assert [first, nightly] == pytest.approx([of / 3600 for of in numbers(whole)], abs=0.06)
    longest = max(stages, key=lambda stage: numbers(stage)[0] if "(" not in stage else 0)
    assert limits[0].startswith(f"First: limited by {longest.split('  ')[0]} (")


def test_dollars_add_up() -> None:
    for line in told(images=2_000_000)[1][4:]:
        cells = line.replace(",", "").split()
        hours = next(place for place, cell in enumerate(cells) if "." in cell)
        whole, *parts = map(float, cells[hours + 1 : hours + 5])
        assert whole == pytest.approx(sum(parts), abs=2) and whole > 0


def test_more_megapixels_take_more_and_a_size_has_a_patch() -> None:
    hours = [float(told(replace(QUESTION, size=size, gpus=2))[1][4].split()[3]) for size in (224, 518)]
    assert hours[1] > hours[0]
    with pytest.raises(ConfigError, match="--size 13 is less than one patch of 14 pixels"):
        replace(QUESTION, size=13)


def test_a_night_that_no_number_of_gpus_ends_in_time_is_called_late() -> None:
    [title], nights, *_ = told(replace(QUESTION, hours=0.1))
    assert title.endswith("0.1 hours a night")
    assert all(line.endswith("late: nodes come and go") and " 4096 " in line for line in nights[2:])
    assert "late" not in "".join(told(replace(QUESTION, hours=0.1, gpus=4))[1])


def test_measured_rates_are_taken_and_named(tmp_path: Path) -> None:
    file = tmp_path / "rates.json"
    file.write_text('{"request": 0.5, "decoded": 0.9}')
    rates = read_rates(file)
    assert rates == replace(ClusterRates(), request=0.5, decoded=0.9)
    usual, slow = (told(replace(QUESTION, gpus=2), rates=of) for of in (ClusterRates(), rates))
    assert float(slow[1][4].split()[3]) > float(usual[1][4].split()[3])
    assert slow[-1][0] == "By rates.json, whatever is said of them below: request, decoded."
    assert usual[-1][0].startswith("ASSUMED, nothing of it measured on a GPU")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"request": 0}', "request: Input should be greater than 0"),
        ('{"request": "fast"}', "request: Input should be a valid number"),
        ('{"requests": 1}', "there is no rate 'requests'"),
        ("[1]", "Input should be"),
        ("{", "Invalid JSON"),
    ],
)
def test_what_is_no_rate_is_refused(given: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "rates.json"
    file.write_text(given)
    with pytest.raises(ConfigError, match=f"--rates {file}: .*{said}"):
        read_rates(file)
