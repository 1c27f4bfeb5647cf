"""Which images of a category the others are compared with."""

import hashlib
from collections.abc import Collection, Sequence

from pipeline.config import ReferencesConfig


def samples(config: ReferencesConfig, total: int) -> bool:
    """Say whether a category of so many images is compared with a sample of them."""
    if config.mode == "auto":
        return total > config.limit
    return config.mode == "sample"


def choose_references(config: ReferencesConfig, uris: Sequence[str], listed: Collection[str]) -> list[int]:
    """Return the positions of a category's references, rising.

    A sample is the images whose names have the smallest seeded hashes: it does not follow folders, which may tell
    labels, and most of it stays when the category grows.

    Args:
        config: settings.
        uris: the encoded images of the category.
        listed: the uris of mode list.
    """
    if config.mode == "list":
        return [position for position, uri in enumerate(uris) if uri in listed]
    if not samples(config, len(uris)):
        return list(range(len(uris)))
    hashes = [hashlib.sha256(f"{config.seed}\0{uri}".encode()).digest() for uri in uris]
    return sorted(sorted(range(len(uris)), key=hashes.__getitem__)[: config.count])


def expected_references(config: ReferencesConfig, total: int) -> int:
    """Return how many references a category of so many images will have; for mode list, at most."""
    return min(total, config.count) if samples(config, total) else total
