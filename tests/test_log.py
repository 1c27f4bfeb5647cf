"""Log lines: one for each record, for people or for machines."""

import json
import subprocess
import sys

import pytest

LINES = """
import logging, sys
from pipeline.log import show_log
show_log(*{arguments})
log = logging.getLogger("pipeline.x")
log.debug("unit")
log.info("stage")
log.warning("cannot read %s", "/\\x1b[2J\\n/a")
log.error("error: no more")
logging.getLogger("library").info("chatter")
logging.getLogger("library").warning("look")
"""


def lines(form: str, quiet: bool) -> list[str]:
    script = LINES.format(arguments=(form, quiet))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize("quiet", [False, True])
def test_each_record_is_one_printable_line_that_says_how_bad_it_is(quiet: bool) -> None:
    bad = ["warning: cannot read /\\x1b[2J\\n/a", "error: no more", "warning: look"]
    assert lines("text", quiet) == (bad if quiet else ["stage", *bad])


@pytest.mark.parametrize("quiet", [False, True])
def test_json_has_units_too_and_quiet_leaves_what_needs_attention(quiet: bool) -> None:
    found = [json.loads(line) for line in lines("json", quiet)]
    bad = ["cannot read /\x1b[2J\n/a", "error: no more", "look"]
    assert [line["message"] for line in found] == (bad if quiet else ["unit", "stage", *bad])
    assert {line["level"] for line in found} >= {"WARNING", "ERROR"}
