"""Tokens in one byte a value: whole steps, a step's size for each channel of each image."""

import numpy as np
from numpy.typing import NDArray

LARGEST = 127


def to_steps(tokens: NDArray[np.floating]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round tokens (N, P, D) to steps of the same shape, and return them with the steps' sizes (N, D).

    A channel of a transformer may be a hundred times as large as another; with a size for each, small ones keep theirs.
    """
    values = tokens.astype(np.float32)
    sizes = np.abs(values).max(axis=1) / LARGEST  # (N, D)
    steps = np.divide(values, sizes[:, None], out=np.zeros_like(values), where=sizes[:, None] > 0)
    return steps.round().astype(np.int8), sizes


def from_steps(steps: NDArray[np.int8], sizes: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return tokens (N, P, D) of steps and their sizes (N, D)."""
    tokens: NDArray[np.float32] = steps * sizes[:, None]
    return tokens.astype(np.float16)


def pack(tokens: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the bytes (N, 4 D + P D) of each image's tokens (N, P, D): sizes in fp32, then steps."""
    steps, sizes = to_steps(tokens)
    return np.concatenate([sizes.view(np.uint8), steps.view(np.uint8).reshape(len(steps), -1)], axis=1)


def unpack(content: bytes | memoryview, patches: int, width: int) -> NDArray[np.float16]:
    """Return the tokens (P, D) of one image's bytes."""
    sizes = np.frombuffer(content, np.float32, count=width)
    steps = np.frombuffer(content, np.int8, offset=sizes.nbytes).reshape(patches, width)
    tokens: NDArray[np.float16] = from_steps(steps[None], sizes[None])[0]
    return tokens
