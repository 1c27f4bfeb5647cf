"""How many bits count in the 16-bit files of each category, found once: every night reads its images alike.

<output>/calibration/depths.json    bits by category
"""

import json
import logging
from collections.abc import Mapping

from pipeline.io.storage import Location
from pipeline.store.run_folder import write_json

DEPTHS = "calibration/depths.json"

log = logging.getLogger(__name__)


def kept_depths(output: Location) -> dict[str, int]:
    """Return the bits that were kept below an output, by category; raises `StorageError`."""
    location = output / DEPTHS
    if not location.exists():
        return {}
    try:
        kept = json.loads(location.read_bytes())
        found = {str(category): int(bits) for category, bits in kept.items()}
        if not all(8 <= bits <= 16 for bits in found.values()):
            raise ValueError("bits are 8 to 16")
    except (ValueError, TypeError, AttributeError) as error:
        log.warning(
            "%s says no bits of categories, and is written anew: %s", location, " ".join(str(error).split())[:200]
        )
        return {}
    return found


def keep_depths(output: Location, depths: Mapping[str, int | None]) -> None:
    """Keep the bits of categories where they are known, beside those of others; raises `StorageError`."""
    before = kept_depths(output)
    after = before | {category: bits for category, bits in depths.items() if bits is not None}
    if after != before:
        write_json(output / DEPTHS, dict(sorted(after.items())))
