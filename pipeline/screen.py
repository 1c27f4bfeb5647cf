"""What a terminal may be sent: text that cannot move its cursor, and colours where somebody looks."""

import os
from typing import Literal, TextIO

COLOURS = {"bold": "1", "red": "31", "yellow": "33"}


def printable(text: str) -> str:
    """Return text that cannot move a terminal's cursor, whatever a file may be called."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def shortened(text: str, most: int) -> str:
    """Return text of at most so many characters, the middle of what is longer left out."""
    gap = " ... "
    begin = (most - len(gap)) // 2
    return text if len(text) <= most else text[:begin] + gap + text[len(text) - (most - len(gap) - begin) :]


def coloured(text: str, colour: Literal["bold", "red", "yellow"], stream: TextIO) -> str:
    """Return text in a colour, and as it is where `stream` is no terminal or NO_COLOR (no-color.org) is set."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"
