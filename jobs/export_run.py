#!/usr/bin/env python
"""Write the defect regions of a run as COCO JSON, which CVAT, FiftyOne, Label Studio and pycocotools read.

export_run.py out/sample/scores defects.json
export_run.py out/sample/scores defects.json --maps maps/
"""

import json
import sys

from pipeline.command import exit_code, job_parser
from pipeline.log import show_log


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument("output", type=str, help="The output.uri of the run.")
    parser.add_argument("json", type=str, help="File to write.")
    parser.add_argument("--run_id", type=str, help="Default: the newest run.")
    parser.add_argument("--maps", type=str, help="Folder to write all anomaly maps to, as 16-bit PNGs.")
    arguments = parser.parse_args()

    from pipeline.io.storage import Location
    from pipeline.report.coco import coco
    from pipeline.report.map_pictures import export_maps
    from pipeline.result import read_result
    from pipeline.store.run_folder import RunFolder, latest_run

    output = Location.parse(arguments.output)
    result = read_result(RunFolder(output, arguments.run_id or latest_run(output)))
    found = coco(result)
    Location.parse(arguments.json).write_bytes(json.dumps(found, allow_nan=False).encode())
    print(f"{len(found['annotations'])} regions in {len(found['images'])} images below {found['info']['image_root']}")
    with_regions = {region["image_id"] for region in found["annotations"]}
    without = sum(bool(image["anomalous"]) and image["id"] not in with_regions for image in found["images"])
    if without:
        print(f"{without} anomalous images have no region: their maps stay below the pixel threshold (decision.pixel)")
    if arguments.maps is not None:
        folder = Location.parse(arguments.maps)
        print(f"{export_maps(result, folder)} maps in {folder}, named by maps.csv")


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
