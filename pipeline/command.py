"""From the command line to a run and an exit code that a scheduler can use.

    0   every image was scored or quarantined with a reason, and the run is published
    1   the run failed; nothing was published
    2   a setting cannot work
    3   nothing to score: no image was found, or every one was quarantined (published, with the reasons)
"""

import logging
import os
import sys
from collections.abc import Sequence

from jsonargparse import ArgumentError, ArgumentParser
from pydantic import ValidationError

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError, LakeScoreError


def run(description: str | None, arguments: Sequence[str] | None = None) -> int:
    """Score a lake as the arguments say, print the summary, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        config = parse(description, arguments)
        # Ray, torch and Arrow take seconds to import: --help and a wrong setting do not wait for them
        from pipeline.report.table import summary_table
        from pipeline.stages.run import score_lake

        result = score_lake(config)
    except LakeScoreError as error:
        if os.environ.get("LAKESCORE_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(summary_table(result.scores.select(["category", "status"]).to_pylist(), result.metrics))
    print(f"\nresults: {result.folder.results}")
    return 0 if result.run["counts"]["scored"] else 3


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
        raise ConfigError(f"{error.message.strip()} (--help lists every setting)") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
