#!/usr/bin/env python
"""Write the plots of a run as SVG and PNG: ROC, precision and recall, PRO, histograms of scores, the worst images.

plot_run.py out/sample/scores plots
"""

import sys

from jsonargparse.typing import PositiveInt

from pipeline.command import exit_code, job_parser
from pipeline.log import show_log


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument("output", type=str, help="The output.uri of the run.")
    parser.add_argument("folder", type=str, help="Folder or bucket prefix to write to.")
    parser.add_argument("--run_id", type=str, help="Default: the newest run.")
    parser.add_argument("--worst", type=PositiveInt, default=8, help="Images of each category on the sheet.")
    arguments = parser.parse_args()

    from pipeline.io.storage import Location
    from pipeline.report.plots import plots, save
    from pipeline.result import read_result
    from pipeline.store.run_folder import RunFolder, latest_run

    output, folder = Location.parse(arguments.output), Location.parse(arguments.folder)
    result = read_result(RunFolder(output, arguments.run_id or latest_run(output)))
    for name, figure in plots(result, arguments.worst):
        for written in save(figure, folder, name):
            print(written)


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
