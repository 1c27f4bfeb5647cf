"""What the jobs share: their look, from the command line to settings, and from errors to an exit code for a scheduler.

0   every image was scored or quarantined with a reason, and the run is published
1   the run failed; nothing was published
2   a setting cannot work
3   nothing to score: no image was found, or every one was quarantined (published, with the reasons)
4   another process does this run
130 stopped by Ctrl-C, 143 by SIGTERM: the same command with the same run id takes it up
"""

import difflib
import logging
import os
import re
import signal
import sys
import textwrap
import threading
import traceback
from argparse import Action
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace, set_loader
from pydantic import ValidationError
from yaml import YAMLError

from pipeline.config import ONE_OF, ScoreConfig
from pipeline.errors import ConfigError, LakeScoreError
from pipeline.log import context
from pipeline.plain_yaml import load_yaml
from pipeline.screen import printable, shortened

LONGEST_ERROR = 500  # characters of the last line of a job
LEFT_TO_STOP = 25.0  # seconds: those who send SIGTERM often send SIGKILL 30 later
WIDTH = 80  # columns of help that is not to be broken
EXIT_CODES = "0 done, 1 failed, 2 wrong arguments or settings, 130 or 143 stopped"  # of every job

log = logging.getLogger(__name__)


set_loader("yaml", load_yaml, exceptions=(YAMLError,))


def job_parser(about: str | None) -> ArgumentParser:
    """Return a parser in the look of all jobs; give it arguments, and `exit_code` a `main` that has it parse.

    Args:
        about: the job's docstring: what it does, a blank line, an example or more a line, and perhaps, after another
            blank line, `Exit codes: ` that it has beside the usual ones.
    """
    description, _, more = (about or "").strip().partition("\n\n")
    examples, _, codes = more.partition("\n\n")
    codes = f"{EXIT_CODES}, {codes.removeprefix('Exit codes: ')}" if codes else EXIT_CODES
    lines = ["examples:", *(f"  {line.strip()}" for line in examples.splitlines()), "", f"exit codes: {codes}"]
    return _Parser(description=description, epilog="\n".join(lines), formatter_class=_Help, exit_on_error=False)


class _Parser(ArgumentParser):
    def parse_args(self, *arguments: Any, **more: Any) -> Namespace:  # type: ignore[override]  # all of them
        if "_ARGCOMPLETE" in os.environ:  # the shell asks what may follow; the rest of the job is not run then
            from argcomplete.completers import ChoicesCompleter, FilesCompleter

            for action in self._actions:  # jsonargparse knows no choices here, and fails where it expects text
                choices = re.fullmatch(r"\{(.+)\}", str(action.metavar))
                named = ChoicesCompleter({choice: "" for choice in choices[1].split(",")}) if choices else None
                action.completer = named or FilesCompleter()  # type: ignore[attr-defined]  # argcomplete reads it
        try:
            return super().parse_args(*arguments, **more)
        except ArgumentError as error:
            known = [option for action in self._actions for option in action.option_strings]
            raise ArgumentError(None, error.message + _guess(error.message, known)) from error


class _Help(DefaultHelpFormatter):
    """Help whose usage is one line, without names of Python's types, and whose examples keep their lines."""

    def _format_usage(self, usage: str | None, actions: Iterable[Action], *more: Any) -> str:
        needed = [action for action in actions if action.required]
        return f"{super()._format_usage(usage, needed, *more).rstrip()} [options]\n\n"

    def _format_action_invocation(self, action: Action) -> str:
        flag = str(super()._format_action_invocation(action))
        if len(flag) <= WIDTH - 2:
            return flag
        return "\n".join(textwrap.wrap(flag.replace(",", ", "), WIDTH - 2, subsequent_indent=8 * " "))

    def _get_type_str(self, action: Action) -> None:
        return None

    def _expand_help(self, action: Action) -> str:
        words = str(super()._expand_help(action))
        for nothing in ("null", "False", "()", "{}"):
            words = words.removesuffix(f" (default: {nothing})")
        return words

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        def wrapped(line: str) -> str:
            below = "    " if line.startswith(" ") else ""
            return textwrap.fill(line, width, subsequent_indent=below, break_long_words=False, break_on_hyphens=False)

        return "\n".join(map(wrapped, text.splitlines()))


