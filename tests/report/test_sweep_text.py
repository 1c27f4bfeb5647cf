"""What a sweep of the feature store says of itself."""

from pipeline.report.sweep_text import sweep_text
from pipeline.store.garbage import Sweep, Tally


def test_kept_and_dropped_stand_beside_each_other_and_what_is_kept_has_its_reason() -> None:
    found = [
        Sweep("aaaa", Tally(2, 40, 3_000_000), Tally(1, 20, 1_250_000), spare=5, young=1),
        Sweep("bbbb", Tally(), Tally(10, 0, 10**9), spare=2, damaged=10),
    ]
    assert sweep_text(found, 0, {"run\x1b": 1_000_000_000.0}, dropped=True).split("\n") == [
        "fingerprint  files kept  images kept  MB kept  files dropped  images dropped  MB dropped",
        "----------------------------------------------------------------------------------------",
        "aaaa                  2           40      3.0              1              20         1.2",
        "bbbb                  0            0      0.0             10               0      1000.0",
        "images that no run uses, kept with others of their file: 7",
        "files that no run uses, kept as a run that is not published may (see --hours): 1",
        "damaged files: 10",
        "run run\\x1b is not published; what was written since it began, 2001-09-09 01:46:40 UTC, is kept",
        "a run that needs older features may fail; started again, it encodes them anew",
        "dropped",
    ]
