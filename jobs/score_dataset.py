#!/usr/bin/env python
"""Score every image of a lake for anomalies by MuSc.

    score_dataset.py --input.uri s3://lake/parts --output.uri s3://lake/scores
    score_dataset.py --config score.yaml
"""

import sys

from pipeline.command import run

if __name__ == "__main__":
    sys.exit(run(__doc__))
