#!/usr/bin/env python
"""Drop stored features that no published run uses, to free their room; without --apply, only say which.

collect_features.py out/sample/scores

Exit codes: 4 a run is at work
"""

import sys
import time

from jsonargparse.typing import NonNegativeFloat

from pipeline.command import exit_code, job_parser
from pipeline.log import show_log


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument("output", type=str, help="The output.uri of the runs.")
    parser.add_argument("--apply", action="store_true", help="Drop them.")
    parser.add_argument("--quick", action="store_true", help="Read no tokens: finds less of what is damaged, sooner.")
    parser.add_argument("--hours", type=NonNegativeFloat, default=24.0, help="Younger files stay, whoever uses them.")
    parser.add_argument("--json", action="store_true", help="Print the same facts as one JSON object.")
    arguments = parser.parse_args()

    from pipeline.errors import RunLocked
    from pipeline.io.lock import runs_at_work
    from pipeline.io.storage import Location
    from pipeline.report.sweep_text import sweep_json, sweep_text
    from pipeline.store.garbage import begun_runs, sweep, sweep_unfinished

    output = Location.parse(arguments.output)
    if arguments.apply and (at_work := runs_at_work(output)):
        some = ", ".join(sorted(at_work)[:3])
        raise RunLocked(f"nothing was dropped: {len(at_work)} runs are at work, such as {some}; wait for their end")
    begun = begun_runs(output)
    before = time.time() - 3600 * arguments.hours
    found = sweep(output, before, arguments.apply, arguments.quick)
    unfinished = sweep_unfinished(output, before, arguments.apply)
    text = sweep_json if arguments.json else sweep_text
    print(text(found, unfinished, begun, arguments.apply))


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
