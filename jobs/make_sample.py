#!/usr/bin/env python
"""Write the embedded sample: a lake of damaged textures, the encoder's weights, and a score.yaml that uses both.

make_sample.py out/sample && score_dataset.py --config out/sample/score.yaml
"""

import sys

from pipeline.command import exit_code, job_parser
from pipeline.log import show_log


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument("folder", type=str, help="Local folder to write to.")
    folder = parser.parse_args().folder

    from pipeline.sample import make_sample

    make_sample(folder)


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
