"""What a shell offers after a job's name: a real bash, set up by the line that the README has."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SET_UP = 'eval "$(register-python-argcomplete $(basename -a jobs/*.py))"'
# What readline does: it looks up the function of the command's name, and hands it the words and where the cursor is
COMPLETE = """
set -e
{set_up}
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9; COMP_KEY=9
read -ra COMP_WORDS <<< "$COMP_LINE"
[[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
found=$(complete -p "${{COMP_WORDS[0]##*/}}")
[[ $found =~ -F\\ ([^ ]+) ]]
"${{BASH_REMATCH[1]}}" "${{COMP_WORDS[0]}}" "${{COMP_WORDS[COMP_CWORD]}}" ""
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(line: str) -> list[str]:
    """Return what bash offers after a line."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-c", COMPLETE.format(set_up=SET_UP, line=line)],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [word.strip() for word in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("jobs/inspect_run.py --c", ["--category", "--compare"]),
        (
            "./jobs/score_dataset.py --search.",
            ["--search.kind", "--search.dtype", "--search.radius", "--search.memory_gb"],
        ),
        ("jobs/score_dataset.py --search.kind ", ["auto", "gemm", "faiss"]),
        ("jobs/score_dataset.py --references.quadratic t", ["true"]),
        ("jobs/inspect_run.py pyproj", ["pyproject.toml"]),
        ("jobs/score_dataset.py --config pyproj", ["pyproject.toml"]),
    ],
)
def test_bash_offers_flags_choices_and_files(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_the_readme_has_the_line() -> None:
    assert SET_UP in re.sub(r"\s+", " ", (REPOSITORY / "README.md").read_text())
