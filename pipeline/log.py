"""Log lines, for people or for machines, with what they belong to."""

import logging
import sys
from typing import Literal

# What every line of a run belongs to: run_id, stage. A process does one run at a time
context: dict[str, str] = {}


class _Context(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        vars(record).update({name: value for name, value in context.items() if not hasattr(record, name)})
        return True


def show_log(form: Literal["text", "json"] = "text") -> None:
    """Write our own log lines to stderr, and of the libraries only what needs attention.

    In JSON each line is an object with time, level, logger, message, run_id, stage, and what else the line knows (unit,
    images, seconds, ...); every unit of work has a line then.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Context())
    if form == "json":
        from pythonjsonlogger.json import JsonFormatter  # people's terminals need not wait for it

        names = {"levelname": "level", "name": "logger", "timestamp": "time"}
        handler.setFormatter(
            JsonFormatter("{levelname}{name}{message}", style="{", rename_fields=names, timestamp=True)
        )
    else:
        handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("pipeline").setLevel(logging.DEBUG if form == "json" else logging.INFO)
