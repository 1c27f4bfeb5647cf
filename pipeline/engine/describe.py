"""What an encoder is, asked of a worker: the driver has no use for its weights."""

import logging

import ray

from pipeline.config import EncoderConfig
from pipeline.encoders.describe import describe, kept_spec
from pipeline.encoders.spec import EncoderSpec
from pipeline.engine.cluster import RETRIES
from pipeline.engine.tasks import own_error
from pipeline.io.storage import Location

log = logging.getLogger(__name__)


def spec_of(config: EncoderConfig, output: Location) -> EncoderSpec:
    """Return what an encoder is: as it is kept below the output, or else as a worker finds that loads it.

    Raises `EncoderError` when weights, layers or size do not fit.
    """
    if kept := kept_spec(output, config):
        return kept
    remote = ray.remote(describe).options(num_cpus=1, max_retries=RETRIES)
    try:
        return ray.get(remote.remote(config))
    except ray.exceptions.RayError as error:
        raise own_error(error) from error
