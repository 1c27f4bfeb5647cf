"""Log lines, for people or for machines, with what they belong to."""

import logging
import sys
from typing import Literal, TextIO

from pipeline.screen import coloured, printable

# What every line of a run belongs to: run_id, stage. A process does one run at a time
context: dict[str, str] = {}
_watched = False


class _Context(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        vars(record).update({name: value for name, value in context.items() if not hasattr(record, name)})
        return True


class _Lines(logging.Formatter):
    """One line for each record, whatever names stand in it; a traceback that was asked for goes before it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        line = printable(record.getMessage())
        if record.levelno >= logging.WARNING:
            kind, colour = ("error: ", "red") if record.levelno >= logging.ERROR else ("warning: ", "yellow")
            line = coloured(kind, colour, self._stream) + line.removeprefix(kind)  # type: ignore[arg-type]  # one of two names
        trace = self.formatException(record.exc_info).split("\n") if record.exc_info else []
        return "\n".join([*map(printable, trace), line])


def show_log(form: Literal["text", "json"] = "text", quiet: bool = False) -> None:
    """Write our own log lines to stderr, and of the libraries only what needs attention; if quiet, of us too.

    In JSON each line is an object with time, level, logger, message, run_id, stage, and what else the line knows (unit,
    images, seconds, ...); every unit of work has a line then.
    """
    global _watched
    _watched = form == "text" and not quiet and sys.stderr.isatty()
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Context())
    if form == "json":
        from pythonjsonlogger.json import JsonFormatter  # people's terminals need not wait for it

        names = {"levelname": "level", "name": "logger", "timestamp": "time"}
        handler.setFormatter(
            JsonFormatter("{levelname}{name}{message}", style="{", rename_fields=names, timestamp=True)
        )
    else:
        handler.setFormatter(_Lines(sys.stderr))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    ours = logging.WARNING if quiet else logging.DEBUG if form == "json" else logging.INFO
    logging.getLogger("pipeline").setLevel(ours)


def is_watched() -> bool:
    """Tell whether the log goes to a terminal, before somebody who wants to see that the work moves on."""
    return _watched
