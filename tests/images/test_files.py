"""Files on their way to a decoder: what is read ahead, and masks within the limits of images."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.catalog.masks import read_mask
from pipeline.config import InputConfig
from pipeline.errors import CatalogError
from pipeline.images import Quarantine, files
from pipeline.images.decoder import Decoder
from pipeline.images.files import READERS, mask_values
from pipeline.views import View
from tests.corpus import encoded
from tests.decoders import misbehave

SIDE = 32
CONFIG = InputConfig(uri="lake", max_pixels=1_000_000, max_bytes=1_000_000)


def listed(names: list[str]) -> pa.Table:
    strings, sizes = pa.array(names, pa.string()), pa.array([0] * len(names), pa.int64())
    return pa.table({"uri": strings, "etag": strings, "size": sizes})


@pytest.fixture
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with closing(Decoder(60, 1 << 30, misbehave)) as decoder:
        monkeypatch.setattr(files, "decoder_of", lambda *_: decoder)
        yield


def test_files_are_read_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(READERS, timeout=30)

    def read(uri: str, etag: str, size: int, max_bytes: int) -> bytes:
        together.wait()
        return uri.encode()

    monkeypatch.setattr(files, "_read", read)
    names = [str(number) for number in range(3 * READERS)]
    contents = [content.result() for content in files.read_ahead(listed(names), 1)]
    assert contents == [name.encode() for name in names]


@pytest.mark.parametrize("count", [0, 1, READERS, 5 * READERS])
def test_no_more_files_are_held_than_there_are_readers_beside_the_one_in_hand(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def read(uri: str, etag: str, size: int, max_bytes: int) -> bytes:
        begun.append(uri)
        return b""

    monkeypatch.setattr(files, "_read", read)
    for done, content in enumerate(files.read_ahead(listed([str(n) for n in range(count)]), 1)):
        content.result()
        assert len(begun) <= done + READERS
    assert sorted(begun, key=int) == [str(n) for n in range(count)]


@pytest.mark.parametrize("sizes", [[10] * 9, [1] * 20, [3, 50, 1, 1, 60, 70, 2, 2, 2, 9], [21] * 4], ids=str)
def test_files_of_many_bytes_are_not_read_ahead(sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the one in hand are AHEAD bytes at most, and the one file that was begun before they were counted."""
    begun: list[int] = []

    class Noting(ThreadPoolExecutor):
        def submit(self, call: Any, /, *args: Any, **more: Any) -> Future[Any]:
            begun.append(args[2])
            return super().submit(call, *args, **more)

    monkeypatch.setattr(files, "ThreadPoolExecutor", Noting)
    monkeypatch.setattr(files, "AHEAD", 20)
    monkeypatch.setattr(files, "_read", lambda uri, etag, size, max_bytes: uri.encode())
    names = [str(number) for number in range(len(sizes))]
    block = listed(names).set_column(2, "size", pa.array(sizes, pa.int64()))
    contents = []
    for done, content in enumerate(files.read_ahead(block, 100), 1):
        contents.append(content.result())
        ahead = begun[done:]
        assert sum(ahead[:-1]) <= 20 and len(ahead) < READERS
    assert contents == [name.encode() for name in names] and begun == sizes


def test_mask_is_decoded_within_the_limits_of_images(tmp_path: Path) -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    (tmp_path / "m.png").write_bytes(encoded(Image.fromarray(mask), "PNG"))
    (tmp_path / "deep.png").write_bytes(encoded(Image.fromarray(mask.astype(np.uint16) * 256), "PNG"))
    values, size = mask_values(str(tmp_path / "m.png"), View((16, 16)), CONFIG)
    np.testing.assert_array_equal(values, np.where(mask > 127, mask, 0))
    assert size == (16, 16) and values.dtype == np.uint16
    deep, _ = mask_values(str(tmp_path / "deep.png"), View((16, 16)), CONFIG)
    np.testing.assert_array_equal(deep, np.where(mask > 127, mask.astype(np.uint16) * 256, 0))
    for name, limits in {"pixels": {"max_pixels": 255}, "bytes": {"max_bytes": 50}}.items():
        with pytest.raises(Quarantine, match=name):
            mask_values(str(tmp_path / "m.png"), View((16, 16)), CONFIG.model_copy(update=limits))


@pytest.mark.usefixtures("misbehaving")
def test_mask_that_ends_its_decoder_is_a_reason_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"segfault")
    with pytest.raises(CatalogError, match="m.png cannot be decoded: crashed: the decoder ended by SIGSEGV"):
        read_mask(str(tmp_path / "m.png"), View((SIDE, SIDE)), (4, 4), partial(mask_values, config=CONFIG))


@pytest.mark.parametrize(
    ("pixels", "memory"), [(1_000_000, 40_000_000), (100_000_000, 4_000_000_000), (1_000_000_000, 4_000_000_000)]
)
def test_memory_of_the_decoder_does_not_grow_with_pixels_that_are_read_in_pieces(
    pixels: int, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(files, "_decoder", lambda seconds, memory, function: asked.append(memory))
    files.decoder_of(CONFIG.model_copy(update={"max_pixels": pixels}))
    assert asked == [memory + CONFIG.max_bytes + (1 << 30)]
