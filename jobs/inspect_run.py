#!/usr/bin/env python
"""Print a run's summary and its worst images, or what differs between two runs.

inspect_run.py out/sample/scores
inspect_run.py out/sample/scores --compare 20300101-100000-abcd
"""

import shutil
import sys

from jsonargparse.typing import NonNegativeInt

from pipeline.command import exit_code, job_parser
from pipeline.log import show_log


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument("output", type=str, help="The output.uri of the runs.")
    parser.add_argument("--run_id", type=str, help="Default: the newest run.")
    parser.add_argument("--worst", type=NonNegativeInt, default=10, help="Images to list.")
    parser.add_argument("--category", type=str, help="List images of this category. Default: of all.")
    parser.add_argument("--compare", type=str, help="Id of an earlier run, to say what differs.")
    parser.add_argument("--json", action="store_true", help="Print the same facts as one JSON object.")
    arguments = parser.parse_args()

    from pipeline.io.storage import Location
    from pipeline.report.compare import compare
    from pipeline.report.summary import summarise
    from pipeline.report.text import comparison_text, json_text, summary_text
    from pipeline.result import read_result
    from pipeline.store.run_folder import RunFolder, latest_run

    width = shutil.get_terminal_size((120, 24)).columns
    output = Location.parse(arguments.output)
    result = read_result(RunFolder(output, arguments.run_id or latest_run(output)))
    if arguments.compare is not None:
        other = read_result(RunFolder(output, arguments.compare))
        comparison = compare(other, result, arguments.worst, arguments.category)
        print(json_text(comparison) if arguments.json else comparison_text(comparison, width))
    else:
        summary = summarise(result, arguments.worst, arguments.category)
        print(json_text(summary) if arguments.json else summary_text(summary, width))


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