def exit_code(main: Callable[[], int | None]) -> int:
    """Run a job; say what went wrong in one line (LAKESCORE_TRACEBACK=1 shows where it came from)."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        return main() or 0
    except KeyboardInterrupt:
        log.error("error: stopped by Ctrl-C", extra={"exit_code": 130})
        return 130
    except SystemExit as end:
        if not isinstance(end, _Stopped) and end.code != signal.SIGTERM:  # the latter by Ray, while it starts
            raise
        run_begun = "run_id" in context  # of a job that only reads there is nothing to take up
        how = "a run is taken up by the same command with its output.run_id" if run_begun else "start it again"
        log.error("error: asked to stop; %s", how, extra={"exit_code": 143})
        return 143
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ArgumentError as error:
        return _failed(_usage_error(error))
    except LakeScoreError as error:
        return _failed(error)
    except Exception as error:  # a bug: whoever runs a job gets one line of it, too
        what = " ".join("".join(traceback.format_exception_only(error)).split())
        return _failed(LakeScoreError(f"{what} (not foreseen: LAKESCORE_TRACEBACK=1 shows where it came from)"))


def _failed(error: LakeScoreError) -> int:
    asked = bool(os.environ.get("LAKESCORE_TRACEBACK"))
    said = shortened(
        f"error: {printable(str(error))}", LONGEST_ERROR
    )  # libraries quote what they read, whole files too
    log.error("%s", said, exc_info=asked, extra={"exit_code": error.exit_code})
    return error.exit_code


def _guess(said: str, known: Sequence[str]) -> str:
    """Return the option that a misspelt one, of which a parser says that it knows none, may stand for."""
    if flag := re.search(r"unrecognized arguments:.*?(--[^\s=]+)", said, re.IGNORECASE):
        written = flag[1]
    elif key := re.search(r"Group '(.+?)' does not accept option '(.+?)'", said):
        written = f"--{key[1]}.{key[2]}"
    elif key := re.search(r"Option '(.+?)' is not accepted", said):
        written = f"--{key[1]}"
    else:
        return ""
    guesses = difflib.get_close_matches(written, known, n=1)
    return f"; did you mean {guesses[0]}?" if guesses else ""


def _usage_error(error: ArgumentError) -> ConfigError:
    said = re.sub(r'^Parser key "([^"]+)"', r"\1", " ".join(error.message.split()))
    # what pydantic says of types that we made: where they are, and in a page of its manual
    said = re.sub(r"typing\.Annotated\[(.+?), BeforeValidator\(.+? at 0x\w+>, .+?\)\]", r"\1", said)
    said = re.sub(r"\d+ validation errors? for function-before\[\w+\(\), \S+( \S+\])? ", "", said)
    said = re.sub(r" \[type=.+?https://\S+?(?=\.? |$)", "", said)
    said = re.sub(r"Expected a typing\.Literal\[(.+?)\]\.", r"Expected one of \1.", said).replace("Value error, ", "")
    name = said.partition(":")[0]
    return ConfigError(f"{name}: {ONE_OF[name]}" if name in ONE_OF else f"{said} (see --help)")


class _Stopped(SystemExit):
    """SIGTERM came. No `Exception`: it may come anywhere, and much of what runs there catches those."""


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: a second one would cut short what the first began
    end = threading.Timer(LEFT_TO_STOP, os._exit, [143])  # whatever hangs; a lock of a dead process holds nobody up
    end.daemon = True
    end.start()
    raise _Stopped(143)


def parse_settings(parser: ArgumentParser, arguments: Sequence[str] | None = None) -> tuple[ScoreConfig, Namespace]:
    """Fill the settings of a run, and what else `parser` asks for, from the command line and the YAML files it names.

    Raises `ConfigError`.
    """
    parser.add_argument("--config", action="config", help="YAML file with any of the settings below.")
    parser.add_class_arguments(ScoreConfig)
    for name, group in (parser.groups or {}).items():  # titles, in place of names of Python's classes
        field = ScoreConfig.model_fields.get(name)
        if name == ScoreConfig.__name__ or field:
            group.title = str(field.annotation.__doc__).rstrip(".") if field else "The whole run"
    try:
        values = parser.parse_args(arguments)
        settings = {name: value for name, value in values.as_dict().items() if name in ScoreConfig.model_fields}
        return ScoreConfig.model_validate(settings), values
    except ArgumentError as error:
        raise _usage_error(error) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"a --config file is not UTF-8 text: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        several = [of for of in ONE_OF if name.startswith(f"{of}.")]  # beyond its name stands one of its types
        raise ConfigError(f"{several[0]}: {ONE_OF[several[0]]}" if several else f"{name}: {said}") from error
