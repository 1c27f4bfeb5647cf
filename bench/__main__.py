"""All benches, one after the other, each in a process of its own, since each takes all cores.

    python -m bench [--toy]

The first one that fails ends it; what cannot be measured here is said at the end.
"""

import subprocess
import sys

from bench import names
from bench.report import ABSENT


def run(arguments: list[str]) -> int:
    """Run all benches with the same arguments; return an exit code."""
    absent = []
    for name in names():
        code = subprocess.run([sys.executable, "-m", f"bench.{name}", *arguments], check=False).returncode
        if code == ABSENT:
            absent.append(name)
        elif code:
            print(f"bench.{name} failed", file=sys.stderr)
            return 1
    if absent:
        print(f"\nNOT RUN: {', '.join(absent)}; they say above what they lack", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
