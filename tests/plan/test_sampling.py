"""Samples of references: seeded, whatever the order, steady while a category grows, blind to folders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ReferencesConfig
from pipeline.plan.sampling import choose_references, expected_references, samples

NAMES = st.lists(st.text(max_size=5), unique=True, max_size=40)
SAMPLES = st.builds(
    ReferencesConfig, mode=st.just("sample"), count=st.integers(3, 12), seed=st.integers(0, 9), limit=st.just(1)
)


def uris(total: int) -> list[str]:
    return [f"/lake/parts/test/{'bad' if i % 5 == 0 else 'good'}/{i:03d}.png" for i in range(total)]


def chosen(config: ReferencesConfig, names: list[str]) -> set[str]:
    return {names[position] for position in choose_references(config, names)}


@given(SAMPLES, NAMES)
def test_a_sample_is_as_many_different_positions_as_asked_for_rising(
    config: ReferencesConfig, names: list[str]
) -> None:
    found = choose_references(config, names)
    assert found == sorted(set(found)) and len(found) == min(config.count, len(names))
    assert all(0 <= position < len(names) for position in found)


@given(SAMPLES, st.data())
def test_another_order_of_the_images_gives_the_same_sample(config: ReferencesConfig, data: st.DataObject) -> None:
    names = data.draw(NAMES)
    assert chosen(config, data.draw(st.permutations(names))) == chosen(config, names)


@given(SAMPLES, NAMES, st.integers(0, 40))
def test_a_growing_category_changes_no_more_references_than_it_has_new_images(
    config: ReferencesConfig, names: list[str], before: int
) -> None:
    old, new = set(names[:before]), set(names[before:])
    assert chosen(config, names) - new <= chosen(config, names[:before])
    assert len(chosen(config, names) & old) >= min(config.count, len(old)) - len(new)


def test_the_sample_of_a_seed_is_always_the_same() -> None:
    # Another hash would be another sample for every run of before.
    config = ReferencesConfig(mode="sample", count=5)
    assert choose_references(config, uris(30)) == [1, 6, 12, 13, 20]
    assert choose_references(config.model_copy(update={"seed": 1}), uris(30)) == [1, 4, 16, 17, 23]


def test_samples_follow_no_folder_and_no_position() -> None:
    # A fifth of the images is anomalous, and so is a fifth of what is drawn, within four standard errors of 400 samples
    # of 50 out of 200.
    names = uris(200)
    draws = [choose_references(ReferencesConfig(mode="sample", count=50, seed=seed), names) for seed in range(400)]
    bad = np.array([sum(position % 5 == 0 for position in draw) for draw in draws])
    error = np.sqrt(50 * 0.2 * 0.8 * (1 - 50 / 200) / 400)
    assert abs(bad.mean() - 10) < 4 * error
    drawn = np.bincount(np.concatenate(draws), minlength=200)
    assert drawn.min() > 60 and drawn.max() < 140  # each image in a quarter of them, 100 times give or take 8.7


@pytest.mark.parametrize(
    ("mode", "total", "drawn"),
    [("auto", 20, False), ("auto", 21, True), ("sample", 2, True), ("all", 10**6, False)],
)
def test_auto_draws_a_sample_above_its_limit_and_the_other_modes_do_what_they_say(
    mode: str, total: int, drawn: bool
) -> None:
    config = ReferencesConfig.model_validate({"mode": mode, "limit": 20})
    assert samples(config, total) is drawn


@pytest.mark.parametrize("mode", ["auto", "all", "sample"])
@given(st.integers(0, 40), st.integers(3, 30), st.integers(1, 30))
def test_as_many_references_are_expected_as_will_be_chosen(mode: str, total: int, count: int, limit: int) -> None:
    config = ReferencesConfig.model_validate({"mode": mode, "count": count, "limit": limit})
    assert expected_references(config, total) == len(choose_references(config, uris(total)))
