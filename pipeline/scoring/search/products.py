"""Squared distances as one matrix product of rounded vectors, and what each precision means on each device."""

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pipeline.precision import DTYPES

HALVES = {name: DTYPES[name] for name in ("fp16", "bf16")}
ALIGNMENT = 8  # columns and rows of a product on CUDA's tensor cores come in multiples of it
FEWEST_ROWS = 24  # of an int8 product on CUDA
FLOAT_DIGITS = 3  # of fp16 or bf16, which hold all 24 bits of a norm: AMX rounds what they do not
DIGITS = 15  # int8 columns of 127 that a norm may fill, besides one for the rest
LARGEST = 127
LARGEST_BLOCK = 128


@dataclass(frozen=True)
class Frame:
    """Where vectors were rounded: their centre (D,), and with int8 the size of a step, a scalar, after a rotation.

    Patches of one product differ little from each other and much from zero. What is rounded, and multiplied, is the
    difference from the mean: distances keep one or two more digits.
    """

    centre: Tensor
    step: Tensor | None = None


@dataclass(frozen=True)
class Operand:
    """Rounded vectors of images (B, Q, K) with what makes their products distances, `columns` at the end of K.

    `norms` (B, P) are the squared lengths of the vectors from the centre. Q is P, or with int8 the next multiple of
    ALIGNMENT, the last patch repeated.
    """

    vectors: Tensor
    norms: Tensor
    columns: int

    def __getitem__(self, images: slice) -> Self:
        return type(self)(self.vectors[images], self.norms[images], self.columns)

    def turned(self) -> Self:
        """Return the left side of a product for this right side: the factors of the norms change places."""
        width = self.vectors.shape[2] - 2 * self.columns
        vectors, ones, norms = torch.split(self.vectors, [width, self.columns, self.columns], dim=2)
        return type(self)(torch.cat([vectors, norms, ones], dim=2), self.norms, self.columns)


