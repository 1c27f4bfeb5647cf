#!/usr/bin/env python
"""Write a manifest of the images of a run that people labelled normal, for `references.pinned`.

pin_normals.py out/scores labels.csv references.csv
"""

import io
import sys

from pipeline.command import exit_code, job_parser
from pipeline.log import show_log


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument("output", type=str, help="The output.uri of the run.")
    parser.add_argument("labels", type=str, help="CSV with uri and label (normal, defect), as the report writes it.")
    parser.add_argument("manifest", type=str, help="CSV to write.")
    parser.add_argument("--run_id", type=str, help="Default: the newest run.")
    arguments = parser.parse_args()

    from pyarrow.csv import write_csv

    from pipeline.catalog.labels import confirmed_normals, read_labels
    from pipeline.catalog.manifest import USUAL_BOX
    from pipeline.io.storage import Location
    from pipeline.result import read_result
    from pipeline.schema.record import box_of
    from pipeline.screen import printable
    from pipeline.store.run_folder import RunFolder, latest_run

    output, labels = Location.parse(arguments.output), Location.parse(arguments.labels)
    result = read_result(RunFolder(output, arguments.run_id or latest_run(output)))
    box = box_of(result.run.settings) or USUAL_BOX
    found = confirmed_normals(result.scores, read_labels(labels), labels, box)
    content = io.BytesIO()
    write_csv(found, content)
    Location.parse(arguments.manifest).write_bytes(content.getvalue())
    for row in found.group_by("category", use_threads=False).aggregate([([], "count_all")]).to_pylist():
        print(f"{printable(row['category'])}: {row['count_all']} references")


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
