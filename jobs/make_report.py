#!/usr/bin/env python
"""Draw the report of a published run anew, into a folder or bucket of its own.

make_report.py out/sample/scores out/report
"""

import sys

from jsonargparse.typing import NonNegativeInt

from pipeline.command import exit_code, job_parser
from pipeline.log import show_log


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument("output", type=str, help="The output.uri of the run.")
    parser.add_argument("report", type=str, help="Folder or bucket prefix to write; index.html is the page.")
    parser.add_argument("--run_id", type=str, help="Default: the newest run.")
    parser.add_argument("--images", type=NonNegativeInt, help="Worst images of each category. Default: the run's.")
    arguments = parser.parse_args()

    from pipeline.io.storage import Location
    from pipeline.report.redraw import redraw
    from pipeline.result import read_result
    from pipeline.store.run_folder import RunFolder, latest_run

    output, report = Location.parse(arguments.output), Location.parse(arguments.report)
    result = read_result(RunFolder(output, arguments.run_id or latest_run(output)))
    redraw(result, report, arguments.images)
    print(report / "index.html")


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
