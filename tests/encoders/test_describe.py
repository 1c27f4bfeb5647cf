"""What is known of an encoder without its weights: its name, who keeps it, and that nobody loads torch for it."""

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.config import EncoderConfig
from pipeline.encoders import EncoderSpec
from pipeline.encoders.describe import describe, keep_spec, kept_spec, not_the_same
from pipeline.encoders.encoder import Encoder, encoder_of
from pipeline.encoders.spec import description_key
from pipeline.errors import EncoderError
from pipeline.io.storage import Location
from pipeline.sample.weights import ENCODER, sample_weights

VIT = "timm:vit_tiny_patch16_224"
SPEC = EncoderSpec(VIT, (6, 6), 192, 192, (2, 5, 8, 11), "0123456789abcdef", 16)


def config_of(file: Path, **settings: Any) -> EncoderConfig:
    return EncoderConfig(**{"name": VIT, "weights": str(file), "size": 96, **settings})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file that has a checksum; no test that takes it loads it."""
    path = tmp_path / "vit.safetensors"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def output(tmp_path: Path) -> Location:
    return Location.parse(str(tmp_path / "out"))


@pytest.fixture
def save_vit(tmp_path: Path) -> Callable[[int], Path]:
    """Write random weights of a seed to the one file that the settings name."""

    def save(seed: int) -> Path:
        torch.manual_seed(seed)
        model = timm.create_model(VIT.partition(":")[2], pretrained=False, num_classes=0)
        save_file(model.state_dict(), tmp_path / "real.safetensors")
        return tmp_path / "real.safetensors"

    return save


def test_a_description_of_before_patches_were_told_has_that_of_its_size(weights: Path, output: Location) -> None:
    config = config_of(weights, layers=(2, 5, 8, 11))
    keep_spec(output, config, replace(SPEC, patch=0))
    assert kept_spec(output, config) == SPEC


def test_a_plan_needs_no_torch(weights: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from pipeline.config import EncoderConfig
from pipeline.encoders import EncoderSpec
from pipeline.encoders.describe import keep_spec, kept_spec
from pipeline.encoders.spec import description_key
from pipeline.io.storage import Location
output, spec = Location.parse({str(tmp_path)!r}), EncoderSpec({VIT!r}, (6, 6), 192, 192, (2, 5), "0123456789abcdef", 16)
for config in (EncoderConfig(), EncoderConfig(name={VIT!r}, weights={str(weights)!r})):
    print(description_key(config))
keep_spec(output, config, spec)
assert kept_spec(output, config) == spec
sys.exit(sorted({{"torch", "timm", "open_clip", "torchvision"}} & set(sys.modules)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    ours = [description_key(EncoderConfig()), description_key(EncoderConfig(name=VIT, weights=str(weights)))]
    assert done.stdout.split() == ours  # in any process the same


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "timm:vit_small_patch16_224"},
        {"size": 112},
        {"layers": (5, 11)},
        {"dtype": "fp16"},
        {"store": "int8"},
        {"weights": None},
    ],
    ids=str,
)
def test_key_changes_with_each_setting_that_decides_the_features(settings: dict[str, Any], weights: Path) -> None:
    assert description_key(config_of(weights, **settings)) != description_key(config_of(weights))


def test_key_changes_with_the_content_of_the_weights_and_not_with_their_place(weights: Path, tmp_path: Path) -> None:
    before = description_key(config_of(weights))
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert description_key(config_of(copy)) == before
    other = tmp_path / "other"
    other.write_bytes(b"WEIGHTS")
    other.replace(weights)
    assert description_key(config_of(weights)) != before


def test_key_does_not_change_with_what_does_not_change_the_features(weights: Path) -> None:
    before = description_key(config_of(weights))
    checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert description_key(config_of(weights, batch_size=2, weights_sha256=checksum)) == before


@pytest.mark.parametrize(
    ("name", "package"), [(VIT, "timm"), ("open_clip:ViT-B-32-quickgelu/openai", "open_clip_torch")]
)
def test_key_changes_with_the_version_of_the_encoders_own_library(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EncoderConfig(name=name)
    before = description_key(config)
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda of: "99" if of != package else version(of))
    assert description_key(config) == before
    monkeypatch.setattr(importlib.metadata, "version", lambda of: "99" if of == package else version(of))
    assert description_key(config) != before


def test_weights_are_read_once_for_key_and_keeping(
    weights: Path, output: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Mock(wraps=hashlib.file_digest)
    monkeypatch.setattr(hashlib, "file_digest", digest)
    config = config_of(weights)
    assert kept_spec(output, config) is None
    keep_spec(output, config, SPEC)
    assert kept_spec(output, config) == SPEC
    assert digest.call_count == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "torchvision:vit_b_16"}, "not understood"),
        ({"weights": "/absent.safetensors"}, "encoder.weights /absent.safetensors cannot be read"),
        ({"weights_sha256": "0" * 64}, "has sha256 .*the settings say 0000"),
        ({"weights": None, "weights_sha256": "0" * 64}, "weights_sha256.*give encoder.weights too"),
        ({"layers": (5, 2)}, r"encoder.layers \[5, 2\] must rise"),
        ({"layers": ()}, "name at least one block"),
    ],
    ids=str,
)
def test_settings_that_cannot_work_with_any_model_are_refused_without_one(
    settings: dict[str, Any], words: str, weights: Path
) -> None:
    with pytest.raises(EncoderError, match=words):
        description_key(config_of(weights, **settings))


def test_description_is_the_encoders_own_and_the_encoder_stays_loaded(save_vit: Callable[[int], Path]) -> None:
    config = config_of(save_vit(0))
    spec = describe(config)
    assert spec == Encoder(config).spec
    assert encoder_of(config).spec is spec  # or it would have been loaded once more
    save_vit(1)
    assert describe(config).fingerprint != spec.fingerprint


def test_what_shows_with_the_model_only_is_refused_when_it_is_described(save_vit: Callable[[int], Path]) -> None:
    path = save_vit(0)
    with pytest.raises(EncoderError, match="encoder.size 100 is not a multiple of the patch.*, 16; use 96 or 112"):
        describe(config_of(path, size=100))
    with pytest.raises(EncoderError, match="12 is out of range"):
        describe(config_of(path, layers=(3, 12)))


def test_fingerprint_is_the_one_that_features_were_stored_under_before() -> None:
    config = EncoderConfig(name=ENCODER, weights=str(sample_weights()), size=112)
    assert describe(config).fingerprint == "5f58c0766ed3ac5d"  # of a run of d52b0b9


def test_what_is_kept_of_other_settings_is_not_taken(weights: Path, output: Location) -> None:
    keep_spec(output, config_of(weights), SPEC)
    assert kept_spec(output, config_of(weights, size=112)) is None
    [file] = Path(output.path).rglob("*.json")
    assert file.name == f"{description_key(config_of(weights))}.json" and file.parent.name == "encoders"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "EOF"),
        (b'{"name": "timm:vit_tiny', "EOF"),
        (b"[]", "object"),
        (b"\xff\xfe", "JSON"),
        (b'{"name": "timm:vit_tiny_patch16_224"}', "grid"),
        ({"grid": [6]}, "grid"),
        ({"name": "timm:another"}, "its name is 'timm:another'"),
        ({"width": 0}, "positive"),
        ({"layers": []}, r"its layers are \[\]"),
        ({"layers": [2, 5, 8, 10]}, "its layers are"),
        ({"fingerprint": "../../runs"}, "its fingerprint is"),
    ],
    ids=str,
)
def test_damaged_or_foreign_description_is_none_and_named_once(
    content: bytes | dict[str, Any], why: str, weights: Path, output: Location, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(weights, layers=(2, 5, 8, 11))
    keep_spec(output, config, SPEC)
    [file] = Path(output.path).rglob("*.json")
    if isinstance(content, dict):
        content = json.dumps(json.loads(file.read_bytes()) | content).encode()
    file.write_bytes(content)
    assert kept_spec(output, config) is None
    [record] = caplog.records
    assert str(file) in record.getMessage() and re.search(why, record.getMessage())
    keep_spec(output, config, SPEC)
    assert kept_spec(output, config) == SPEC


def test_who_finds_another_encoder_is_told_the_file_that_describes_the_hubs(weights: Path, output: Location) -> None:
    hub = EncoderConfig(name=VIT)
    keep_spec(output, hub, SPEC)
    [file] = Path(output.path).rglob("*.json")
    assert f"remove encoders/{file.name} below output.uri" in not_the_same(hub, "f" * 16, SPEC.fingerprint)
    said = not_the_same(config_of(weights), "f" * 16, SPEC.fingerprint)
    assert "f" * 16 in said and SPEC.fingerprint in said and f"{weights} must be the same file" in said
    assert "remove" not in said  # the file's checksum is in the name of what is kept
