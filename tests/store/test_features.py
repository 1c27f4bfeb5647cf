"""The feature store: what is written is read back, for any category, in any order, and again after a crash."""

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import StorageError
from pipeline.io.storage import Location
from pipeline.store.checks import bits, counted_in
from pipeline.store.features import BLOCK_BYTES, BLOCK_IMAGES, FeatureStore, Stored, block_images, feature_key
from pipeline.store.int8 import pack
from pipeline.values import LakeValues
from pipeline.views import WHOLE, View

Array = NDArray[Any]
Rows = dict[str, list[Any]]
GRID = (3, 2)
IMAGE_STATS = (0.5, 0.25, 0.125)
LAYERS = (2, 11)
HOSTILE = [
    "a/b",
    "..",
    "../../escape",
    "é",
    "x" * 300,
    "é" * 100,
    "a=b%20 #?",
    "line\nbreak",
    "*",
    ".hidden",
    "日本 語",
]


def new_store(folder: Path, dtype: str = "float16") -> FeatureStore:
    return FeatureStore(Location.parse(str(folder)), grid=GRID, width=8, layers=LAYERS, dtype=dtype)


def block(seed: int, images: int = 3) -> tuple[Rows, Array, Array]:
    """Return rows, tokens (B, L, P, D) and embeddings (B, E) of images that no other seed has."""
    generator = np.random.default_rng(seed)
    numbers = range(10 * seed, 10 * seed + images)
    rows: Rows = {
        "key": [f"key{n}" for n in numbers],
        "uri": [f"s3://lake/{n}.png" for n in numbers],
        "width": [640 + n for n in numbers],
        "height": [480 + n for n in numbers],
        "brightness": [0.5] * images,
        "contrast": [0.25] * images,
        "sharpness": [0.125] * images,
    }
    tokens = generator.normal(size=(images, len(LAYERS), 6, 8)).astype(np.float32)
    return rows, tokens, generator.normal(size=(images, 5)).astype(np.float32)


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_tokens_of_each_layer_are_read_back_in_any_order_across_files(tmp_path: Path, dtype: str) -> None:
    store = new_store(tmp_path, dtype)
    (rows, tokens, embeddings), (more_rows, more_tokens, more_embeddings) = block(0), block(1, images=2)
    first = store.write("bottle", rows, tokens, embeddings)
    second = store.write("bottle", more_rows, more_tokens, more_embeddings)
    # Back and forth between the files, and one image twice
    places = [(second, 1), (first, 2), (second, 0), (first, 0), (first, 2)]
    expected = np.stack([more_tokens[1], tokens[2], more_tokens[0], tokens[0], tokens[2]]).astype(dtype)
    for index, layer in enumerate(LAYERS):
        found = store.tokens(places, layer)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, expected[:, index])


def test_embeddings_are_read_back_in_any_order_across_files(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    (rows, tokens, embeddings), (more_rows, more_tokens, more_embeddings) = block(0), block(1, images=2)
    first = store.write("bottle", rows, tokens, embeddings)
    second = store.write("bottle", more_rows, more_tokens, more_embeddings)
    found = store.embeddings([(second, 1), (first, 2), (second, 0), (first, 0)])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [more_embeddings[1], embeddings[2], more_embeddings[0], embeddings[0]])


def test_tokens_that_are_not_contiguous_are_stored_as_they_read(tmp_path: Path) -> None:
    # Encoders return (L, B, P, D) or (B, L, D, P), transposed.
    store, (rows, tokens, embeddings) = new_store(tmp_path, "float32"), block(0)
    transposed = np.ascontiguousarray(tokens.transpose(1, 0, 3, 2)).transpose(1, 0, 3, 2)
    file = store.write("bottle", rows, transposed, np.asfortranarray(embeddings))
    np.testing.assert_array_equal(store.tokens([(file, 0), (file, 1), (file, 2)], LAYERS[1]), tokens[:, 1])
    np.testing.assert_array_equal(store.embeddings([(file, 0), (file, 1), (file, 2)]), embeddings)


