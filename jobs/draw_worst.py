#!/usr/bin/env python
"""Draw the worst images of each category of a run, with their anomaly maps, as one PNG.

draw_worst.py out/sample/scores worst.png
"""

import io
import sys

from jsonargparse.typing import PositiveInt

from pipeline.command import exit_code, job_parser
from pipeline.log import show_log


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument("output", type=str, help="The output.uri of the run.")
    parser.add_argument("png", type=str, help="Picture to write.")
    parser.add_argument("--run_id", type=str, help="Default: the newest run.")
    parser.add_argument("--worst", type=PositiveInt, default=8, help="Images of each category.")
    arguments = parser.parse_args()

    from pipeline.lake.run import RunFolder, latest_run
    from pipeline.lake.storage import Location
    from pipeline.report.sheet import draw_sheet
    from pipeline.result import read_result

    output = Location.parse(arguments.output)
    result = read_result(RunFolder(output, arguments.run_id or latest_run(output)))
    figure = draw_sheet(output, result.scores, result.run["map_scale"], arguments.worst)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    Location.parse(arguments.png).write_bytes(picture.getvalue())


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
