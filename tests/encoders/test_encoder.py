"""Encoders: which tokens come out, that they are reproducible, and every way in which weights can be wrong.

All weights are random and made here: what is tested is the plumbing, not the pictures.
"""

import functools
import hashlib
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import open_clip
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.config import EncoderConfig
from pipeline.encoders.encoder import Encoded, Encoder, _layers
from pipeline.errors import EncoderError
from pipeline.geometry import tiles_along

VIT, DINO, CLIP = "timm:vit_tiny_patch16_224", "timm:vit_small_patch16_dinov3", "open_clip:ViT-S-32-alt"
SMALL = "open_clip:small"
NATIVE, SIDE = 224, 96
PIXELS = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)

# Published normalisations: of the augreg ViTs, of ImageNet, of OpenAI's CLIP
NORMALISED = {
    VIT: ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    DINO: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    CLIP: ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}

_TEXT = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
_VISION = {"image_size": 64, "layers": 4, "width": 64, "head_width": 32, "patch_size": 16}
SMALL_MODELS: dict[str, dict[str, Any]] = {
    "small": {"embed_dim": 16, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "small-quickgelu": {"embed_dim": 16, "quick_gelu": True, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "small-resnet": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
        "text_cfg": _TEXT,
    },
    "small-convnext": {
        "embed_dim": 16,
        "vision_cfg": {
            "timm_model_name": "convnext_atto",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "image_size": 64,
        },
        "text_cfg": _TEXT,
    },
    "small-timm": {
        "embed_dim": 16,
        "vision_cfg": {
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": NATIVE,
        },
        "text_cfg": _TEXT,
    },
}


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    # The environment variable is read when the hub's client is imported, which has happened above
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products on two threads wait for each other longer than they compute, more so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let open_clip know models a thousandth of the size of its own."""
    for name, model in SMALL_MODELS.items():
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, model)


def random_timm(name: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0)
    state: dict[str, Tensor] = {key: value.detach().clone() for key, value in model.state_dict().items()}
    for key in state:
        if "gamma" in key:
            state[key].fill_(0.5)  # fresh layer scales are 1e-5: every block would be the identity
    return state


def random_clip(name: str) -> Any:
    torch.manual_seed(0)
    return open_clip.create_model(name, pretrained=None)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of random weights for each encoder."""
    folder = tmp_path_factory.mktemp("weights")
    files = {VIT: folder / "vit.safetensors", DINO: folder / "dino.safetensors", CLIP: folder / "clip.pt"}
    for name in (VIT, DINO):
        save_file(random_timm(name.partition(":")[2]), files[name])
    torch.save(random_clip(CLIP.partition(":")[2]).state_dict(), files[CLIP])
    return files


@pytest.fixture(scope="module")
def vit_state(weights: dict[str, Path]) -> dict[str, Tensor]:
    return load_file(weights[VIT])


def make(name: str, file: Path | None, **settings: Any) -> Encoder:
    settings = {"size": SIDE, "batch_size": 3, **settings}
    return Encoder(EncoderConfig(name=name, weights=None if file is None else str(file), **settings))


@pytest.fixture(scope="module")
def ready(weights: dict[str, Path]) -> Callable[..., Encoder]:
    """Encoders that load, made once: they have no state, and take a second each."""
    return functools.cache(lambda name, dtype="fp32": make(name, weights[name], dtype=dtype))


def normalised(name: str, pixels: NDArray[np.uint8]) -> Tensor:
    """Return (B, 3, S, S) as the weights of this name expect it."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in NORMALISED[name])
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std


def outputs_of(blocks: Sequence[torch.nn.Module], forward: Callable[[], Tensor]) -> tuple[list[Tensor], Tensor]:
    """Run a model and return what each of its blocks gave, (B, 1 + P, D) each, and its own result."""
    found: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda module, given, out: found.append(out)) for block in blocks]
    with torch.inference_mode():
        result = forward()
    for hook in hooks:
        hook.remove()
    return found, result


def unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


@pytest.mark.parametrize(
    ("name", "side", "width", "embedding"), [(VIT, 6, 192, 192), (DINO, 6, 384, 384), (CLIP, 3, 384, 256)]
)
def test_tokens_and_embeddings_have_their_shapes_at_a_size_that_is_not_the_native_one(
    name: str, side: int, width: int, embedding: int, ready: Callable[..., Encoder]
) -> None:
    encoder = ready(name)
    encoded = encoder(PIXELS)
    assert encoded.tokens.shape == (5, 4, side * side, width)
    assert encoded.embeddings.shape == (5, embedding)
    assert encoder.spec.grid == (side, side)
    assert encoder.spec.patch == PIXELS.shape[1] // side
    assert (encoder.spec.width, encoder.spec.embedding) == (width, embedding)
    assert encoder.spec.name == name


# Each way in which position embeddings come to a rectangle: in the forward pass, rotary, and at loading
@pytest.mark.parametrize(("name", "patch"), [(VIT, 16), (DINO, 16), (CLIP, 32)])
def test_rectangle_has_its_grid_and_the_tokens_of_a_model_built_for_it(
    name: str, patch: int, weights: dict[str, Path]
) -> None:
    size = height, width = 64, 160
    pixels = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), np.uint8)
    encoder = make(name, weights[name], size=size)
    assert encoder.spec.grid == (height // patch, width // patch)
    library, _, model_name = name.partition(":")
    norm: torch.nn.Module = torch.nn.Identity()
    if library == "timm":
        built: Any = timm.create_model(
            model_name,
            num_classes=0,
            img_size=size,
            pretrained=True,
            pretrained_cfg_overlay={"file": str(weights[name])},
        ).eval()
        assert built.patch_embed.grid_size == encoder.spec.grid  # its own position embeddings are of the rectangle
        prefix, blocks, forward = built.num_prefix_tokens, built.blocks, built.forward_features
        norm = built.norm if name == DINO else norm
    else:
        built = open_clip.create_model(model_name, pretrained=str(weights[name]), force_image_size=size).eval()
        prefix, blocks, forward = 1, built.visual.transformer.resblocks, built.encode_image
    found, _ = outputs_of(blocks, lambda: forward(normalised(name, pixels)))
    with torch.inference_mode():
        expected = torch.stack([norm(found[layer])[:, prefix:] for layer in (2, 5, 8, 11)], dim=1)
    torch.testing.assert_close(encoder(pixels).tokens, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [VIT, DINO, CLIP])
def test_patches_of_a_rectangle_come_row_by_row(name: str, weights: dict[str, Path]) -> None:
    encoder = make(name, weights[name], size=(64, 160))
    rows, columns = encoder.spec.grid
    pixels = np.zeros((3, 64, 160, 3), np.uint8)
    pixels[1, :32], pixels[2, :, :64] = 255, 255  # the upper half, and two fifths on the left
    tokens = encoder(pixels).tokens[:, 0].reshape(3, rows, columns, -1)
    upper, left = ((tokens[n] - tokens[0]).norm(dim=-1) for n in (1, 2))
    assert upper[: rows // 2].mean() > 1.2 * upper[rows // 2 :].mean()
    assert left[:, : columns * 2 // 5].mean() > 1.2 * left[:, columns * 2 // 5 :].mean()


@pytest.mark.usefixtures("small_models")
def test_open_clip_tower_that_timm_built_takes_a_rectangle(tmp_path: Path) -> None:
    torch.save(random_clip("small-timm").state_dict(), tmp_path / "w.pt")
    encoder = make("open_clip:small-timm", tmp_path / "w.pt", size=(64, 160))
    assert encoder.spec.grid == (4, 10)
    assert encoder(np.zeros((1, 64, 160, 3), np.uint8)).tokens.shape == (1, 4, 40, 192)


@pytest.mark.parametrize("name", [VIT, DINO, CLIP])
def test_embeddings_have_length_one(name: str, ready: Callable[..., Encoder]) -> None:
    embeddings = ready(name)(PIXELS).embeddings
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(5), atol=1e-6, rtol=0)


def test_plain_vit_gives_the_raw_residual_stream_without_the_class_token(
    weights: dict[str, Path], ready: Callable[..., Encoder]
) -> None:
    model: Any = timm.create_model(VIT.partition(":")[2], pretrained=False, num_classes=0, dynamic_img_size=True).eval()
    model.load_state_dict(load_file(weights[VIT]))
    blocks, final = outputs_of(model.blocks, lambda: model.forward_features(normalised(VIT, PIXELS)))
    encoded = ready(VIT)(PIXELS)
    expected = torch.stack([blocks[layer][:, 1:] for layer in (2, 5, 8, 11)], dim=1)
    torch.testing.assert_close(encoded.tokens, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoded.embeddings, unit(final[:, 0]), atol=1e-6, rtol=1e-5)


def test_dino_gives_the_final_norm_of_each_layer_without_class_and_register_tokens(
    weights: dict[str, Path], ready: Callable[..., Encoder]
) -> None:
    model: Any = timm.create_model(
        DINO.partition(":")[2], pretrained=False, num_classes=0, dynamic_img_size=True
    ).eval()
    model.load_state_dict(load_file(weights[DINO]))
    assert model.num_prefix_tokens == 5  # a class token and four registers: or the test shows nothing
    blocks, final = outputs_of(model.blocks, lambda: model.forward_features(normalised(DINO, PIXELS)))
    encoded = ready(DINO)(PIXELS)
    with torch.inference_mode():
        expected = torch.stack([model.norm(blocks[layer])[:, 5:] for layer in (2, 5, 8, 11)], dim=1)
    torch.testing.assert_close(encoded.tokens, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoded.embeddings, unit(final[:, 0]), atol=1e-6, rtol=1e-5)


def test_open_clip_gives_the_raw_residual_stream_and_the_projected_embedding(
    weights: dict[str, Path], ready: Callable[..., Encoder]
) -> None:
    model: Any = open_clip.create_model(
        CLIP.partition(":")[2], pretrained=str(weights[CLIP]), force_image_size=SIDE
    ).eval()
    images = normalised(CLIP, PIXELS)
    blocks, embedding = outputs_of(model.visual.transformer.resblocks, lambda: model.encode_image(images))
    encoded = ready(CLIP)(PIXELS)
    expected = torch.stack([blocks[layer][:, 1:] for layer in (2, 5, 8, 11)], dim=1)
    torch.testing.assert_close(encoded.tokens, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoded.embeddings, unit(embedding), atol=1e-6, rtol=1e-5)


@pytest.mark.usefixtures("small_models")
def test_open_clip_tower_that_timm_built_gives_the_raw_residual_stream(tmp_path: Path) -> None:
    torch.save(random_clip("small-timm").state_dict(), tmp_path / "w.pt")
    model: Any = open_clip.create_model("small-timm", pretrained=str(tmp_path / "w.pt"), force_image_size=SIDE).eval()
    images = normalised(CLIP, PIXELS)
    blocks, _ = outputs_of(model.visual.trunk.blocks, lambda: model.encode_image(images))
    encoded = make("open_clip:small-timm", tmp_path / "w.pt")(PIXELS)
    expected = torch.stack([blocks[layer][:, 1:] for layer in (2, 5, 8, 11)], dim=1)
    torch.testing.assert_close(encoded.tokens, expected, atol=1e-5, rtol=1e-5)


def test_chosen_layers_are_the_blocks_of_these_numbers(weights: dict[str, Path], ready: Callable[..., Encoder]) -> None:
    quarters = ready(VIT)(PIXELS).tokens
    encoder = make(VIT, weights[VIT], layers=(0, 5, 11))
    chosen = encoder(PIXELS).tokens
    assert encoder.spec.layers == (0, 5, 11)
    assert chosen.shape[1] == 3
    assert torch.equal(chosen[:, 1:], quarters[:, [1, 3]])
    assert not torch.equal(chosen[:, 0], quarters[:, 0])


@pytest.mark.parametrize(
    ("depth", "layers"),
    [(24, (5, 11, 17, 23)), (12, (2, 5, 8, 11)), (40, (9, 19, 29, 39)), (10, (1, 4, 6, 9)), (4, (0, 1, 2, 3))],
)
def test_default_layers_are_the_last_of_each_quarter(depth: int, layers: tuple[int, ...]) -> None:
    assert _layers(EncoderConfig(), depth) == layers


@pytest.mark.parametrize(
    ("name", "dtype", "threads"),
    [(VIT, "fp32", 2), *((name, dtype, 1) for name in (VIT, DINO, CLIP) for dtype in ("fp32", "fp16", "bf16"))],
)
def test_tokens_of_an_image_are_the_same_bits_alone_and_in_any_batch(
    name: str, dtype: str, threads: int, ready: Callable[..., Encoder]
) -> None:
    torch.set_num_threads(threads)
    encoder = ready(name, dtype)
    together = encoder(PIXELS)
    for order in ([4, 3, 2, 1, 0], [2], [1, 1, 1, 1], [3, 0, 4, 2]):
        again = encoder(PIXELS[order])
        assert torch.equal(again.tokens, together.tokens[order])
        assert torch.equal(again.embeddings, together.embeddings[order])


@pytest.mark.parametrize("name", [VIT, DINO, CLIP])
def test_passes_of_one_image_give_it_the_bits_that_it_has_alone(
    name: str, ready: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, seen = ready(name), list[int]()
    usual, forward = encoder(PIXELS), encoder._forward

    def counted(pixels: Tensor) -> Any:
        seen.append(len(pixels))
        return forward(pixels)

    monkeypatch.setattr(encoder, "_forward", counted)
    together = encoder(PIXELS, batch=1)
    assert seen == [1] * len(PIXELS)
    for image in range(len(PIXELS)):
        alone = encoder(PIXELS[image : image + 1], batch=1)
        assert torch.equal(together.tokens[image], alone.tokens[0])
        assert torch.equal(together.embeddings[image], alone.embeddings[0])
    torch.testing.assert_close(together.tokens, usual.tokens, atol=1e-4, rtol=1e-4)


# Random weights, so a rough ruler: fp16 measured at 0.0004 to 0.0010 of the tokens' norm, bf16 at 0.003 to 0.008
@pytest.mark.parametrize(("dtype", "bound"), [("fp16", 0.003), ("bf16", 0.02)])
@pytest.mark.parametrize("name", [VIT, DINO, CLIP])
def test_half_precision_is_close_to_single(name: str, dtype: str, bound: float, ready: Callable[..., Encoder]) -> None:
    single, half = ready(name)(PIXELS), ready(name, dtype)(PIXELS)
    assert half.tokens.dtype == {"fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    assert half.embeddings.dtype == torch.float32
    error = (half.tokens.float() - single.tokens).norm() / single.tokens.norm()
    assert 0 < error < bound
    assert (half.embeddings - single.embeddings).norm(dim=-1).max() < 2 * bound


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_tokens_of_a_wanted_type_are_the_rounded_ones_and_lie_layer_by_layer(
    dtype: torch.dtype, ready: Callable[..., Encoder]
) -> None:
    encoder = ready(VIT)
    tokens = encoder(PIXELS, dtype).tokens
    assert tokens.dtype == dtype and torch.equal(tokens, encoder(PIXELS).tokens.to(dtype))
    assert all(layer.is_contiguous() for layer in tokens.unbind(1))  # as they are stored: nothing is left to copy


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_an_image_is_finite_where_all_its_numbers_are(dtype: torch.dtype) -> None:
    tokens = torch.full((6, 2, 3, 4), torch.finfo(dtype).max, dtype=dtype)
    embeddings = torch.ones(6, 5)
    tokens[1, 0, 2, 3], tokens[2, 1, 0, 0], tokens[3, 1, 1, 1] = torch.nan, torch.inf, -torch.inf
    embeddings[4, 2] = torch.nan
    assert Encoded(tokens, embeddings).finite().tolist() == [True, False, False, False, False, True]


def test_different_images_have_different_tokens(ready: Callable[..., Encoder]) -> None:
    tokens = ready(VIT)(PIXELS).tokens
    assert not torch.equal(tokens[0], tokens[1])


@pytest.mark.usefixtures("small_models")
def test_tags_own_normalisation_is_used_with_weights_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = {"url": "", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "small", {"own": tag})
    torch.save(random_clip("small").state_dict(), tmp_path / "w.pt")
    model: Any = open_clip.create_model("small", pretrained=str(tmp_path / "w.pt"), force_image_size=SIDE).eval()
    images = (torch.from_numpy(PIXELS) / 255 - torch.tensor(tag["mean"])) / torch.tensor(tag["std"])
    with torch.inference_mode():
        expected = unit(model.encode_image(images.permute(0, 3, 1, 2)))
    found = make("open_clip:small/own", tmp_path / "w.pt")(PIXELS).embeddings
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_weights_may_have_a_classifier_that_is_not_used(vit_state: dict[str, Tensor], tmp_path: Path) -> None:
    whole = vit_state | {"head.weight": torch.zeros(1000, 192), "head.bias": torch.zeros(1000)}
    save_file(vit_state, tmp_path / "plain.safetensors")
    save_file(whole, tmp_path / "whole.safetensors")
    plain, with_head = (make(VIT, tmp_path / f"{file}.safetensors") for file in ("plain", "whole"))
    assert torch.equal(plain(PIXELS).tokens, with_head(PIXELS).tokens)


def test_weights_may_be_named_as_the_authors_of_dinov2_name_them(tmp_path: Path) -> None:
    name = "vit_small_patch14_dinov2"
    state = random_timm(name)
    save_file(state, tmp_path / "timm.safetensors")
    torch.save(state | {"mask_token": torch.zeros(1, 384)}, tmp_path / "authors.pth")
    ours, theirs = (make(f"timm:{name}", tmp_path / file, size=56) for file in ("timm.safetensors", "authors.pth"))
    assert ours.spec == theirs.spec


@pytest.fixture
def base(ready: Callable[..., Encoder]) -> str:
    return ready(VIT).spec.fingerprint


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 112},
        {"size": (96, 112)},
        {"size": (112, 96)},
        {"layers": (5, 11)},
        {"dtype": "fp16"},
        {"dtype": "bf16"},
        {"store": "fp32"},
    ],
    ids=str,
)
def test_fingerprint_changes_with_what_changes_the_features(
    settings: dict[str, Any], base: str, weights: dict[str, Path]
) -> None:
    assert make(VIT, weights[VIT], **settings).spec.fingerprint != base


def test_fingerprint_changes_with_a_single_weight(base: str, vit_state: dict[str, Tensor], tmp_path: Path) -> None:
    changed = {key: value.clone() for key, value in vit_state.items()}
    changed["blocks.7.mlp.fc1.bias"][3] += 1e-4
    save_file(changed, tmp_path / "w.safetensors")
    assert make(VIT, tmp_path / "w.safetensors").spec.fingerprint != base


@pytest.mark.parametrize("settings", [{}, {"batch_size": 7}, {"layers": (2, 5, 8, 11)}], ids=str)
def test_fingerprint_does_not_change_with_what_does_not_change_the_features(
    settings: dict[str, Any], base: str, weights: dict[str, Path]
) -> None:
    assert make(VIT, weights[VIT], **settings).spec.fingerprint == base


def test_fingerprint_does_not_change_with_the_files_place_format_and_checksum(
    base: str, vit_state: dict[str, Tensor], tmp_path: Path
) -> None:
    (tmp_path / "else where").mkdir()
    path = tmp_path / "else where" / "weights.pth"
    torch.save(vit_state, path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    assert make(VIT, path, weights_sha256=checksum).spec.fingerprint == base


def test_default_layers_written_out_are_the_same_spec(weights: dict[str, Path], ready: Callable[..., Encoder]) -> None:
    assert ready(VIT).spec == make(VIT, weights[VIT], layers=(2, 5, 8, 11)).spec


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("open_clip:ViT-L-14-336/openai", "QuickGELU.*open_clip:ViT-L-14-336-quickgelu/openai"),
        ("open_clip:ViT-B-32/openai", "open_clip:ViT-B-32-quickgelu/openai"),
        ("open_clip:ViT-X-99/openai", "ViT-X-99"),
        ("open_clip:ViT-B-32/nonsense", "nonsense.*openai"),
        ("open_clip:ViT-B-32", "names no weights.*encoder.weights"),
        ("open_clip:hf-hub:somebody/model", "hf-hub"),
        ("timm:nonsense", "nonsense"),
        ("timm:vit_tiny_patch16_224.nonsense", "nonsense"),
        ("timm:resnet18", "resnet18 is not a vision transformer"),
        ("timm:convnext_atto", "convnext_atto is not a vision transformer"),
        ("timm:", "not understood"),
        ("torchvision:vit_b_16", "not understood"),
        ("vit_tiny_patch16_224", "not understood"),
        ("", "not understood"),
    ],
)
def test_name_that_cannot_be_loaded_is_refused_with_a_reason(name: str, words: str) -> None:
    with pytest.raises(EncoderError, match=words):
        make(name, None)


@pytest.mark.parametrize("name", [VIT, "open_clip:ViT-B-32-quickgelu/openai"])
def test_hub_that_cannot_be_reached_is_an_error_that_offers_a_file(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(EncoderError, match="the hub.*encoder.weights"):
        make(name, None, size=224)


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize(
    ("model", "quick_gelu", "instead"), [("small", True, "small-quickgelu"), ("small-quickgelu", False, "small")]
)
def test_activation_that_the_weights_were_not_trained_with_is_refused_for_a_file_too(
    model: str, quick_gelu: bool, instead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("small", "small-quickgelu"):
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, {"own": {"url": "", "quick_gelu": quick_gelu}})
    torch.save(random_clip(model).state_dict(), tmp_path / "w.pt")
    with pytest.raises(EncoderError, match=f"use open_clip:{instead}/own"):
        make(f"open_clip:{model}/own", tmp_path / "w.pt")
    assert make(f"open_clip:{instead}/own", tmp_path / "w.pt").spec.layers == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((3, 12), "12 is out of range.*blocks 0 to 11"),
        ((-1,), "-1 is out of range"),
        ((5, 2), "must rise"),
        ((5, 5), "must rise"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: tuple[int, ...], words: str, weights: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match=f"encoder.layers.*{words}"):
        make(VIT, weights[VIT], layers=layers)


@pytest.mark.parametrize(
    ("name", "size", "offered"), [(VIT, 100, "16; use 96 or 112"), (DINO, 225, "224 or 240"), (CLIP, 97, "96 or 128")]
)
def test_size_that_is_no_multiple_of_the_patch_is_refused_with_its_neighbours(
    name: str, size: int, offered: str, weights: dict[str, Path]
) -> None:
    with pytest.raises(EncoderError, match=offered):
        make(name, weights[name], size=size)


@pytest.mark.parametrize(("size", "side"), [((100, 96), 100), ((96, 100), 100), ((90, 100), 90)], ids=str)
def test_rectangle_with_a_side_that_is_no_multiple_is_refused_with_that_sides_neighbours(
    size: tuple[int, int], side: int, weights: dict[str, Path]
) -> None:
    below = side // 16 * 16
    with pytest.raises(EncoderError, match=rf"size {side} of \[{size[0]}, {size[1]}\] .*use {below} or {below + 16}$"):
        make(VIT, weights[VIT], size=size)


def test_size_below_one_patch_is_refused_with_one_size_to_use(weights: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match="use 16$"):
        make(VIT, weights[VIT], size=7)


def test_file_that_is_not_there_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="encoder.weights .*/absent.safetensors"):
        make(VIT, tmp_path / "absent.safetensors")


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize("name", [VIT, SMALL])
@pytest.mark.parametrize("ending", ["safetensors", "pth"])
@pytest.mark.parametrize("kind", ["cut", "empty", "text"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_file_is_refused_and_named(
    name: str, ending: str, kind: str, vit_state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / f"damaged.{ending}"
    if ending == "safetensors":
        save_file(vit_state, path)
    else:
        torch.save(vit_state, path)
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"<html>Not Found</html>"}[kind])
    with pytest.raises(EncoderError, match=f"damaged.{ending}"):
        make(name, path)


@pytest.mark.parametrize("name", ["timm:vit_small_patch16_224", DINO, CLIP])
def test_weights_of_another_architecture_are_refused(name: str, weights: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match=f"{name} could not be loaded from {weights[VIT]}"):
        make(name, weights[VIT])


@pytest.mark.parametrize("name", [VIT, DINO, CLIP])
def test_weights_that_lack_a_block_are_refused(name: str, weights: dict[str, Path], tmp_path: Path) -> None:
    """A block left at its random start would cost accuracy, and nothing else would show it."""
    path = tmp_path / weights[name].name
    state = torch.load(weights[name], weights_only=True) if path.suffix == ".pt" else load_file(weights[name])
    kept = {key: value for key, value in state.items() if "blocks.7." not in key}
    assert len(kept) < len(state)
    torch.save(kept, path) if path.suffix == ".pt" else save_file(kept, path)
    with pytest.raises(EncoderError, match="blocks.7."):
        make(name, path)


def test_weights_of_which_no_name_fits_are_refused(vit_state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({f"backbone.{key}": value for key, value in vit_state.items()}, tmp_path / "w.safetensors")
    with pytest.raises(EncoderError, match="w.safetensors"):
        make(VIT, tmp_path / "w.safetensors")


def test_transformer_without_a_grid_of_patches_is_refused(tmp_path: Path) -> None:
    """A Swin is no plain ViT: its blocks shrink the grid, and it has no class token."""
    name = "swin_tiny_patch4_window7_224"
    save_file(random_timm(name), tmp_path / "w.safetensors")
    with pytest.raises(EncoderError, match=name):
        make(f"timm:{name}", tmp_path / "w.safetensors", size=NATIVE)


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize("model", ["small-resnet", "small-convnext"])
def test_open_clip_tower_that_is_no_transformer_is_refused(model: str, tmp_path: Path) -> None:
    torch.save(random_clip(model).state_dict(), tmp_path / "w.pt")
    with pytest.raises(EncoderError, match=model):
        make(f"open_clip:{model}", tmp_path / "w.pt", size=64)


class _Program:
    """What a pickle would run when it is loaded."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self._command,)


@pytest.mark.usefixtures("small_models")
@pytest.mark.parametrize("name", [VIT, SMALL])
@pytest.mark.parametrize("ending", ["pth", "pt", "bin", "pkl", "ckpt", "npz", "npy", "safetensors"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_program_in_a_pickle_is_refused_and_not_run(name: str, ending: str, tmp_path: Path) -> None:
    program = {"cls_token": _Program(f"touch {tmp_path}/it_ran")}
    path = tmp_path / f"evil.{ending}"
    if ending in ("pth", "pt", "bin", "ckpt"):
        torch.save(program, path)
    elif ending in ("npz", "npy"):
        with path.open("wb") as file:
            array = np.array([program], dtype=object)
            np.savez(file, array) if ending == "npz" else np.save(file, array)
    else:
        path.write_bytes(pickle.dumps(program))
    with pytest.raises(EncoderError, match=f"evil.{ending}"):
        make(name, path)
    assert not (tmp_path / "it_ran").exists()


def test_weights_with_another_checksum_are_refused_with_both(weights: dict[str, Path]) -> None:
    found = hashlib.sha256(weights[VIT].read_bytes()).hexdigest()
    with pytest.raises(EncoderError, match=f"{found}.*{'0' * 64}"):
        make(VIT, weights[VIT], weights_sha256="0" * 64)


def test_checksum_without_a_file_is_refused() -> None:
    with pytest.raises(EncoderError, match="weights_sha256.*encoder.weights"):
        make(VIT, None, weights_sha256="0" * 64)


def test_timm_weights_trained_with_quickgelu_are_refused_in_a_model_without_it() -> None:
    with pytest.raises(EncoderError, match="use timm:vit_large_patch14_clip_quickgelu_336.openai"):
        Encoder(EncoderConfig(name="timm:vit_large_patch14_clip_336.openai", size=336))


# images of several sizes, and of tiles


@pytest.mark.parametrize(("name", "patch"), [(VIT, 16), (DINO, 16), (CLIP, 32)])
def test_an_encoder_of_several_sizes_sees_each_as_one_built_for_it_does(
    name: str, patch: int, weights: dict[str, Path]
) -> None:
    encoder = make(name, weights[name], size={"short": SIDE})
    assert encoder.spec.grid == (SIDE // patch, SIDE // patch) and encoder.spec.patch == patch
    for size in ((64, 160), (160, 64), (SIDE, SIDE)):
        pixels = np.random.default_rng(1).integers(0, 256, (2, *size, 3), np.uint8)
        found, expected = encoder(pixels), make(name, weights[name], size=size)(pixels)
        torch.testing.assert_close(found.tokens, expected.tokens, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.embeddings, expected.embeddings, atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("small_models")
def test_a_model_of_one_size_is_refused_for_several(tmp_path: Path) -> None:
    torch.save(random_clip("small-timm").state_dict(), tmp_path / "w.pt")
    with pytest.raises(EncoderError, match="takes images of one size only: give encoder.size a number, or height,wid"):
        make("open_clip:small-timm", tmp_path / "w.pt", size={"short": SIDE})


def test_what_it_was_built_for_is_the_same_after_another_size(ready: Callable[..., Encoder]) -> None:
    encoder = ready(CLIP)
    before = encoder(PIXELS).tokens
    encoder(np.zeros((1, 64, 160, 3), np.uint8))
    assert torch.equal(encoder(PIXELS).tokens, before)


@pytest.mark.parametrize("name", [VIT, DINO, CLIP])
def test_an_image_of_one_tile_has_the_tokens_of_the_plain_call(name: str, ready: Callable[..., Encoder]) -> None:
    encoder = ready(name)
    for tile in (SIDE, 2 * SIDE):  # an image smaller than a tile is one
        found, plain = encoder.in_tiles(PIXELS[0], tile, 32), encoder(PIXELS[:1])
        assert torch.equal(found.tokens, plain.tokens)
        torch.testing.assert_close(found.embeddings, plain.embeddings, atol=1e-5, rtol=1e-5)


def test_the_embedding_of_an_image_in_tiles_takes_one_image_and_no_batch(
    ready: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, seen = ready(VIT), list[int]()
    forward = encoder._forward

    def counted(pixels: torch.Tensor) -> Any:
        seen.append(len(pixels))
        return forward(pixels)

    monkeypatch.setattr(encoder, "_forward", counted)
    encoder.in_tiles(PIXELS[0], SIDE, 32)
    assert seen == [encoder.batch_size, 1]


@pytest.mark.parametrize(("name", "patch"), [(VIT, 16), (DINO, 16), (CLIP, 32)])
@pytest.mark.parametrize("size", [(160, 224), (64, 224)])
def test_tokens_are_those_of_the_tile_in_which_a_patch_lies_most_central(
    name: str, patch: int, size: tuple[int, int], ready: Callable[..., Encoder]
) -> None:
    encoder, overlap = ready(name), 32
    pixels = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    found = encoder.in_tiles(pixels, SIDE, overlap)
    rows, columns = size[0] // patch, size[1] // patch
    stitched = found.tokens[0].view(4, rows, columns, -1)
    down, across = (tiles_along(length, SIDE // patch, overlap // patch) for length in (rows, columns))
    assert len(across) > 1
    for y in down:
        for x in across:
            part = pixels[patch * y.start : patch * y.stop, patch * x.start : patch * x.stop]
            alone = encoder(part[None]).tokens[0].view(4, y.stop - y.start, x.stop - x.start, -1)
            taken = alone[:, y.low - y.start : y.high - y.start, x.low - x.start : x.high - x.start]
            torch.testing.assert_close(stitched[:, y.low : y.high, x.low : x.high], taken, atol=1e-5, rtol=1e-5)
    assert found.tokens.shape == (1, 4, rows * columns, encoder.spec.width)
    torch.testing.assert_close(found.embeddings.norm(dim=-1), torch.ones(1), atol=1e-5, rtol=0)


def test_tokens_of_tiles_come_in_the_precision_that_is_asked_for(ready: Callable[..., Encoder]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (160, 160, 3), np.uint8)
    assert ready(VIT).in_tiles(pixels, SIDE, 32, torch.float16).tokens.dtype == torch.float16


def test_a_size_below_a_patch_is_refused(weights: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match="encoder.size 15 is less than a patch of"):
        make(VIT, weights[VIT], size={"short": 15})
