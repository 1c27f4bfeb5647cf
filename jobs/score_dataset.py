#!/usr/bin/env python
"""Score every image of a lake for anomalies.

score_dataset.py --input.uri s3://lake/parts --output.uri s3://lake/scores
score_dataset.py --config score.yaml --quiet --json

Exit codes: 3 nothing to score, 4 another process does this run
"""

import shutil
import sys

from pipeline.command import exit_code, job_parser, parse_settings
from pipeline.log import show_log
from pipeline.screen import coloured, printable


def main() -> int:
    parser = job_parser(__doc__)
    parser.add_argument("--quiet", action="store_true", help="Log only what needs attention, and show no progress.")
    parser.add_argument("--json", action="store_true", help="Print the summary as one JSON object.")
    config, asked = parse_settings(parser)
    show_log(config.log, asked.quiet)
    # Ray, torch and Arrow take seconds to import: --help and a wrong setting do not wait for them
    from pipeline.report.summary import summarise
    from pipeline.report.text import headline, json_text, outcome_text
    from pipeline.run import score_lake
    from pipeline.schema.record import setting

    result = score_lake(config)
    summary = summarise(result, most=10)
    if asked.json:
        print(json_text(summary))
    else:
        width = shutil.get_terminal_size((80, 24)).columns
        apart = "\n" if sys.stdout.isatty() else ""  # from the stages above
        print(f"{apart}{coloured(headline(summary, width), 'bold', sys.stdout)}\n\n{outcome_text(summary, width)}")
        if setting(result.run.config, "report.images"):  # what is published is not asked for again
            print(f"report:  {printable(result.published.location('report').uri)}")
    return 0 if result.run.counts.scored else 3


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
