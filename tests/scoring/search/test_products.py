"""Rounded products: exact where they say so, and close to the distances of vectors that look like real tokens."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.scoring.search.gemm import GemmSearch
from pipeline.scoring.search.products import ALIGNMENT, DIGITS, HALVES, LARGEST, Products, _bf16_tiles, _digits
from tests.scoring.search.test_search import exact, moved, others, unit_vectors

CAPACITY = DIGITS * LARGEST**2
LARGE = 7  # the channel far larger than all others


def like_tokens(seed: int, images: int, patches: int, width: int) -> Tensor:
    """Return vectors of length 1 with a common mean and one channel far larger than all others, in mean and in spread,
    as those of real tokens are."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(width, generator=generator) + 0.1 * torch.randn((images, patches, width), generator=generator)
    vectors[..., LARGE] = 20 + 2 * torch.randn((images, patches), generator=generator)
    return torch.nn.functional.normalize(vectors, dim=-1)


def rounded_where_they_lie(images: Tensor, dtype: str) -> Tensor:
    if dtype in HALVES:
        return images.to(HALVES[dtype]).float()
    step = images.abs().max() / LARGEST
    return (images / step).round() * step


def centred_and_rounded(images: Tensor, dtype: str) -> Tensor:
    return rounded_where_they_lie(images - images.mean(dim=(0, 1)), dtype)


def mean_error(found: Tensor, images: Tensor) -> float:
    return float(others((found - exact(images, images)).abs()).mean())


# Measured: 10 to 12 times smaller for the halves; for int8 120 to 190 times, of which the rotation gives 4 to 6.
# Rounding is all that the plain versions lose: their distances are in fp64.
@pytest.mark.parametrize("width", [384, 1024])
@pytest.mark.parametrize(
    ("dtype", "plain", "times"),
    [
        ("fp16", rounded_where_they_lie, 5),
        ("bf16", rounded_where_they_lie, 5),
        ("int8", rounded_where_they_lie, 50),
        ("int8", centred_and_rounded, 2),
    ],
)
def test_centring_and_rotating_make_the_error_much_smaller(
    width: int, dtype: str, plain: Callable[[Tensor, str], Tensor], times: float
) -> None:
    images = like_tokens(0, 3, 40, width)
    rounded = plain(images, dtype)
    without = mean_error(exact(rounded, rounded), images)
    found = mean_error(GemmSearch(dtype).mutual(images), images)
    assert 0 < found < without / times


# Measured: 1.4e-5, 7.4e-5 and 3.7e-4; the bounds are about twice that, for other processors' order of sums.
@pytest.mark.parametrize(("dtype", "bound"), [("fp16", 3e-5), ("bf16", 1.5e-4), ("int8", 8e-4)])
@pytest.mark.parametrize("width", [384, 1024])
def test_distances_of_vectors_like_tokens_keep_their_digits(dtype: str, bound: float, width: int) -> None:
    images = like_tokens(0, 3, 40, width)
    expected = exact(images, images)
    for found in (GemmSearch(dtype).mutual(images), GemmSearch(dtype).nearest(images, images)):
        assert others((found - expected).abs()).max() < bound


@pytest.mark.parametrize("distance", [0.05, 0.2])
def test_int8_makes_no_distance_longer_on_average(distance: float) -> None:
    # Rounding adds its own length to every difference: 3.6e-3 to 0.05 and 9e-4 to 0.2, if it is not taken off again.
    # Measured: 6e-6, the mean of errors of 5e-4 to both sides.
    images = unit_vectors(0, 2, 400, 1024)
    images[1] = moved(images[0], distance, 1)
    errors = others(GemmSearch("int8").mutual(images) - exact(images, images))
    assert errors.mean().abs() < 1e-4


@given(st.lists(st.integers(0, CAPACITY), min_size=1, max_size=50))
def test_digits_write_whole_numbers_exactly(numbers: list[int]) -> None:
    for number in (0, 1, 126, 127, 128, 127**2, CAPACITY - 1, CAPACITY, *numbers):
        factors, partners = _digits(torch.tensor([[float(number)]]))
        assert factors.shape == partners.shape == (1, 1, DIGITS + 1)
        assert float((factors * partners).double().sum()) == -number
        for values in (factors, partners):
            assert torch.equal(values.to(torch.int8).float(), values)


