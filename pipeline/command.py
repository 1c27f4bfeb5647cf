"""What the jobs share: from the command line to settings, and from errors to an exit code for a scheduler.

0   every image was scored or quarantined with a reason, and the run is published
1   the run failed; nothing was published
2   a setting cannot work
3   nothing to score: no image was found, or every one was quarantined (published, with the reasons)
4   another process does this run
130 stopped by Ctrl-C, 143 by SIGTERM: the same command with the same run id takes it up
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from jsonargparse import ArgumentError, ArgumentParser
from pydantic import ValidationError

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError, LakeScoreError

LEFT_TO_STOP = 25.0  # seconds: those who send SIGTERM often send SIGKILL 30 later

log = logging.getLogger(__name__)


def exit_code(main: Callable[[], int | None]) -> int:
    """Run a job; print one of our errors as one line (LAKESCORE_TRACEBACK=1 shows where it came from)."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        return main() or 0
    except KeyboardInterrupt:
        log.error("error: stopped by Ctrl-C", extra={"exit_code": 130})
        return 130
    except SystemExit as end:
        if not isinstance(end, _Stopped) and end.code != signal.SIGTERM:  # the latter by Ray, while it starts
            raise
        log.error(
            "error: asked to stop; the same command with the same output.run_id takes it up", extra={"exit_code": 143}
        )
        return 143
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except LakeScoreError as error:
        if os.environ.get("LAKESCORE_TRACEBACK"):
            raise
        log.error("error: %s", error, extra={"exit_code": error.exit_code})
        return error.exit_code


class _Stopped(SystemExit):
    """SIGTERM came. No `Exception`: it may come anywhere, and much of what runs there catches those."""


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: a second one would cut short what the first began
    end = threading.Timer(LEFT_TO_STOP, os._exit, [143])  # whatever hangs; a lock of a dead process holds nobody up
    end.daemon = True
    end.start()
    raise _Stopped(143)


def parse(description: str | None, arguments: Sequence[str] | None = None) -> ScoreConfig:
    """Fill the settings from the command line and the YAML files it names; raises `ConfigError`."""
    parser = ArgumentParser(prog="score_dataset.py", description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with any of the settings below.")
    parser.add_class_arguments(ScoreConfig)
    try:
        values = parser.parse_args(arguments).as_dict()
        values.pop("config")
        return ScoreConfig.model_validate(values)
    except ArgumentError as error:
        raise ConfigError(f"{' '.join(error.message.split())} (--help lists every setting)") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"a --config file is not UTF-8 text: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
