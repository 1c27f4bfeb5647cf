"""What is measured: `python -m bench` runs all of it, `python -m bench.<name>` one bench.

A bench is a module that has `main(report, sizes)`. All its sizes are fields of one dataclass, of which it has two: FULL
is what is measured, and TOY shows in seconds that the bench runs. The other modules of this folder help the benches.
"""

from pathlib import Path


def names() -> list[str]:
    """Return the names of all benches, in the order in which they run."""
    return [path.stem for path in sorted(Path(__file__).parent.glob("*.py")) if "\ndef main(" in path.read_text()]
