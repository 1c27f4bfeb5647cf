"""Boxes of photographs: read and decoded once, and the same pixels as a file of the box alone has."""

import io
import threading
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.boxes import PixelBox, box_uri, split_box
from pipeline.images import Quarantine, Reason, decode, decode_depth, decode_mask, decode_picture, files, pixels
from pipeline.images.decoder import Decoder
from pipeline.images.files import read_ahead
from pipeline.io.storage import Location
from pipeline.views import View

LIMIT = 1_000_000
VIEW = View((28, 42))
BOXES: list[PixelBox] = [(0, 0, 30, 20), (31, 7, 90, 60), (0, 0, 120, 80), (100, 60, 120, 80)]


def photograph(orientation: int = 1, kind: str = "png") -> bytes:
    """Return the file of noise that is 120 x 80 pixels as it is stored."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    return stored(Image.fromarray(noise), kind, orientation)


def stored(image: Image.Image, kind: str = "png", orientation: int = 1) -> bytes:
    sink = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(sink, kind, exif=exif)
    return sink.getvalue()


def upright(content: bytes, box: PixelBox) -> bytes:
    """Return the file of a box of a photograph."""
    whole, _ = decode_picture(content, View((1000, 1000)), LIMIT)
    return stored(Image.fromarray(whole).crop(box))


@pytest.mark.parametrize("box", BOXES, ids=str)
@pytest.mark.parametrize("turned", [0, 90])
@pytest.mark.parametrize("shares", [(0.0, 0.0, 1.0, 1.0), (0.1, 0.2, 0.9, 1.0)], ids=["whole", "box"])
def test_a_box_has_the_pixels_of_a_file_of_its_own(box: PixelBox, turned: int, shares: tuple[float, ...]) -> None:
    left, top, right, bottom = shares
    view = View((28, 42), box=(left, top, right, bottom), turned=turned)
    for function in (decode, decode_picture):
        found, size = function(photograph(), view.of_box(box), LIMIT)
        alone, _ = function(upright(photograph(), box), view, LIMIT)
        assert np.array_equal(found, alone) and size == (120, 80)


def test_boxes_are_of_the_upright_photograph() -> None:
    content = photograph(orientation=6)
    box = (50, 90, 80, 120)  # beyond what is stored, which has 80 lines
    found, size = decode(content, VIEW.of_box(box), LIMIT)
    assert size == (80, 120) and np.array_equal(found, decode(upright(content, box), VIEW, LIMIT)[0])


@pytest.mark.parametrize(
    ("box", "reason", "words"),
    [
        ((100, 0, 121, 40), Reason.UNREADABLE, "100, 0, 121, 40 reaches beyond 120 x 80 pixels"),
        ((0, 40, 40, 81), Reason.UNREADABLE, "reaches beyond"),
        ((500, 500, 600, 600), Reason.UNREADABLE, "reaches beyond"),
        ((5, 5, 6, 6), Reason.TOO_SMALL, "1 x 1 pixels"),
        ((0, 0, 120, 15), Reason.TOO_SMALL, "120 x 15 pixels"),
    ],
    ids=str,
)
def test_what_cannot_be_cut_out_is_quarantined_with_words(box: PixelBox, reason: Reason, words: str) -> None:
    with pytest.raises(Quarantine, match=words) as caught:
        decode(photograph(), VIEW.of_box(box), LIMIT)
    assert caught.value.reason == reason
    assert decode(photograph(), VIEW.of_box(BOXES[0]), LIMIT)[1] == (120, 80)  # the next one is none the worse


def test_a_photograph_too_large_is_so_for_each_box() -> None:
    for _ in range(2):
        with pytest.raises(Quarantine, match="120 x 80 pixels") as caught:
            decode(photograph(), VIEW.of_box(BOXES[0]), 120 * 80 - 1)
        assert caught.value.reason == Reason.TOO_LARGE


@pytest.mark.parametrize("kind", ["jpeg", "bmp"])
def test_of_a_damaged_photograph_every_box_is_damaged(kind: str) -> None:
    content = photograph(kind=kind)
    for box in (BOXES[0], BOXES[1]):
        with pytest.raises(Quarantine) as caught:
            decode(content[: len(content) // 2], VIEW.of_box(box), LIMIT)
        assert caught.value.reason == Reason.DAMAGED


def test_boxes_of_a_photograph_are_decoded_from_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    colours = pixels._colours

    def noted(content: bytes, *more: object) -> Image.Image:
        decoded.append(content)
        return colours(content, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(pixels, "_colours", noted)
    one, other = photograph(), photograph(orientation=3)
    for content in (one, one, other, one):
        for box in BOXES:
            decode(content, VIEW.of_box(box), LIMIT)
    assert decoded == [one, other, one]
    decode(one, VIEW, LIMIT)  # a whole image is held no longer than it takes
    decode(one, VIEW.of_box(BOXES[0]), LIMIT)
    assert decoded == [one, other, one, one, one]


def test_a_decoder_is_told_of_boxes() -> None:
    with closing(Decoder(seconds=30, memory=4 << 30)) as decoder:
        for box in BOXES:
            found, size = decoder(photograph(), VIEW.of_box(box), LIMIT)
            assert size == (120, 80)
            assert np.array_equal(found, decode(photograph(), VIEW.of_box(box), LIMIT)[0])


def test_a_mask_is_cut_where_it_has_not_the_size_of_the_box() -> None:
    whole = np.zeros((80, 120), np.uint8)
    box = (31, 7, 90, 60)
    whole[10:30, 40:50] = 3
    view = View((53, 59))
    own = whole[box[1] : box[3], box[0] : box[2]]
    for mask, size in ((whole, (120, 80)), (own, (59, 53))):
        found, told = decode_mask(stored(Image.fromarray(mask)), view.of_box(box), LIMIT)
        assert np.array_equal(found, own) and told == size
    with pytest.raises(Quarantine, match="reaches beyond 60 x 40"):
        decode_mask(stored(Image.fromarray(whole[::2, ::2])), view.of_box(box), LIMIT)


def test_bits_are_those_of_the_photograph() -> None:
    values = np.full((80, 120), 700, np.uint16)
    values[70:, 100:] = 4000
    found, size = decode_depth(stored(Image.fromarray(values)), VIEW.of_box(BOXES[0]), LIMIT)
    assert found.tolist() == [12] and size == (120, 80)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The addresses that are read."""
    found: list[str] = []
    lock = threading.Lock()
    read = files._read

    def noted(uri: str, *more: object) -> bytes:
        with lock:
            found.append(uri)
        return read(uri, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "_read", noted)
    yield found


def test_a_photograph_whose_boxes_follow_each_other_is_read_once(place: Location, reads: list[str]) -> None:
    names = ["a.png", "b.png", "c.png"]
    for name in names:
        (place / name).write_bytes(name.encode())
    boxes = [None, *((20 * n, 0, 20 * n + 20, 20) for n in range(20))]
    uris = [box_uri((place / name).uri, box) for name in names for box in boxes]
    tags = {(place / name).uri: (place / name).entry().etag for name in names}
    block = pa.table({"uri": uris, "etag": [tags[split_box(uri)[0]] for uri in uris], "size": [5] * len(uris)})
    contents = [future.result() for future in read_ahead(block, LIMIT)]
    assert contents == [name.encode() for name in names for _ in boxes]
    assert sorted(reads) == [(place / name).uri for name in names]
