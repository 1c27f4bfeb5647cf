"""Decoder: the same answers as decode(), and an image that ends, stalls or fills its process costs that image only."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import LakeScoreError
from pipeline.geometry import Seen
from pipeline.images import Pixels, Quarantine, Reason, decode
from pipeline.images.decoder import Decode, Decoder
from pipeline.views import View
from tests.conftest import REPOSITORY
from tests.corpus import CORPUS, bomb
from tests.decoders import misbehave

MEMORY = 1 << 30
SIDE = 32
VIEW = View((SIDE, SIDE))


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with closing(Decoder(60, MEMORY, misbehave)) as decoder:
        yield decoder


@pytest.fixture(scope="module")
def real() -> Iterator[Decoder]:
    with closing(Decoder(60, MEMORY)) as decoder:
        yield decoder


def quarantined(decode: Decode, content: bytes, max_pixels: int = 1_000_000) -> Quarantine:
    with pytest.raises(Quarantine) as caught:
        decode(content, VIEW, max_pixels)
    return caught.value


def pid_of(decoder: Decoder) -> int:
    return int(quarantined(decoder, b"pid").detail)


def has_ended(process: int, milliseconds: int = 30_000) -> bool:
    """Tell whether a process, which need not be a child of ours, ends before the time is over."""
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    return bool(waiting.poll(milliseconds))


def assert_works(decoder: Decoder) -> None:
    pixels, size = decoder(b"good", VIEW, 7)
    np.testing.assert_array_equal(pixels, np.full((SIDE, SIDE, 3), ord("g"), np.uint8))
    assert size == (4, 7)


def outcome(decode: Decode, content: bytes) -> tuple[Pixels, object]:
    try:
        return decode(content, VIEW, 1_000_000)
    except Quarantine as error:
        return np.zeros(0, np.uint8), (error.reason, error.detail)


@pytest.mark.parametrize("name", CORPUS)
def test_every_kind_of_file_has_the_pixels_or_the_reason_that_decode_gives(real: Decoder, name: str) -> None:
    (found, said), (expected, meant) = (outcome(function, CORPUS[name][0]) for function in (real, decode))
    assert said == meant
    assert (found.shape, found.dtype, found.tobytes()) == (expected.shape, expected.dtype, expected.tobytes())


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"segfault", "the decoder ended by SIGSEGV"),
        (b"abort", "the decoder ended by SIGABRT: free(): invalid pointer"),
        (b"exit", "the decoder ended with exit code 3"),
        (b"bug", "the decoder ended with exit code 1: RuntimeError: a bug"),
    ],
)
def test_image_that_ends_the_decoder_is_quarantined_and_the_next_one_decoded(
    decoder: Decoder, content: bytes, detail: str
) -> None:
    for _ in range(2):
        error = quarantined(decoder, content)
        assert (error.reason, error.detail) == (Reason.CRASHED, detail)
        assert_works(decoder)


def test_image_that_hangs_is_quarantined_and_the_next_one_decoded() -> None:
    with closing(Decoder(0.2, MEMORY, misbehave)) as decoder:
        for _ in range(2):
            error = quarantined(decoder, b"hang")
            assert (error.reason, error.detail) == (Reason.TIMEOUT, "not decoded within 0.2 seconds")
            assert_works(decoder)


def test_time_is_that_of_one_image_and_not_of_the_wait_for_the_next() -> None:
    with closing(Decoder(0.2, MEMORY, misbehave)) as decoder:
        process = os.pidfd_open(pid_of(decoder))
        assert not has_ended(process, milliseconds=300)
        os.close(process)


def test_image_that_takes_too_much_memory_is_quarantined_and_the_decoder_lives_on(decoder: Decoder) -> None:
    process = pid_of(decoder)
    error = quarantined(decoder, b"allocate")
    assert (error.reason, error.detail) == (Reason.OUT_OF_MEMORY, "decoding takes more than 1,073,741,824 bytes")
    assert_works(decoder)
    assert pid_of(decoder) == process


def test_real_image_that_takes_too_much_memory_is_not_called_damaged() -> None:
    with closing(Decoder(60, 512 << 20)) as decoder:
        error = quarantined(decoder, bomb(10_000), max_pixels=1_000_000_000)
        assert error.reason == Reason.OUT_OF_MEMORY


def test_a_large_image_takes_less_memory_than_a_small_one_that_is_decoded_whole() -> None:
    with closing(Decoder(60, 512 << 20)) as decoder:
        pixels, size = decoder(bomb(14_000), VIEW, 1_000_000_000)
        assert size == (14_000, 14_000) and not pixels.any()


def test_image_is_not_blamed_for_what_an_earlier_one_left_behind(decoder: Decoder) -> None:
    decoder(b"poison", VIEW, 7)
    assert_works(decoder)


def test_decoder_that_was_killed_between_two_images_is_started_again(decoder: Decoder) -> None:
    process = os.pidfd_open(pid_of(decoder))
    signal.pidfd_send_signal(process, signal.SIGKILL)
    assert has_ended(process)
    os.close(process)
    assert_works(decoder)


def test_decoder_outlives_the_thread_that_started_it(decoder: Decoder) -> None:
    thread = threading.Thread(target=assert_works, args=(decoder,))
    thread.start()
    thread.join()
    assert_works(decoder)


def test_interrupted_answer_is_not_taken_for_that_of_the_next_image(decoder: Decoder, tmp_path: Path) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    def listen() -> None:
        begun.read_bytes()
        os.kill(os.getpid(), signal.SIGUSR1)

    begun = tmp_path / "begun"
    os.mkfifo(begun)
    process = os.pidfd_open(pid_of(decoder))
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        thread = threading.Thread(target=listen)
        thread.start()
        with pytest.raises(Interrupted):
            decoder(b"hang " + bytes(begun), VIEW, 7)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert has_ended(process)
    os.close(process)
    assert_works(decoder)


def test_ctrl_c_is_for_the_parent(decoder: Decoder) -> None:
    process = pid_of(decoder)
    os.kill(process, signal.SIGINT)
    assert pid_of(decoder) == process


@pytest.mark.parametrize("content", [b"chatter", b"print"])
def test_what_a_library_prints_is_no_answer_and_blocks_nothing(decoder: Decoder, content: bytes) -> None:
    for _ in range(3):
        decoder(content, VIEW, 7)
    assert os.stat(f"/proc/{pid_of(decoder)}/fd/2").st_size == 0  # not what all images made it say
    assert_works(decoder)


def test_content_and_pixels_of_many_megabytes_pass(decoder: Decoder) -> None:
    content = bytes(50_000_000)
    pixels, size = decoder(content, View((3000, 3000)), 7)
    assert pixels.shape == (3000, 3000, 3) and not pixels.any()
    assert size == (len(content), 7)


def test_crashes_leave_no_process_and_no_descriptor(decoder: Decoder) -> None:
    def held() -> tuple[list[str], str]:
        descriptors = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return sorted(descriptors), Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()

    before = held()
    for _ in range(20):
        quarantined(decoder, b"abort")
    assert held() == before


def test_closed_decoder_is_gone_and_starts_again_when_asked(decoder: Decoder) -> None:
    process = pid_of(decoder)
    decoder.close()
    assert not Path(f"/proc/{process}").exists()
    assert_works(decoder)


def test_child_imports_only_what_decoding_needs(decoder: Decoder) -> None:
    modules = {name for name in quarantined(decoder, b"modules").detail.split()}
    assert {name for name in modules if name.startswith("pipeline")} == {
        "pipeline",
        "pipeline.errors",
        "pipeline.geometry",
        "pipeline.images",
        "pipeline.images.large",
        "pipeline.images.limits",
        "pipeline.images.masks",
        "pipeline.images.pieces",
        "pipeline.images.pixels",
        "pipeline.images.png_pieces",
        "pipeline.images.reasons",
        "pipeline.images.scaled",
        "pipeline.images.stored",
        "pipeline.images.tiff",
        "pipeline.images.tiff_pieces",
        "pipeline.images.wide",
        "pipeline.boxes",
        "pipeline.values",
        "pipeline.views",
    }
    assert not {name.partition(".")[0] for name in modules} & {"ray", "torch", "pyarrow", "pydantic", "pandas", "scipy"}


def test_child_does_not_run_the_parents_script_again_and_needs_not_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "numpy.py").write_text("raise ImportError('not this one')")
    script = tmp_path / "scripts" / "job.py"
    script.parent.mkdir()
    script.write_text(
        "import sys\n"
        f"sys.path.append({str(REPOSITORY)!r})\n"
        "from pipeline.images.decoder import Decoder\n"
        "from pipeline.images import Quarantine\n"
        "from pipeline.views import View\n"
        "from tests.decoders import misbehave\n"
        "print('ran')\n"
        "try:\n"
        "    Decoder(60, 1 << 30, misbehave)(b'main', View((32, 32)), 7)\n"
        "except Quarantine as error:\n"
        "    print(error.detail)\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["ran", str(REPOSITORY / "pipeline" / "images" / "decoder.py")], done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("busy", [False, True])
def test_child_ends_with_a_parent_that_is_killed(busy: bool, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    script = (
        "import sys, threading\n"
        "from pipeline.images.decoder import Decoder\n"
        "from pipeline.images import Quarantine\n"
        "from pipeline.views import View\n"
        "from tests.decoders import misbehave\n"
        "decoder = Decoder(120, 1 << 30, misbehave)\n"
        "try:\n"
        "    decoder(b'pid', View((32, 32)), 7)\n"
        "except Quarantine as error:\n"
        "    print(error.detail, flush=True)\n"
        f"decoder({b'hang ' + bytes(begun)!r}, View((32, 32)), 7) if {busy} else threading.Event().wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        if busy:
            begun.read_bytes()
        parent.kill()
    assert has_ended(child)
    os.close(child)


def test_decoder_that_cannot_start_is_no_images_fault() -> None:
    def absent(content: bytes, view: Seen, max_pixels: int) -> tuple[Pixels, tuple[int, int]]:
        raise AssertionError

    with pytest.raises(LakeScoreError, match="cannot be started.*ended with exit code 1: .*absent"):
        Decoder(60, MEMORY, absent)(b"good", VIEW, 7)
