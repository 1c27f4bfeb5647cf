#!/usr/bin/env python
"""Score every image of a lake for anomalies by MuSc.

score_dataset.py --input.uri s3://lake/parts --output.uri s3://lake/scores
score_dataset.py --config score.yaml --quiet

Exit codes: 3 nothing to score, 4 another process does this run
"""

import sys

from pipeline.command import exit_code, job_parser, parse_settings
from pipeline.log import show_log


def main() -> int:
    parser = job_parser(__doc__)
    config, _ = parse_settings(parser)
    show_log(config.log)
    # Ray, torch and Arrow take seconds to import: --help and a wrong setting do not wait for them
    from pipeline.report.table import summary_table
    from pipeline.stages.run import score_lake

    result = score_lake(config)
    print(summary_table(result.scores.select(["category", "status"]).to_pylist(), result.metrics))
    print(f"\nresults: {result.folder.results}")
    return 0 if result.run["counts"]["scored"] else 3


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
