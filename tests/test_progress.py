"""How far a stage is: a bar on a terminal, a line now and then elsewhere, and gauges."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading

import pytest

from pipeline import progress
from pipeline.progress import Progress

STAGE = """
import logging, sys
from pipeline.log import show_log
from pipeline import progress
show_log(*{arguments})
progress.SECONDS_BETWEEN_LINES = 0.0
log = logging.getLogger("pipeline.x")
with progress.Progress("extract", "images", 40, already=10) as stage:
    stage.add(10)
    log.warning("look at \\x1b[2J")
    stage.add(20)
with progress.Progress("nothing", "images", 0):
    pass
with progress.Progress("score", "units", 2) as stage:
    stage.add(2)
"""
DONE = ["extract  40/40 images", "score    2/2 units"]


def on_terminal(columns: int, *arguments: object, **env: str) -> str:
    """Return what the stages write to a terminal of some width."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    script = STAGE.format(arguments=arguments)
    given = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    given |= {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | env
    with subprocess.Popen([sys.executable, "-c", script], env=given, stderr=theirs, stdout=theirs) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                written += os.read(mine, 65536)
            except OSError:  # how Linux ends a terminal that nobody writes to any more
                break
    os.close(mine)
    assert process.returncode == 0, written
    return written.decode()


def shown(written: str) -> list[str]:
    """Return the lines that are left on a terminal after all carriage returns."""
    lines = []
    for line in re.sub(r"\033\[\d+m", "", written).replace("\r\n", "\n").split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


def without_times(lines: list[str]) -> list[str]:
    return [re.sub(r" +[\d.,]+/s +\d+ s( +\d+ s left)?$", "", line) for line in lines if line]


@pytest.mark.parametrize("columns", [80, 40])
def test_a_terminal_shows_a_bar_and_keeps_one_line_of_each_stage(columns: int) -> None:
    written = on_terminal(columns, "text")
    assert without_times(shown(written)) == ["warning: look at \\x1b[2J", *DONE]
    frames = [frame for frame in re.findall(r"[^\r\n]+(?=\r[^\n])", written) if "/40 images" in frame]
    assert frames and max(map(len, frames)) <= columns
    assert any("|" in frame for frame in frames) == (columns == 80)


def test_a_bar_shows_no_rate_before_anything_is_done() -> None:
    [first, *_] = [frame for frame in on_terminal(80, "text").split("\r") if "score " in frame]
    assert re.match(r"score    0/2 units +0 s +\|", first)


def test_colours_can_be_refused() -> None:
    assert "\033[33mwarning" in on_terminal(80, "text")
    assert "\033" not in on_terminal(80, "text", NO_COLOR="1")


@pytest.mark.parametrize(("form", "quiet"), [("text", True), ("json", False), ("json", True)])
def test_where_nobody_looks_there_is_no_bar_on_a_terminal_either(form: str, quiet: bool) -> None:
    written = on_terminal(80, form, quiet)
    assert "|" not in written and "\r" not in written.replace("\r\n", "\n")
    assert ("40/40 images" in written) == (not quiet)


def test_elsewhere_there_is_a_line_now_and_then() -> None:
    script = STAGE.format(arguments=("text",))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    lines = without_times(done.stderr.splitlines())
    assert lines == ["extract  20/40 images", "warning: look at \\x1b[2J", *DONE]


def test_gauges_are_set_again_while_nothing_moves_and_once_more_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    shown: list[tuple[str, int, int]] = []
    again = threading.Event()

    def show(stage: str, done: int, total: int) -> None:
        shown.append((stage, done, total))
        if shown.count((stage, 5, 8)) == 3:
            again.set()

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_GAUGES", 0.001)
    with Progress("score", "units", 8, already=2, show=show) as units:
        units.add(3)
        assert again.wait(60)
        units.add(3)
    assert ("score", 5, 8) in shown and shown[-1] == ("score", 8, 8)
    assert threading.active_count() == before


@pytest.mark.parametrize("form", ["text", "json"])
def test_elsewhere_there_is_a_line_also_while_nothing_is_done(form: str) -> None:
    script = f"""
import threading
from pipeline import progress
from pipeline.log import show_log
show_log({form!r})
progress.SECONDS_WITHOUT_LINE = 0.01
asked = threading.Semaphore(0)
def at_work():
    asked.release()
    return "no worker yet"
with progress.Progress("extract", "images", 136, at_work=at_work):
    for _ in range(3):
        assert asked.acquire(timeout=60)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    waiting = [line for line in done.stderr.splitlines() if "no worker yet" in line]
    assert len(waiting) >= 2 and all("extract  0/136 images" in line for line in waiting)


def test_a_line_that_was_shown_puts_off_the_next_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level("INFO", "pipeline.progress")
    with Progress("score", "units", 8) as units:
        units.add(3)
        units._say_that_it_goes_on()
        units._shown -= progress.SECONDS_WITHOUT_LINE
        units._say_that_it_goes_on()
        units._say_that_it_goes_on()
    assert [line.split("units")[0].split()[-1] for line in caplog.messages] == ["3/8", "3/8", "3/8"]
    assert caplog.messages[1].endswith("  at work")
