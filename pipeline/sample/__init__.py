"""The embedded sample: a lake, and weights of a real encoder."""

import logging
from pathlib import Path

import yaml

from pipeline.io.storage import Location
from pipeline.sample.lake import write_sample
from pipeline.sample.weights import ENCODER, WEIGHTS_SHA256, sample_weights

__all__ = ["make_sample"]

log = logging.getLogger(__name__)


def make_sample(folder: str) -> Path:
    """Write lake/ and score.yaml into a local folder, convert the weights into the user's cache, return score.yaml."""
    root = Location.parse(folder)
    write_sample(root / "lake")
    settings = {
        "input": {"uri": (root / "lake").uri},
        "output": {"uri": (root / "scores").uri},
        "encoder": {
            "name": ENCODER,
            "weights": str(sample_weights()),
            "weights_sha256": WEIGHTS_SHA256,
            "size": 224,
        },
    }
    path = root / "score.yaml"
    path.write_bytes(yaml.safe_dump(settings, sort_keys=False).encode())
    log.info("sample   %s", path)
    return Path(path.uri)
