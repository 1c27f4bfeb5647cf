"""Tiles of large images: each pixel once at full size, and halves of them."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.report import pictures
from pipeline.report.pyramid import TILE, Pyramid, levels


def tiles_of(pixels: NDArray[np.uint8]) -> dict[str, Image.Image]:
    """Return the tiles of an image (H, W, 3) by name; none comes twice."""
    made = Pyramid((pixels.shape[1], pixels.shape[0]))
    found = [tile for top in range(0, len(pixels), TILE) for tile in made.add(pixels[top : top + TILE])]
    names = [name for name, _ in found]
    assert len(set(names)) == len(names)
    return {name: Image.open(io.BytesIO(content), formats=("WEBP",)) for name, content in found}


def put_together(tiles: dict[str, Image.Image], level: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a level of (width, height)."""
    whole = Image.new("RGB", size)
    for name, tile in tiles.items():
        of, column, row = map(int, name.split("-"))
        if of == level:
            whole.paste(tile, (column * TILE, row * TILE))
    return np.asarray(whole)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((4000, 4000), []),
        ((1, 4001), [(1, 4001), (1, 2001)]),
        ((4200, 1200), [(4200, 1200), (2100, 600), (1050, 300)]),
        ((4096, 4096), [(4096, 4096), (2048, 2048)]),
    ],
)
def test_large_images_have_levels_down_to_their_picture(size: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert levels(size) == expected


@pytest.mark.parametrize("size", [(4200, 1200), (1025, 4999), (4001, 1), (2, 8200)])
def test_the_tiles_of_a_level_are_the_image_at_its_size(size: tuple[int, int]) -> None:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    grey = 128 + 60 * np.sin(x / 170) + 60 * np.cos(y / 230)  # so smooth that WebP keeps it
    pixels = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    tiles = tiles_of(pixels)
    sizes = levels(size)
    count = sum(-(-width // TILE) * -(-height // TILE) for width, height in sizes)
    assert len(tiles) == count and max(max(tile.size) for tile in tiles.values()) <= TILE
    for level, of in enumerate(sizes):
        expected = np.asarray(Image.fromarray(pixels).resize(of, Image.Resampling.BOX))
        found = put_together(tiles, level, of)
        assert np.abs(found.astype(int) - expected).mean() < 2, level


def test_they_are_made_of_little_more_than_a_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "picture", lambda pixels, _: bytes(1))
    made = Pyramid((5000, 50_000))
    for top in range(0, 50_000, TILE):
        list(made.add(np.zeros((min(TILE, 50_000 - top), 5000, 3), np.uint8)))
        held = sum(part.nbytes for level in made._held for part in level)
        assert held < 5000 * TILE * 3
    assert held == 0