def test_find_gives_the_place_and_size_of_every_key(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    first, second = store.write("bottle", *block(0)), store.write("bottle", *block(1, images=1))
    assert store.find("bottle").images == {
        "key0": Stored(first, 0, *GRID, None, "s3://lake/0.png", 640, 480, *IMAGE_STATS),
        "key1": Stored(first, 1, *GRID, None, "s3://lake/1.png", 641, 481, *IMAGE_STATS),
        "key2": Stored(first, 2, *GRID, None, "s3://lake/2.png", 642, 482, *IMAGE_STATS),
        "key10": Stored(second, 0, *GRID, None, "s3://lake/10.png", 650, 490, *IMAGE_STATS),
    }


def test_find_does_not_depend_on_the_order_of_the_columns(tmp_path: Path) -> None:
    store, (rows, tokens, embeddings) = new_store(tmp_path), block(0, images=1)
    file = store.write("bottle", dict(reversed(rows.items())), tokens, embeddings)
    assert store.find("bottle").images == {
        "key0": Stored(file, 0, *GRID, None, "s3://lake/0.png", 640, 480, *IMAGE_STATS)
    }


def test_find_gives_nothing_for_a_category_that_was_never_written(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    assert store.find("bottle").images == {}
    store.write("bottle", *block(0))
    assert store.find("bott").images == {} and store.find("bottle2").images == {}


@pytest.mark.parametrize("category", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_category_is_one_folder_below_the_store_and_read_back(tmp_path: Path, category: str) -> None:
    store, (rows, tokens, embeddings) = new_store(tmp_path / "deep" / "store"), block(0)
    file = store.write(category, rows, tokens, embeddings)
    store_root = tmp_path / "deep" / "store"
    assert files_below(tmp_path) == [store_root / "images" / file, store_root / "tokens" / file]
    assert file.count("/") == 1
    found = store.find(category).images
    assert list(found) == rows["key"]
    places = [(stored.file, stored.row) for stored in found.values()]
    np.testing.assert_array_equal(store.tokens(places, LAYERS[0]), tokens[:, 0].astype(np.float16))
    np.testing.assert_array_equal(store.embeddings(places), embeddings)


def test_hostile_categories_do_not_see_each_other(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    names = [*HOSTILE, "a", "b", "x" * 299, "x" * 160, "a=b  #?"]
    for seed, category in enumerate(names):
        store.write(category, *block(seed, images=1))
    assert [list(store.find(category).images) for category in names] == [
        [f"key{10 * seed}"] for seed in range(len(names))
    ]


def test_writing_a_block_again_gives_the_same_bytes_and_no_second_file(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    file = store.write("bottle", *block(0))
    before = {path: path.read_bytes() for path in files_below(tmp_path)}
    assert store.write("bottle", *block(0)) == file
    assert {path: path.read_bytes() for path in files_below(tmp_path)} == before and len(before) == 2


def test_writing_a_block_again_replaces_a_file_that_is_damaged(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    file = store.write("bottle", *block(0))
    for path in files_below(tmp_path):
        before = path.read_bytes()
        path.write_bytes(before[:100])
        assert store.write("bottle", *block(0)) == file
        assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left on device"):
        new_store(tmp_path).write("bottle", *block(0))
    assert files_below(tmp_path) == []


def test_blocks_of_other_images_or_another_order_are_other_files(tmp_path: Path) -> None:
    store, (rows, tokens, embeddings) = new_store(tmp_path), block(0)
    turned: Rows = {"key": list(map(str, reversed(rows["key"]))), **{k: v[::-1] for k, v in rows.items() if k != "key"}}
    files = {
        store.write("bottle", rows, tokens, embeddings),
        store.write("bottle", turned, tokens[::-1], embeddings[::-1]),
        store.write("bottle", *block(1)),
    }
    assert len(files) == 3 and len(files_below(tmp_path)) == 6


def test_a_feature_key_changes_with_the_image_its_content_and_the_encoder() -> None:
    keys = [feature_key(*parts) for parts in [("u", "e", "f"), ("v", "e", "f"), ("u", "g", "f"), ("u", "e", "h")]]
    shifted = [feature_key("ue", "", "f"), feature_key("u", "ef", "")]  # the same letters, cut elsewhere
    assert len({*keys, *shifted}) == 6 and feature_key("u", "e", "f") == keys[0]


def test_the_key_of_the_usual_view_is_that_of_before_and_other_views_have_their_own() -> None:
    image = ("/lake/a.png", "5-17", "5f58c0766ed3ac5d")
    assert feature_key(*image) == "fade2a1d30d587acc9713a75e5c49646"  # as d52b0b9 named it
    left = View((112, 112), (8, 8), (0.0, 0.0, 0.5, 1.0))
    others = [left, replace(left, turned=90), replace(left, box=WHOLE), left.at((112, 56)), replace(left, grid=(8, 4))]
    assert len({feature_key(*image), *(feature_key(*image, str(view)) for view in others)}) == 6


def test_the_key_of_usual_values_is_that_of_before_and_other_values_have_their_own() -> None:
    image = ("/lake/a.png", "5-17", "5f58c0766ed3ac5d")
    lake = LakeValues({"usual": 16, "nobody knows": None, "ten": 10, "twelve": 12})
    picked = LakeValues(lake.bits, (3, 1, 0))
    keys = {category: feature_key(*image, lake.key(category)) for category in (*lake.bits, "not looked at")}
    assert keys["usual"] == keys["nobody knows"] == keys["not looked at"] == feature_key(*image)
    assert len({*keys.values(), *(feature_key(*image, picked.key(category)) for category in lake.bits)}) == 6


@pytest.mark.parametrize(
    "image_bytes, batch, expected",
    [
        (1, 8, BLOCK_IMAGES),
        (1, 5, BLOCK_IMAGES // 5 * 5),
        (int(BLOCK_BYTES // 11), 8, 8),
        (int(BLOCK_BYTES // 11), 1, 11),
        (int(BLOCK_BYTES // 7), 8, 8),
        (int(10 * BLOCK_BYTES), 1, 1),
        (1, 2 * BLOCK_IMAGES, 2 * BLOCK_IMAGES),
    ],
)
def test_a_block_holds_the_whole_batches_that_fit_and_at_least_one(image_bytes: int, batch: int, expected: int) -> None:
    assert block_images(image_bytes, batch) == expected


def test_a_damaged_file_is_named_and_its_neighbours_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = new_store(tmp_path)
    path = store.write("bottle", *block(0))
    (tmp_path / "images" / path).with_name("damaged.parquet").write_bytes(b"PAR1 no more")
    assert sorted(store.find("bottle").images) == ["key0", "key1", "key2"]
    assert "damaged.parquet" in caplog.text


def test_a_block_whose_images_were_not_written_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, write = new_store(tmp_path), Location.write_bytes

    def killed(self: Location, content: bytes) -> None:
        if "/images/" in self.path:
            raise KeyboardInterrupt
        write(self, content)

    with monkeypatch.context() as patched:
        patched.setattr(Location, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            store.write("bottle", *block(0))
    assert len(files_below(tmp_path)) == 1 and store.find("bottle").images == {}
    store.write("bottle", *block(0))
    assert len(store.find("bottle").images) == 3


def test_int8_tokens_come_back_within_half_a_step_of_each_channel_in_half_the_bytes(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).normal(size=(2, len(LAYERS), 6, 8)).astype(np.float32)
    tokens[..., 3] *= 200  # one channel far larger than all others, which must not cost them their steps
    tokens[0, 0, :, 5] = 0
    store = FeatureStore(Location.parse(str(tmp_path)), grid=GRID, width=8, layers=LAYERS, dtype="int8")
    file = store.write("part", block(0, images=2)[0], tokens, np.zeros((2, 5), np.float32))
    for position, layer in enumerate(LAYERS):
        found = store.tokens([(file, 1), (file, 0)], layer)
        assert found.dtype == np.float16
        expected = tokens[::-1, position]
        step = np.abs(expected).max(axis=1, keepdims=True) / 127
        # half a step, and what fp16 rounds off
        assert (np.abs(found - expected) <= 0.5 * step + np.abs(expected) / 1000 + 1e-6).all()
        assert not np.array_equal(found, expected.astype(np.float16))
        assert pack(tokens[:, position]).shape == (2, 4 * 8 + 6 * 8)


# images of other grids, and patches that do not count


def of_grid(seed: int, grid: tuple[int, int], images: int = 3) -> tuple[Rows, Array, Array]:
    rows, _, embeddings = block(seed, images)
    tokens = np.random.default_rng(seed).normal(size=(images, len(LAYERS), grid[0] * grid[1], 8)).astype(np.float32)
    return rows, tokens, embeddings


def placed(tokens: Array, grid: tuple[int, int], canvas: tuple[int, int]) -> Array:
    """Return tokens (P, D) of a grid in the upper left of a canvas, and NaN beside them."""
    found = np.full((*canvas, tokens.shape[1]), np.nan, tokens.dtype)
    found[: grid[0], : grid[1]] = tokens.reshape(*grid, -1)
    return found.reshape(-1, tokens.shape[1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_images_of_several_grids_are_read_on_one_that_holds_all(tmp_path: Path, dtype: str) -> None:
    store, other = new_store(tmp_path, dtype), (2, 5)
    usual, wide = block(0), of_grid(1, other)
    first = store.write("bottle", *usual)
    second = store.write("bottle", *wide, grid=other)
    found = store.find("bottle").images
    assert (found["key0"].rows, found["key0"].columns) == GRID and (
        found["key10"].rows,
        found["key10"].columns,
    ) == other
    alone, beside = store.tokens([(first, 2)], 11), store.tokens([(second, 1)], 11, other)
    assert alone.shape == (1, 6, 8) and beside.shape == (1, 10, 8)
    bound = 0.02 if dtype == "int8" else 1e-3
    np.testing.assert_allclose(alone[0], usual[1][2, 1], atol=bound, rtol=1e-3)
    np.testing.assert_allclose(beside[0], wide[1][1, 1], atol=bound, rtol=1e-3)
    canvas = (3, 5)
    both = store.tokens([(second, 1), (first, 2)], 11, canvas)
    assert both.dtype == alone.dtype == (np.float32 if dtype == "float32" else np.float16)
    np.testing.assert_array_equal(both[0], placed(beside[0], other, canvas))
    np.testing.assert_array_equal(both[1], placed(alone[0], GRID, canvas))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_patches_that_do_not_count_are_nan_and_others_as_they_were(tmp_path: Path, dtype: str) -> None:
    store, (rows, tokens, embeddings) = new_store(tmp_path, dtype), block(0)
    whole = store.tokens([(store.write("bottle", rows, tokens, embeddings), row) for row in range(3)], 2)
    counted = np.ones((3, 6), bool)
    counted[0, 2], counted[2, 3:] = False, False
    file = store.write("bolt", rows, tokens, embeddings, counted=list(counted))
    stored = store.find("bolt").images
    assert [stored[key].counted for key in rows["key"]] == [bits(of) for of in counted]
    found = store.tokens([(file, row) for row in (2, 0, 1)], 2)
    np.testing.assert_array_equal(found, np.where(counted[..., None], whole, np.nan)[[2, 0, 1]])
    larger = store.tokens([(file, 0)], 2, (4, 4))
    np.testing.assert_array_equal(larger[0], placed(found[1], GRID, (4, 4)))


def test_the_grid_and_what_counts_are_part_of_a_files_name(tmp_path: Path) -> None:
    store, (rows, tokens, embeddings) = new_store(tmp_path), block(0)
    some = [np.array([True, False] * 3)] * 3
    names = {
        store.write("bottle", rows, tokens, embeddings),
        store.write("bottle", rows, tokens, embeddings, (2, 3)),
        store.write("bottle", rows, tokens, embeddings, counted=some),
    }
    assert len(names) == 3
    assert store.write("bottle", rows, tokens, embeddings, GRID) in names and len(files_below(tmp_path)) == 6


def test_a_file_of_the_usual_grid_is_byte_for_byte_that_of_before(tmp_path: Path) -> None:
    """Names and bytes are those that versions of before there were other grids gave it."""
    rows, _, _ = block(0)
    tokens = np.arange(3 * len(LAYERS) * 6 * 8, dtype=np.float32).reshape(3, len(LAYERS), 6, 8) / 64
    embeddings = np.arange(15, dtype=np.float32).reshape(3, 5)
    file = new_store(tmp_path / "f").write("bottle", rows, tokens, embeddings)
    assert file == "category=bottle/94ca22759d3c6df80fd029d390666b36.parquet"
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files_below(tmp_path)]
    assert digests == ["e591b879c4f5a43c", "b46966101f3fe335"]


@given(st.integers(1, 300), st.integers(0, 999))
def test_which_patches_count_is_read_as_it_was_written(patches: int, seed: int) -> None:
    counted = np.random.default_rng(seed).random(patches) < 0.5
    np.testing.assert_array_equal(counted_in(bits(counted), patches), counted)
    with pytest.raises(ValueError, match="which patches count"):
        counted_in("AAAA", patches)
