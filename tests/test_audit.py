"""`make audit` fails on findings only, and never passes in silence over pins that nobody looked up."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1", "3"]}]}
SKIPPED = {"name": "odd", "skip_reason": "Dependency not found on PyPI and could not be audited: odd (3)"}


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ({"dependencies": [GOOD]}, 0, ["1 of 1 pins compared, 0 vulnerabilities known"]),
        ({"dependencies": [GOOD, BAD]}, 1, ["bad 2: CVE-1, fixed in 2.1, 3", "2 of 2 pins compared, 1 vuln"]),
        ({"dependencies": [GOOD, SKIPPED]}, 0, ["1 of 2 pins compared", "NOT RUN for 1 pins, such as odd: Dependency"]),
        ({"dependencies": [BAD, SKIPPED]}, 1, ["CVE-1", "NOT RUN for 1 pins"]),
        (None, 0, ["NOT RUN: pip-audit gave no answer: ConnectionError: no such host"]),
    ],
    ids=["clean", "finding", "not found", "both", "no service"],
)
def test_audit_says_what_was_found_and_what_was_not_looked_up(
    answer: Any, code: int, said: list[str], tmp_path: Path
) -> None:
    program = tmp_path / "pip-audit"
    output = "" if answer is None else json.dumps(answer)
    exits = int(code or answer is None)  # as pip-audit does
    program.write_text(
        f"#!{sys.executable}\nimport sys\nprint({output!r})\n"
        f"print('Traceback ...\\nConnectionError: no such host', file=sys.stderr)\nsys.exit({exits})\n"
    )
    program.chmod(0o755)
    script = [sys.executable, str(REPOSITORY / ".ci" / "audit.py"), str(program), "constraints.txt"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert [words for words in said if words not in done.stdout] == []
