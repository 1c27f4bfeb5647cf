"""A run that is killed again and again ends as if nobody had; the soak itself does many (CONTRIBUTING.md)."""

from pathlib import Path

import pytest

from tests.cluster.soak import Soak


@pytest.mark.daily
@pytest.mark.timeout(900)
def test_a_killed_run_ends_with_every_row_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    soak = Soak(tmp_path, seed=0, most_kills=1)
    outcome = soak.run(1)
    print(outcome)
    assert (outcome.lost, outcome.twice, outcome.wrong) == (0, 0, "")
    assert "-9" in outcome.ends and outcome.workers
    soak.wait_until_all_have_left()
    assert soak.alive() == []
