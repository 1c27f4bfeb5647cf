"""Mutated images of every format: decode() ends with pixels or a reason, soon and in little memory."""

import json
import resource
import subprocess
import sys
import time
from collections import Counter

import pytest

from pipeline.images import Quarantine, Reason, decode
from pipeline.views import View
from tests.conftest import REPOSITORY
from tests.corpus import HOSTILE_NAMES
from tests.fuzz import ENCODINGS, MUTATIONS, mutants, originals, pictures, with_checksums

COUNT, SIDE, LIMIT = 400, 112, 1_000_000
VIEW = View((SIDE, SIDE))
MOST_SECONDS, MOST_MEGABYTES = 2.0, 150  # CPU of one file; growth over all, whose libraries are loaded then too


@pytest.fixture(scope="module")
def good() -> list[bytes]:
    return originals(pictures(), seed=1)


@pytest.fixture(scope="module")
def bad(good: list[bytes]) -> dict[str, bytes]:
    return dict(mutants(good, COUNT, seed=1))


def outcome(content: bytes) -> str:
    try:
        pixels, (width, height) = decode(content, VIEW, LIMIT)
    except Quarantine as quarantine:
        assert quarantine.detail.isprintable() and 0 < len(quarantine.detail) <= 200
        return quarantine.reason
    assert pixels.shape == (SIDE, SIDE, 3) and width * height <= LIMIT
    return "scored"


def test_originals_are_good_images_of_every_encoding(good: list[bytes]) -> None:
    assert len(good) >= 4 * len(ENCODINGS) and len(good) % len(ENCODINGS) == 0
    assert Counter(map(outcome, good)) == {"scored": len(good)}


def test_the_same_seed_gives_the_same_files_and_another_one_others(good: list[bytes], bad: dict[str, bytes]) -> None:
    assert len(bad) == COUNT >= 200  # no name twice
    assert list(mutants(good, COUNT, seed=1)) == list(bad.items())
    assert not set(mutants(good, COUNT, seed=2)) & set(bad.items())


def test_every_mutation_and_format_and_some_hostile_names_are_met(bad: dict[str, bytes]) -> None:
    for what in [*MUTATIONS, "checksums mended", *(kind.lower() for kind, _ in ENCODINGS)]:
        assert any(what in name for name in bad), what
    assert sum(name.endswith(HOSTILE_NAMES) for name in bad) > COUNT // 20


def test_checksums_of_a_good_png_are_right_already(good: list[bytes]) -> None:
    content = good[0]
    assert with_checksums(content) == content
    bent = bytearray(content)
    bent[20] ^= 1  # the height
    assert outcome(bytes(bent)) == Reason.NOT_AN_IMAGE and outcome(with_checksums(bytes(bent))) == Reason.TOO_LARGE


def test_every_mutant_ends_with_pixels_or_a_reason(bad: dict[str, bytes]) -> None:
    found = Counter(map(outcome, bad.values()))
    print(dict(found))
    # a fuzzer that breaks nothing, or everything at the first byte, finds nothing
    assert min(found["scored"], found[Reason.DAMAGED], found[Reason.NOT_AN_IMAGE]) > COUNT // 10


def measure() -> None:
    """Print the CPU seconds of the slowest mutant, and the megabytes that this process has grown by."""
    files = dict(mutants(originals(pictures(), seed=1), COUNT, seed=1))
    before, slowest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    for content in files.values():
        start = time.process_time()
        outcome(content)
        slowest = max(slowest, time.process_time() - start)
    print(json.dumps([slowest, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000]))


def test_mutants_take_little_time_and_memory() -> None:
    command = [sys.executable, "-c", "from tests.test_fuzz import measure; measure()"]  # a peak of its own
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seconds, megabytes = json.loads(done.stdout)
    assert seconds < MOST_SECONDS and megabytes < MOST_MEGABYTES
