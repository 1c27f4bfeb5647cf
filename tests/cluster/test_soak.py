"""Runs that are killed again and again end as if nobody had."""

from pathlib import Path

import pytest

from tests.cluster.soak import Soak


@pytest.mark.timeout(1200)
def test_killed_runs_end_with_every_row_once_and_leave_nothing_behind(tmp_path: Path) -> None:
    soak = Soak(tmp_path, seed=2)
    outcomes = [soak.run(number) for number in range(3)]
    print(*outcomes, sep="\n")
    assert [(outcome.lost, outcome.twice, outcome.wrong) for outcome in outcomes] == [(0, 0, "")] * 3
    assert "-9" in outcomes[2].ends and outcomes[1].workers
    assert outcomes[2].encoded == 0  # of what a killed run encoded, nothing was lost
    soak.wait_until_all_have_left()
    assert soak.alive() == []
