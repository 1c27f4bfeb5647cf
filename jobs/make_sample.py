#!/usr/bin/env python
"""Write the embedded sample: a lake of damaged textures, the encoder's weights, and a score.yaml that uses both.

make_sample.py out/sample && score_dataset.py --config out/sample/score.yaml
"""

import sys

from jsonargparse import ArgumentParser

from pipeline.command import exit_code
from pipeline.log import show_log
from pipeline.sample import make_sample


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=str, help="Local folder to write to.")
    make_sample(parser.parse_args().folder)


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
