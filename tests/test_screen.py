"""What stands in the data cannot move a cursor, and colours are for eyes only."""

import io

import pytest

from pipeline.screen import coloured, printable, shortened


class Terminal(io.StringIO):
    """A stream that says that somebody looks at it."""

    def isatty(self) -> bool:
        return True


def test_what_is_not_printable_is_escaped() -> None:
    assert printable("a\x1b[2J\nb\udc80\u202ec é 日") == "a\\x1b[2J\\nb\\udc80\\u202ec é 日"


@pytest.mark.parametrize(("most", "short"), [(5, "abcdefghijkl"), (12, "abcdefghijkl"), (11, "abc ... jkl")])
def test_what_is_too_long_loses_its_middle(most: int, short: str) -> None:
    if most == 5:
        assert len(shortened("a" * 100, most)) == most
    else:
        assert shortened("abcdefghijkl", most) == short


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_colours_are_for_terminals_only() -> None:
    assert coloured("x", "red", Terminal()) == "\033[31mx\033[0m"
    assert coloured("x", "red", io.StringIO()) == "x"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("NO_COLOR", "1", "x"), ("NO_COLOR", "", "\033[1mx\033[0m"), ("TERM", "dumb", "x")],
)
def test_colours_can_be_refused(name: str, value: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert coloured("x", "bold", Terminal()) == shown