class Products:
    """All distances between the patches of two blocks of images, as `-d^2 / 2`: the nearest patch has the largest.

    With x and y from the centre, `-d^2 / 2 = x.y - |x|^2 / 2 - |y|^2 / 2` is one product of the rows
    `[x, -|x|^2 / 2, 1]` and `[y, 1, -|y|^2 / 2]`. Norms are those of the rounded vectors, and are written as sums that
    the precision can hold.

    Products of fp16, bf16 and int8 are exact and their sums fp32 (int8: int32), on every device: CUDA's tensor cores
    do that, and so does a CPU with AMX in bf16. Other CPUs have nothing faster than fp32 for the halves that keeps such
    sums, so theirs are fp32 products of the rounded vectors.
    """

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._sums = torch.int32 if dtype == "int8" else torch.float32
        self._amx = dtype == "bf16" and bool(torch.cpu.get_capabilities().get("amx_bf16"))
        self._buffer = torch.empty(0, dtype=self._sums)

    def operands(self, blocks: Iterable[Tensor], centre: Tensor) -> tuple[Frame, list[Operand]]:
        """Round the vectors of blocks of images (B, P, D), fp32, alike, and say how."""
        if self._dtype != "int8":
            return Frame(centre), [self._float_operand(block, centre) for block in blocks]
        rotation = _rotation(_block(len(centre))).to(centre)
        middle = _rotated(centre, rotation)
        rotated = [_rotated(block, rotation).sub_(middle) for block in blocks]
        largest = torch.stack([value for block in rotated for value in block.aminmax()]).abs().max()
        longest = torch.stack([torch.linalg.vector_norm(block, dim=2).max() for block in rotated]).max()
        # norms fit their digits, even if rounding moves every value by half a step away from zero
        most = (2 * DIGITS * LARGEST**2) ** 0.5 - len(centre) ** 0.5 / 2
        step = torch.maximum(largest / LARGEST, longest / most).clamp_min(1e-12)
        return Frame(centre, step), [_int8_operand(block, step) for block in rotated]

    def _float_operand(self, images: Tensor, centre: Tensor) -> Operand:
        width, columns = images.shape[2], 1 if self._dtype == "fp32" else ALIGNMENT // 2
        vectors = images.new_empty((*images.shape[:2], width + 2 * columns))
        vectors[..., width:] = 0
        centred = torch.sub(images, centre, out=vectors[..., :width])
        ones, factors = vectors[..., width : width + columns], vectors[..., width + columns :]
        if self._dtype == "fp32":
            norms = _squared_lengths(centred)
            ones[..., 0], factors[..., 0] = 1, norms / -2
            return Operand(vectors, norms, columns)
        half = HALVES[self._dtype]
        centred.copy_(centred.to(half))
        norms = _squared_lengths(centred)
        left = norms / -2
        for digit in range(FLOAT_DIGITS):
            ones[..., digit], factors[..., digit] = 1, left.to(half).float()
            left -= factors[..., digit]
        return Operand(vectors.to(half) if images.is_cuda else vectors, norms, columns)

    def __call__(self, left: Operand, right: Operand) -> Tensor:
        """Return `-d^2 / 2` (a, P, b, Q) of a turned and a plain operand, valid until the next call.

        With int8 in units of the frame's step squared.
        """
        rows, columns = left.vectors.flatten(0, 1), right.vectors.flatten(0, 1).T
        if self._dtype == "int8" and rows.is_cuda:
            return self._whole(torch._int_mm(_enough(rows), columns)[: len(rows)], left, right)
        if rows.is_cuda and self._dtype in HALVES:
            products = torch.mm(rows, columns, out_dtype=torch.float32)
        elif self._dtype == "int8":
            products = torch._int_mm(rows, columns, out=self._out(rows, columns))
        else:
            with _bf16_tiles(self._amx):
                products = torch.mm(rows, columns, out=self._out(rows, columns))
        return self._whole(products, left, right)

    @staticmethod
    def _whole(products: Tensor, left: Operand, right: Operand) -> Tensor:
        whole = products.view(*left.vectors.shape[:2], *right.vectors.shape[:2])
        return whole[:, : left.norms.shape[1], :, : right.norms.shape[1]]

    def squares(self, best: Tensor, frame: Frame) -> Tensor:
        """Turn the largest `-d^2 / 2` into squared distances, in place."""
        if frame.step is None:
            return best.mul_(-2)
        # Rounding to steps adds a twelfth of a squared step to each side's every value, on average
        return best.mul_(-2 * frame.step**2).sub_(frame.centre.numel() / 6 * frame.step**2)

    def _out(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the same memory every time: fresh pages cost more than what is written to them."""
        size = rows.shape[0] * columns.shape[1]
        if self._buffer.numel() < size or self._buffer.device != rows.device:
            self._buffer = torch.empty(size, dtype=self._sums, device=rows.device)
        return self._buffer[:size].view(rows.shape[0], columns.shape[1])


def _enough(rows: Tensor) -> Tensor:
    """Return vectors (n, K) with zeros behind, as many as int8 products on CUDA want: more than 16."""
    return torch.nn.functional.pad(rows, (0, 0, 0, max(0, FEWEST_ROWS - len(rows))))


def _squared_lengths(vectors: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return norms.square_()


def _int8_operand(rotated: Tensor, step: Tensor) -> Operand:
    """Round vectors (B, P, D), overwritten, to whole steps, and the patches up to a multiple of ALIGNMENT."""
    images, patches, width = rotated.shape
    steps = rotated.div_(step).round_()
    norms = _squared_lengths(steps)  # (B, P)
    factors, partners = _digits(norms / 2)
    columns = factors.shape[2]
    shape = (images, patches + -patches % ALIGNMENT, width + 2 * columns)
    vectors = torch.empty(shape, dtype=torch.int8, device=rotated.device)
    for first, values in ((0, steps), (width, partners), (width + columns, factors)):
        vectors[:, :patches, first : first + values.shape[2]] = values
    vectors[:, patches:] = vectors[:, patches - 1 : patches]
    return Operand(vectors, norms * step**2, columns)


def _block(width: int) -> int:
    """Return the largest part of D that is rotated at once: enough to share out a large channel, and cheap."""
    return max(size for size in range(1, min(width, LARGEST_BLOCK) + 1) if width % size == 0)


@functools.cache
def _rotation(block: int) -> Tensor:
    """Return a rotation: transformers have a few channels far larger than all others, which would take all steps."""
    rotation: Tensor = torch.linalg.qr(torch.randn((block, block), generator=torch.Generator().manual_seed(0)))[0]
    return rotation


def _rotated(vectors: Tensor, rotation: Tensor) -> Tensor:
    """Rotate each block of the channels of vectors (..., D)."""
    block = len(rotation)
    return (vectors.reshape(*vectors.shape[:-1], -1, block) @ rotation).flatten(-2)


def _digits(norms: Tensor) -> tuple[Tensor, Tensor]:
    """Write whole numbers (B, P) as sums of products of int8: factors and their partners (B, P, DIGITS + 1)."""
    norms = norms.round().clamp_max(DIGITS * LARGEST**2)
    high = (norms / LARGEST).floor()
    steps = torch.arange(DIGITS, device=norms.device) * LARGEST
    filled = (high[..., None] - steps).clamp_(0, LARGEST)
    factors = torch.cat([filled, (norms - high * LARGEST)[..., None]], dim=2).neg_()
    partners = torch.full_like(factors, LARGEST)
    partners[..., -1] = 1
    return factors, partners


@contextmanager
def _bf16_tiles(on: bool) -> Iterator[None]:
    """Let fp32 products run on AMX in bf16, sums in fp32: of values that are rounded already nothing more is lost."""
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's types lack it
    before = matmul.fp32_precision
    if on:
        matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before