def test_digits_end_at_their_capacity() -> None:
    factors, partners = _digits(torch.tensor([[CAPACITY + 1.0, 2.0 * CAPACITY]]))
    assert (factors * partners).sum(dim=2).tolist() == [[-CAPACITY, -CAPACITY]]


@pytest.mark.parametrize("patches", [1, 5, 8, 13])
@pytest.mark.parametrize("width", [8, 37, 384])
def test_int8_products_are_those_of_the_rounded_vectors_to_the_last_unit(patches: int, width: int) -> None:
    blocks = unit_vectors(0, 3, patches, width), unit_vectors(1, 2, patches + 1, width)
    products = Products("int8")
    _, (left, right) = products.operands(blocks, blocks[0].mean(dim=(0, 1)))
    assert left.vectors.dtype == torch.int8 and left.vectors.shape[1] % ALIGNMENT == 0
    found = products(left.turned(), right)
    assert found.shape == (3, patches, 2, patches + 1) and found.dtype == torch.int32
    steps = [operand.vectors[:, : block.shape[1], :width] for operand, block in zip((left, right), blocks, strict=True)]
    differences = steps[0].long()[:, :, None, None] - steps[1].long()
    # each norm is halved, and rounded to a whole number
    assert (2 * found + differences.square().sum(dim=4)).abs().max() <= 2


@given(st.integers(0, 999), st.sampled_from([8, 384, 1024]), st.floats(0.01, 100))
def test_int8_holds_the_norm_of_every_vector(seed: int, width: int, scale: float) -> None:
    # All of almost the same length: rounding makes some of them longer than the longest was before.
    blocks = unit_vectors(seed, 2, 20, width), scale * unit_vectors(seed + 1, 1, 20, width)
    _, operands = Products("int8").operands(blocks, blocks[0].mean(dim=(0, 1)))
    for operand in operands:
        steps = operand.vectors[..., :width].double()
        factors, partners = (
            operand.vectors[..., width + operand.columns :],
            operand.vectors[..., width : -operand.columns],
        )
        norms = -(factors.double() * partners.double()).sum(dim=2)
        assert (norms - steps.square().sum(dim=2) / 2).abs().max() <= 0.5
        assert steps.abs().max() <= LARGEST


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int8"])
def test_equal_patches_are_at_0_from_each_other_and_no_number_is_lost(dtype: str) -> None:
    # A flat image: LNAMD makes zeros of it, and all vectors lie on their centre.
    for images in (torch.zeros(3, 6, 16), unit_vectors(0, 1, 1, 16).expand(3, 6, 16)):
        assert others(GemmSearch(dtype).mutual(images)).abs().max() < 1e-6
        assert GemmSearch(dtype).nearest(images[:1], images).abs().max() < 1e-6


def test_tiles_of_bf16_are_switched_on_within_the_block_only_even_when_it_fails() -> None:
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's types lack it
    before = matmul.fp32_precision
    assert before != "bf16"
    with _bf16_tiles(True):
        assert matmul.fp32_precision == "bf16"
    assert matmul.fp32_precision == before
    with pytest.raises(KeyError), _bf16_tiles(True):
        raise KeyError
    assert matmul.fp32_precision == before
    with _bf16_tiles(False):
        assert matmul.fp32_precision == before
    assert matmul.fp32_precision == before


def test_values_rounded_to_bf16_lose_nothing_more_in_products_of_bf16() -> None:
    # With AMX, fp32 products may run in bf16. Where a processor has none of this, both are the same.
    images = like_tokens(0, 3, 40, 384)
    with _bf16_tiles(True):
        inside = GemmSearch("bf16").mutual(images)
    torch.testing.assert_close(others(inside), others(GemmSearch("bf16").mutual(images)), rtol=0, atol=2e-6)
