"""What is known of an encoder, found once and kept below the output: who plans a run needs no weights for it.

<output>/encoders/<key>.json    an EncoderSpec, for the settings and the weights that the key names
"""

import json
import logging
import re
from dataclasses import asdict, replace

from pydantic import TypeAdapter

from pipeline.config import EncoderConfig
from pipeline.encoders.spec import EncoderSpec, description_key
from pipeline.io.json_file import read_json
from pipeline.io.storage import Location

log = logging.getLogger(__name__)

_SPEC = TypeAdapter(EncoderSpec)


def describe(config: EncoderConfig) -> EncoderSpec:
    """Load an encoder and return its spec; raises `EncoderError`. It stays loaded for who encodes in this process."""
    from pipeline.encoders.encoder import encoder_of  # loads torch

    return encoder_of(config).spec


def kept_spec(output: Location, config: EncoderConfig) -> EncoderSpec | None:
    """Return the spec that was kept for an encoder below an output, None where there is none that can be used.

    Raises `EncoderError` as `description_key` does, and `StorageError`.
    """
    location = _place(output, config)
    spec = read_json(location, _SPEC, "it is written anew")
    if spec is None:
        return None
    try:
        _check(spec, config)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        log.warning("%s describes no encoder of these settings, and is written anew: %s", location, reason)
        return None
    return spec if spec.patch else replace(spec, patch=config.sides[0] // spec.grid[0])


def keep_spec(output: Location, config: EncoderConfig, spec: EncoderSpec) -> None:
    """Keep an encoder's spec below an output, for the next run; raises `StorageError`."""
    _place(output, config).write_bytes((json.dumps(asdict(spec), indent=2) + "\n").encode())


def not_the_same(config: EncoderConfig, found: str, expected: str) -> str:
    """Say what to do where a worker's encoder has another fingerprint than the run goes by."""
    said = f"the encoder {config.name} on this node is not the one of this run (fingerprints {found} and {expected}): "
    if config.weights is not None:
        return f"{said}{config.weights} must be the same file on all nodes"
    kept = f"encoders/{description_key(config)}.json"
    return f"{said}where the hub's weights have changed, remove {kept} below output.uri, and copies on other nodes"


def _place(output: Location, config: EncoderConfig) -> Location:
    return output / "encoders" / f"{description_key(config)}.json"


def _check(spec: EncoderSpec, config: EncoderConfig) -> None:
    """Raise `ValueError` where a spec cannot be that of an encoder with these settings."""
    if spec.name != config.name:
        raise ValueError(f"its name is {spec.name!r}")
    if not spec.patch and config.keeps_aspect:
        raise ValueError("it says no size of patches")
    if min(*spec.grid, spec.width, spec.embedding) < 1:
        raise ValueError("numbers of patches and values are positive")
    chosen = config.layers if isinstance(config.layers, tuple) else spec.layers
    if not spec.layers or spec.layers != chosen:
        raise ValueError(f"its layers are {list(spec.layers)}")
    if not re.fullmatch("[0-9a-f]{16}", spec.fingerprint):
        raise ValueError(f"its fingerprint is {spec.fingerprint!r}")
