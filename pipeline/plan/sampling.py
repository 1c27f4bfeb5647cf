"""Which images of a category the others are compared with."""

import hashlib
from collections.abc import Sequence

from pipeline.config import ReferencesConfig


def samples(config: ReferencesConfig, total: int) -> bool:
    """Say whether, of so many images that could be references, a sample is taken."""
    if config.mode in ("auto", "nearest"):
        return total > config.limit
    return config.mode == "sample"


def choose_references(config: ReferencesConfig, uris: Sequence[str]) -> list[int]:
    """Return the positions of a category's references among the uris of those that could be, rising.

    A sample is the images whose names have the smallest seeded hashes: it does not follow folders, which may tell
    labels, and most of it stays when the category grows.
    """
    if not samples(config, len(uris)):
        return list(range(len(uris)))
    hashes = [hashlib.sha256(f"{config.seed}\0{uri}".encode()).digest() for uri in uris]
    return sorted(sorted(range(len(uris)), key=hashes.__getitem__)[: _sample_size(config)])


def expected_references(config: ReferencesConfig, total: int) -> int:
    """Return how many references are taken of so many images that could be."""
    return min(total, _sample_size(config)) if samples(config, total) else total


def _sample_size(config: ReferencesConfig) -> int:
    return config.limit if config.mode == "nearest" else config.count
